"""Pictures with boxes and some lines of text each in, one sheet of them out, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from clis_core.drawing.boxes import draw_boxes
from clis_core.drawing.colours import Colour
from clis_core.drawing.fonts import Font, font_for, writable
from clis_core.files import replacing

_LINE = 16
_GAP = 4
_INK, _PAPER = (20, 20, 20), (245, 245, 245)
COLOURS = ((0, 200, 80), (255, 70, 70), (60, 130, 255), (255, 190, 0), (220, 80, 255), (0, 210, 210))


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 ``[3, h, w]``.
        boxes: xyxy, in its pixels; the first lies on top.
        text: the lines below it.
        captions: of the boxes; empty for none.
        colours: of the boxes; empty for a colour for each.
    """

    pixels: Tensor
    boxes: Sequence[Sequence[float]]
    text: str
    captions: Sequence[str] = ()
    colours: Sequence[Colour] = ()


def draw_sheet(tiles: Sequence[Tile], path: Path, *, side: int = 192, columns: int | None = None) -> None:
    """Draw a sheet of pictures as a JPEG or PNG file, by its name.

    Args:
        tiles: what is on it, row by row.
        path: the file; made or replaced.
        side: of a tile in pixels, which the long side of its picture fills.
        columns: tiles in a row; None makes the sheet about square.
    """
    columns = columns or max(1, round(len(tiles) ** 0.5))
    drawn = [_drawn(tile, side) for tile in tiles]
    texts = [tile.text.split("\n") for tile in tiles]
    tops = [_GAP]  # of the rows: each is as high as its highest tile
    for first in range(0, len(tiles), columns):
        heights = (
            image.height + len(text) * _LINE
            for image, text in zip(drawn[first : first + columns], texts[first : first + columns], strict=True)
        )
        tops.append(tops[-1] + max(heights) + _GAP)
    sheet = Image.new("RGB", (columns * (side + _GAP) + _GAP, tops[-1]), _PAPER)
    font = font_for((tile.text for tile in tiles), 11)
    draw = ImageDraw.Draw(sheet)
    for number, (image, text) in enumerate(zip(drawn, texts, strict=True)):
        left, top = _GAP + number % columns * (side + _GAP), tops[number // columns]
        sheet.paste(image, (left, top))
        for row, line in enumerate(text):
            place = (left, top + image.height + 1 + row * _LINE)
            draw.text(place, _fitting(writable(line, font), font, side), fill=_INK, font=font)
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=92)


def _drawn(tile: Tile, side: int) -> Image.Image:
    """The picture, its long side ``side`` pixels, with its boxes."""
    image = Image.fromarray(np.ascontiguousarray(tile.pixels.permute(1, 2, 0).numpy()))
    scale = side / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    colours = tile.colours or [COLOURS[number % len(COLOURS)] for number in range(len(tile.boxes))]
    boxes = np.asarray(tile.boxes, dtype=np.float64).reshape(-1, 4) * scale
    return draw_boxes(image, boxes, tile.captions or [""] * len(boxes), colours)


def _fitting(text: str, font: Font, width: int) -> str:
    """The text, cut off where it would be wider."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
