"""Mosaics: regions stay on what they frame, everything stays in its cell, and all is a function of (seed, place)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clis_core.config.pictures import PicturesConfig
from clis_core.data.mosaic import FILL, Drawn, compose, covered, draw_picture, resize_uint8
from tests.data.painted import PAINTS, find, painted, random_box

WHOLE = np.array([0, 0, 1, 1], np.float32)


def config(**fields: object) -> PicturesConfig:
    return PicturesConfig.model_validate({"mosaic": 192, "cutout": 0.0, **fields})


@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_regions_frame_what_they_framed_in_the_pictures(flip: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    settings = config(flip=flip)
    pictures, drawn = [], []
    for place, paint in enumerate(PAINTS):
        size = (int(random.integers(40, 300)), int(random.integers(40, 300)))
        box = random_box(random, size)
        pictures.append(painted(size, box.tolist(), paint))
        drawn.append(draw_picture(seed, place, size, box, settings))
    canvas, boxes = compose(pictures, drawn, 192)
    assert canvas.shape == (3, 192, 192)
    assert canvas.dtype == torch.uint8
    assert canvas.stride() == (1, 3 * 192, 3)
    assert (boxes.shape, boxes.dtype) == ((4, 4), np.float32)
    for place, (box, paint) in enumerate(zip(boxes, PAINTS, strict=True)):
        row, column = place // 2 * 96, place % 2 * 96
        cell = canvas[:, row : row + 96, column : column + 96]
        np.testing.assert_allclose(np.array(find(cell, paint)) + np.array([column, row] * 2), box, atol=1.01)


def test_the_mirrored_picture_has_its_region_on_the_other_side() -> None:
    box = np.array([0.1, 0.2, 0.4, 0.9], np.float32)
    plain, mirrored = (draw_picture(0, 7, (100, 200), box, config(flip=f)) for f in (0.0, 1.0))
    assert plain.size == mirrored.size  # the other draws stay what they are
    assert plain.offset == mirrored.offset
    height, width = plain.size
    top, left = plain.offset
    wanted = [left + 0.1 * width, top + 0.2 * height, left + 0.4 * width, top + 0.9 * height]
    np.testing.assert_allclose(plain.region, wanted, rtol=1e-5)
    wanted = [left + 0.6 * width, top + 0.2 * height, left + 0.9 * width, top + 0.9 * height]
    np.testing.assert_allclose(mirrored.region, wanted, rtol=1e-5)


def test_composing_in_loops() -> None:
    random = np.random.default_rng(0)
    sizes = [(30, 40), (48, 48), (1, 48), (20, 7)]
    pictures = [torch.from_numpy(random.integers(0, 256, (3, *size), np.uint8)) for size in sizes]
    region = np.array([1, 0, 2, 1], np.float32)
    drawn = [
        Drawn((30, 40), (5, 3), False, np.array([2, 4, 9, 11]), region),
        Drawn((48, 48), (0, 0), True, np.array([40, 0, 48, 6]), region),
        Drawn((1, 48), (47, 0), True, None, region),
        Drawn((20, 7), (28, 41), False, np.array([0, 0, 7, 20]), region),
    ]
    canvas, boxes = compose(pictures, drawn, 96)
    for y in range(96):
        for x in range(96):
            place = y // 48 * 2 + x // 48
            how, picture = drawn[place], pictures[place]
            v, u = y % 48 - how.offset[0], x % 48 - how.offset[1]
            inside = 0 <= v < how.size[0] and 0 <= u < how.size[1]
            hole = how.hole
            if hole is not None and hole[0] <= u < hole[2] and hole[1] <= v < hole[3]:
                inside = False
            if inside:
                wanted = picture[:, v, how.size[1] - 1 - u if how.flip else u].tolist()
            else:
                wanted = list(FILL)
            assert canvas[:, y, x].tolist() == wanted, (y, x)
    assert boxes.tolist() == [[1, 0, 2, 1], [49, 0, 50, 1], [1, 48, 2, 49], [49, 48, 50, 49]]


def test_mosaics_do_not_share_memory() -> None:
    black = [torch.zeros((3, 48, 48), dtype=torch.uint8)] * 4
    how = [Drawn((48, 48), (0, 0), False, None, WHOLE)] * 4
    small = [Drawn((8, 8), (0, 0), False, None, WHOLE)] * 4
    first, _ = compose(black, how, 96)
    second, _ = compose(black, small, 96)
    assert int(first.sum()) == 0
    assert second[:, 47, 47].tolist() == list(FILL)


def test_fill_is_nothing_after_normalising() -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # red first
    assert all(abs(f - m) / s < 0.01 for f, m, s in zip(FILL, mean, std, strict=True))


sides = st.integers(1, 3000)
relative = st.floats(0, 1, width=32)


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(sides, sides),
    corners=st.tuples(relative, relative, relative, relative),
    place=st.integers(0, 2**40),
    low=st.floats(0.05, 1),
    mosaic=st.sampled_from([32, 96, 448]),
    hole=st.floats(0.01, 1),
)
def test_everything_stays_in_its_cell_and_holes_spare_the_region(
    size: tuple[int, int], corners: tuple[float, ...], place: int, low: float, mosaic: int, hole: float
) -> None:
    x, y = sorted(corners[::2]), sorted(corners[1::2])
    box = np.array([x[0], y[0], x[1], y[1]], np.float32)
    cell = mosaic // 2
    settings = config(mosaic=mosaic, scale=(low, 1.0), cutout=1.0, hole=hole)
    drawn = draw_picture(5, place, size, box, settings)
    height, width = drawn.size
    top, left = drawn.offset
    assert 1 <= min(height, width) <= max(height, width) <= cell
    assert 0 <= top <= cell - height
    assert 0 <= left <= cell - width
    assert max(height, width) >= min(cell, round(cell * low)) - 1
    wanted = max(size) / min(size)  # its shape, as far as whole pixels allow
    assert abs(max(height, width) - wanted * min(height, width)) <= wanted or min(height, width) == 1
    x0, y0, x1, y1 = drawn.region
    slack = 1e-3
    assert left - slack <= x0 <= x1 <= left + width + slack
    assert top - slack <= y0 <= y1 <= top + height + slack
    if drawn.hole is not None:
        x0, y0, x1, y1 = drawn.hole.tolist()
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert max(x1 - x0, y1 - y0) <= max(1, cell * hole)
        inside = drawn.region - np.array([left, top, left, top], np.float32)
        over = max(0, min(x1, inside[2]) - max(x0, inside[0])) * max(0, min(y1, inside[3]) - max(y0, inside[1]))
        area = (inside[2] - inside[0]) * (inside[3] - inside[1])
        if min(inside[2:] - inside[:2]) > 0.01:
            assert over <= 0.5 * area * 1.01 + slack


def same(a: Drawn, b: Drawn) -> bool:
    holes = (a.hole is None) == (b.hole is None) and (a.hole is None or np.array_equal(a.hole, b.hole))
    return (a.size, a.offset, a.flip) == (b.size, b.offset, b.flip) and np.array_equal(a.region, b.region) and holes


def test_a_function_of_seed_and_place_alone() -> None:
    settings = config(cutout=0.5)
    first = [draw_picture(1, place, (60, 80), WHOLE, settings) for place in range(50)]
    np.random.default_rng().random(7)
    again = [draw_picture(1, place, (60, 80), WHOLE, settings) for place in reversed(range(50))][::-1]
    other = [draw_picture(2, place, (60, 80), WHOLE, settings) for place in range(50)]
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    assert sum(same(a, b) for a, b in zip(first, other, strict=True)) == 0
    assert len({(d.size, d.offset) for d in first}) > 40
    assert {d.flip for d in first} == {False, True}
    assert 10 < sum(d.hole is not None for d in first) < 40


def test_holes_are_cut_off_at_every_edge_alike() -> None:
    far = np.array([0, 0, 1e-4, 1e-4], np.float32)  # a region that no hole spares or covers by half
    settings = config(cutout=1.0, scale=(1.0, 1.0), flip=0.0, hole=1.0)
    cut: dict[str, list[int]] = {"left": [], "top": [], "right": [], "bottom": []}
    for place in range(3000):
        hole = draw_picture(0, place, (96, 96), far, settings).hole
        if hole is None:
            continue
        x0, y0, x1, y1 = hole.tolist()
        for edge, touches, depth in (
            ("left", x0 == 0, x1 - x0),
            ("top", y0 == 0, y1 - y0),
            ("right", x1 == 96, x1 - x0),
            ("bottom", y1 == 96, y1 - y0),
        ):
            if touches:
                cut[edge].append(depth)
    means = [np.mean(depths) for depths in cut.values()]
    assert max(means) < 1.2 * min(means)


def test_a_hole_that_would_cover_the_region_is_drawn_again_or_left_out() -> None:
    centre = np.array([0.45, 0.45, 0.55, 0.55], np.float32)
    settings = config(cutout=1.0, scale=(1.0, 1.0), hole=1.0)
    drawn = [draw_picture(0, place, (96, 96), centre, settings) for place in range(400)]
    holes = [d for d in drawn if d.hole is not None]
    assert len(holes) > 300
    assert any(covered(d.region, d.hole[None]) > 0 for d in holes)  # offset is 0: the picture fills its cell
    assert max(covered(d.region, d.hole[None]) for d in holes) <= 0.5


def test_covered_in_loops() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        low = random.integers(0, 10, (4, 2))
        boxes = np.concatenate([low, low + random.integers(1, 12, (4, 2))], axis=1)
        box, patches = boxes[0], boxes[1:]
        most = 0.0
        for x0, y0, x1, y1 in patches.tolist():
            inside = sum(x0 <= x < x1 and y0 <= y < y1 for x in range(box[0], box[2]) for y in range(box[1], box[3]))
            most = max(most, inside / ((box[2] - box[0]) * (box[3] - box[1])))
        assert covered(box.astype(np.float32), patches) == pytest.approx(most)
    assert covered(np.array([0.0, 0, 1, 1]), np.zeros((0, 4), int)) == 0


def test_resizing_keeps_colours_and_shares_what_needs_none() -> None:
    pixels = torch.tensor([250, 40, 10], dtype=torch.uint8)[:, None, None].expand(3, 50, 70)
    small = resize_uint8(pixels, (10, 31))
    assert small.shape == (3, 10, 31)
    assert small.flatten(1).unique(dim=1).T.tolist() == [[250, 40, 10]]
    assert small.stride(0) == 1
    assert resize_uint8(pixels, (50, 70)) is pixels
