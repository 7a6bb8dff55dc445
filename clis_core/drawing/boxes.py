"""A picture, boxes and captions in; the picture with them drawn on it out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from clis_core.drawing.colours import BLACK, Colour, ink_on
from clis_core.drawing.fonts import font_for, writable
from clis_core.drawing.places import place_labels

Mask = tuple[NDArray[np.bool_], int, int]
"""Which pixels of a part of a picture an object covers, ``[h, w]``; its top and left in the picture, pixels."""
TINT = 0.4
"""Share of the colour where a mask lies."""
SMALLEST_FONT = 10
"""Pixels; what is smaller cannot be read."""
SMALL = 160
"""Pictures below this mean side (pixels) get lines of one pixel; on larger ones those would be lost."""


def draw_boxes(
    image: NDArray[np.uint8] | Image.Image,
    boxes: ArrayLike,
    captions: Sequence[str],
    colours: Sequence[Colour],
    *,
    max_labels: int | None = None,
    masks: Sequence[Mask] | None = None,
) -> Image.Image:
    """Draw boxes with their captions, the most important first: it lies on top, and its label gets the best place.

    Lines and letters grow with the picture. Labels lie near their boxes and do not cover each other; one that is not
    at its box is tied to it by a line. One without a free place in reach is left out, its box is not.

    Args:
        image: uint8 ``[h, w, 3]``, RGB, or a Pillow image; is not changed.
        boxes: ``[N, 4]``, xyxy in pixels, finite; what lies outside of the picture is cut off.
        captions: N texts; an empty one makes a box without a label.
        colours: N colours, such as `colours.colour_of` a class gives.
        max_labels: how many boxes get their label at most; None: all.
        masks: N of them, which are tinted with their colours; None: none.

    Returns:
        An RGB image of the same size.
    """
    drawn = image.convert("RGB") if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))
    drawn = drawn.copy() if drawn is image else drawn
    corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners = np.clip(corners, 0, [drawn.width, drawn.height] * 2)
    for mask, colour in reversed(list(zip(masks or (), colours, strict=False))):
        _tint(drawn, mask, colour)
    draw = ImageDraw.Draw(drawn)
    width = line_width(drawn.size)
    for box, colour in reversed(list(zip(corners, colours, strict=True))):
        _outline(draw, box, colour, width)
    font = font_for(captions, font_size(drawn.size))
    texts = [writable(caption, font) for caption in captions]
    shown = [text if max_labels is None or n < max_labels else "" for n, text in enumerate(texts)]
    pad = max(1, width)
    line = draw.textbbox((0, 0), "Ag|", font=font)
    sizes = [
        (int(line[3] - line[1]) + 2 * pad, int(np.ceil(draw.textlength(text, font=font))) + 2 * pad) if text else (0, 0)
        for text in shown
    ]
    places = place_labels((drawn.height, drawn.width), corners, sizes)
    for box, colour, place in zip(corners, colours, places, strict=True):
        if place is not None:  # before the labels, whose text no line shall cross
            _tie(draw, box, place, colour, width)
    for colour, text, place in zip(colours, shown, places, strict=True):
        if place is not None:
            draw.rectangle((place[0], place[1], place[2] - 1, place[3] - 1), fill=colour)
            draw.text((place[0] + pad, place[1] + pad - line[1]), text, fill=ink_on(colour), font=font)
    return drawn


def _tint(image: Image.Image, mask: Mask, colour: Colour) -> None:
    bitmap, top, left = mask
    if bitmap.size:
        stencil = Image.fromarray(bitmap.astype(np.uint8) * round(255 * TINT))
        image.paste(colour, (left, top), stencil)


def line_width(size: tuple[int, int]) -> int:
    """Of boxes in a picture of (width, height), pixels."""
    side = math.sqrt(size[0] * size[1])
    return 1 if side < SMALL else max(2, round(0.0035 * side))


def font_size(size: tuple[int, int]) -> int:
    """Of captions in a picture of (width, height), pixels."""
    return max(SMALLEST_FONT, round(0.022 * math.sqrt(size[0] * size[1])))


def _outline(draw: ImageDraw.ImageDraw, box: NDArray[np.float64], colour: Colour, width: int) -> None:
    x1, y1 = (int(v) for v in np.floor(box[:2]))
    x2, y2 = max(x1, int(np.ceil(box[2])) - 1), max(y1, int(np.ceil(box[3])) - 1)
    if width > 1:  # a dark edge, for pictures of the line's own colour
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=BLACK, width=width + 2)
    draw.rectangle((x1, y1, x2, y2), outline=colour, width=width)


def _tie(draw: ImageDraw.ImageDraw, box: Any, place: tuple[int, int, int, int], colour: Colour, width: int) -> None:
    """A line from a label to the nearest point of its box, where they do not touch."""
    centre = np.array([(place[0] + place[2]) / 2, (place[1] + place[3]) / 2])
    near = np.clip(centre, box[:2], box[2:])
    inside = np.clip(near, place[:2], place[2:])
    if np.abs(near - inside).max() > width + 1:
        draw.line((*inside, *near), fill=colour, width=width)
