"""The sheet of pictures: each in its place, its boxes around what they frame, its text below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from clis_core.data.sheet import COLOURS, Tile, draw_sheet

SIDE, CELL, LINE = 64, 64 + 4, 16


def plain(height: int, width: int, colour: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def drawn(tiles: list[Tile], path: Path, columns: int | None = None) -> NDArray[np.uint8]:
    draw_sheet(tiles, path, side=SIDE, columns=columns)
    with Image.open(path) as sheet:
        return np.asarray(sheet)


def test_pictures_lie_row_by_row_and_fill_their_tiles(tmp_path: Path) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 0), (0, 90, 90)]
    sizes = [(32, 32), (100, 50), (10, 30), (64, 64), (3, 300)]
    tiles = [
        Tile(plain(*size, colour), [], f"n{k}") for k, (size, colour) in enumerate(zip(sizes, colours, strict=True))
    ]
    sheet = drawn(tiles, tmp_path / "s.png", columns=2)
    tops = [4, 4 + 64 + LINE + 4, 4 + 2 * (64 + LINE + 4)]  # a row is as high as its highest picture
    assert sheet.shape == (tops[2] + 1 + LINE + 4, 2 * CELL + 4, 3)
    for k, (size, colour) in enumerate(zip(sizes, colours, strict=True)):
        top, left = tops[k // 2], 4 + k % 2 * CELL
        scale = SIDE / max(size)
        height, width = (max(1, round(v * scale)) for v in size)
        assert (sheet[top : top + height, left : left + width] == colour).all()
        assert (sheet[top, left + width : left + CELL - 4] == 245).all()
        text = sheet[top + height + 1 : top + height + LINE, left : left + SIDE]  # right below the picture
        assert text.min() < 100


def test_boxes_are_drawn_around_what_they_frame(tmp_path: Path) -> None:
    tile = Tile(plain(32, 64, (128, 128, 128)), [[8, 4, 40, 20], [50, 0, 64, 32]], "two boxes")
    sheet = drawn([tile], tmp_path / "s.png")
    picture = sheet[4 : 4 + 32, 4 : 4 + 64]
    for colour, (x0, y0, x1, y1) in zip(COLOURS, [(8, 4, 40, 20), (50, 0, 64, 32)], strict=False):
        rows, columns = np.nonzero((picture == colour).all(axis=2))
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    assert (picture[8:16, 12:36] == 128).all()  # only the outline


def test_captions_and_colours_of_boxes(tmp_path: Path) -> None:
    grey = plain(64, 64, (128, 128, 128))
    tile = Tile(grey, [[4, 30, 40, 60], [50, 2, 60, 9]], "", ["a class", ""], [(250, 10, 10), (10, 10, 250)])
    picture = drawn([tile], tmp_path / "s.png")[4 : 4 + 64, 4 : 4 + 64]
    red, blue = ((picture == colour).all(axis=2) for colour in ((250, 10, 10), (10, 10, 250)))
    assert red.sum() > 2 * 36 + 2 * 30 + 100  # outline and label
    assert 0 < blue.sum() <= 2 * 10 + 2 * 7  # outline alone


def test_lines_of_text(tmp_path: Path) -> None:
    tiles = [Tile(plain(64, 64, (0, 0, 0)), [], text) for text in ("one", "one\ntwo\nthree")]
    sheet = drawn(tiles, tmp_path / "s.png", columns=2)
    assert sheet.shape[0] == 4 + 64 + 3 * LINE + 4
    below = [sheet[4 + 64 + 1 + n * LINE : 4 + 64 + (n + 1) * LINE] for n in range(3)]
    assert [part[:, 4 : 4 + 64].min() < 100 for part in below] == [True, False, False]
    assert all(part[:, 4 + CELL : 4 + CELL + 64].min() < 100 for part in below)


def test_long_texts_are_cut_off_in_their_tile(tmp_path: Path) -> None:
    short, long = ([Tile(plain(8, 8, (0, 0, 0)), [], text)] * 2 for text in ("a", "very long name " * 20))
    one, two = (drawn(tiles, tmp_path / f"{n}.png", columns=2) for n, tiles in enumerate((short, long)))
    assert one.shape == two.shape
    assert (two[4 + SIDE :, 4 + SIDE + 1 : 4 + CELL] == 245).all()  # nothing runs into the next tile


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (5, 2), (16, 4), (0, 1)])
def test_sheets_are_about_square(tmp_path: Path, count: int, columns: int) -> None:
    sheet = drawn([Tile(plain(9, 9, (1, 2, 3)), [], "")] * count, tmp_path / "s.png")
    assert sheet.shape[1] == columns * CELL + 4


def test_the_name_says_the_format_and_an_old_sheet_is_replaced(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "JPEG"), ("b.png", "PNG")):
        for _ in range(2):
            draw_sheet([Tile(plain(9, 9, (1, 2, 3)), [[0, 0, 9, 9]], "x")], tmp_path / name)
        with Image.open(tmp_path / name) as sheet:
            assert sheet.format == kind
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "b.png"]
