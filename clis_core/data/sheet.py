"""Pictures with boxes and a line of text each in, one sheet of them out, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from clis_core.files import replacing

_CAPTION = 16
_GAP = 4
_INK, _PAPER = (20, 20, 20), (245, 245, 245)
COLOURS = ((0, 200, 80), (255, 70, 70), (60, 130, 255), (255, 190, 0), (220, 80, 255), (0, 210, 210))


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        pixels: uint8 ``[3, h, w]``.
        boxes: xyxy, in its pixels.
        text: the line below it.
    """

    pixels: Tensor
    boxes: Sequence[Sequence[float]]
    text: str


def draw_sheet(tiles: Sequence[Tile], path: Path, *, side: int = 192, columns: int | None = None) -> None:
    """Draw a sheet of pictures as a JPEG or PNG file, by its name.

    Args:
        tiles: what is on it, row by row.
        path: the file; made or replaced.
        side: of a tile in pixels, which the long side of its picture fills.
        columns: tiles in a row; None makes the sheet about square.
    """
    columns = columns or max(1, round(len(tiles) ** 0.5))
    rows = -(-len(tiles) // columns)
    cell = (side + _GAP, side + _CAPTION + _GAP)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _PAPER)
    font = ImageFont.load_default(11)
    draw = ImageDraw.Draw(sheet)
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % columns * cell[0], _GAP + number // columns * cell[1]
        sheet.paste(_drawn(tile, side), (left, top))
        draw.text((left, top + side + 1), _fitting(tile.text, font, side), fill=_INK, font=font)
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=92)


def _drawn(tile: Tile, side: int) -> Image.Image:
    """The picture, its long side ``side`` pixels, with its boxes."""
    image = Image.fromarray(np.ascontiguousarray(tile.pixels.permute(1, 2, 0).numpy()))
    scale = side / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(image)
    for number, box in enumerate(tile.boxes):
        corners = [v * scale for v in box]
        corners[2], corners[3] = max(corners[0], corners[2] - 1), max(corners[1], corners[3] - 1)
        draw.rectangle(corners, outline=COLOURS[number % len(COLOURS)], width=2)
    return image


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut off where it would be wider."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
