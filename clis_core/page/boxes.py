"""A box of a picture in; its frame and its mark as SVG out, in pixels of the JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clis_core.data.segmentation import Rle, bitmap_of
from clis_core.evaluation.examples import Box
from clis_core.page.content import Picture
from clis_core.page.html import Html, tag

Look = Literal["object", "right", "wrong", "unjudged"]
MARK = 1 / 30
"""Height of a mark by the long side of the picture."""
BAR = 2
"""Pixels of the JPEG to which masks are drawn."""


@dataclass(frozen=True)
class DrawnBox:
    """A box as it is drawn.

    Attributes:
        name: by which its switch finds it.
        mark: a letter for an object, a number for a detection.
        box: xyxy, pixels of the original image.
        look: of the style sheet.
        about: whether the picture is shown because of it.
        hidden: whether it is drawn on demand.
        mask: what it covers, if it has a mask.
    """

    name: str
    mark: str
    box: Box
    look: Look
    about: bool = False
    hidden: bool = False
    mask: Rle | None = None


def frame_of(picture: Picture, drawn: DrawnBox) -> Html:
    """The rectangle, with a dark rim that keeps it apart from any picture, and the mask."""
    x1, y1, x2, y2 = _corners(picture, drawn)
    frame = {"x": _n(x1), "y": _n(y1), "width": _n(max(x2 - x1, 1)), "height": _n(max(y2 - y1, 1))}
    mask = [] if drawn.mask is None else [tag("path", d=rows_of(drawn.mask, picture.size), cls="mask")]
    return _group(drawn, [*mask, tag("rect", cls="halo", **frame), tag("rect", cls="frame-of-box", **frame)])


def mark_of(picture: Picture, drawn: DrawnBox) -> Html:
    """The mark at the top: letters on the left, numbers on the right, so that two boxes on one object show both."""
    x1, y1, x2, _ = _corners(picture, drawn)
    unit = max(picture.size) * MARK
    wide, high = unit * (0.5 + 0.6 * len(drawn.mark)), unit * 1.2
    x = min(max(x1 if drawn.look == "object" else x2 - wide, 0), picture.size[0] - wide)
    y = min(y1, picture.size[1] - high)
    plate = tag("rect", x=_n(x), y=_n(y), width=_n(wide), height=_n(high), cls="plate")
    middle = {"x": _n(x + wide / 2), "y": _n(y + unit * 0.95), "font_size": _n(unit), "text_anchor": "middle"}
    return _group(drawn, [plate, tag("text", drawn.mark, **middle)])


def rows_of(mask: Rle, size: tuple[int, int]) -> str:
    """A mask as a path of bars, each `BAR` pixels high, in a picture of this width and height."""
    pixels, (top, left) = bitmap_of(mask)
    height, width = mask["size"]
    y, x = (
        ((np.arange(0, side, BAR) + BAR / 2) * (of / side)).astype(np.int64) - start
        for side, of, start in ((size[1], height, top), (size[0], width, left))
    )
    rows, columns = ((place >= 0) & (place < extent) for place, extent in zip((y, x), pixels.shape, strict=True))
    inside = np.zeros((len(y), len(x) + 2), np.int8)  # a column more on each side, so that every bar has two ends
    inside[np.ix_(rows, np.pad(columns, 1))] = pixels[np.ix_(y[rows], x[columns])]
    starts, ends = (np.argwhere(np.diff(inside, axis=1) == step).tolist() for step in (1, -1))
    return "".join(
        f"M{BAR * a} {BAR * row}h{BAR * (b - a)}v{BAR}h{BAR * (a - b)}z"
        for (row, a), (_, b) in zip(starts, ends, strict=True)
    )


def letter(k: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return chr(ord("A") + k) if k < 26 else letter(k // 26 - 1) + letter(k % 26)


def _corners(picture: Picture, drawn: DrawnBox) -> tuple[float, float, float, float]:
    """Inside the picture."""
    x1, y1, x2, y2 = (value * picture.scale for value in drawn.box)
    width, height = picture.size
    return (
        *(min(max(x1, 1), width - 1), min(max(y1, 1), height - 1)),
        *(min(max(x2, 1), width - 1), min(max(y2, 1), height - 1)),
    )


def _group(drawn: DrawnBox, content: list[Html]) -> Html:
    cls = f"box {drawn.look}" + (" about" if drawn.about else "")
    return tag("g", content, data_of=drawn.name, cls=cls, visibility="hidden" if drawn.hidden else None)


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
