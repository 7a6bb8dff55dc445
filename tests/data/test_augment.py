"""Size and flip of a sample, and boxes that stay on what they enclose."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clis_core.batch import fit_size
from clis_core.data.augment import draw, place_boxes

SIDES = (640, 672, 704)


def test_a_sample_is_a_function_of_seed_and_place() -> None:
    samples = [draw(7, k, SIDES, 0.5) for k in range(200)]
    assert [draw(7, k, SIDES, 0.5) for k in reversed(range(200))] == samples[::-1]
    assert [draw(8, k, SIDES, 0.5) for k in range(200)] != samples
    state = np.random.get_state()[1]
    draw(7, 0, SIDES, 0.5)
    assert np.array_equal(np.random.get_state()[1], state)


def test_sizes_and_flips_are_drawn_evenly_and_apart() -> None:
    samples = [draw(0, k, SIDES, 0.25) for k in range(6000)]
    for side, count in Counter(side for side, _ in samples).items():
        assert side in SIDES
        assert abs(count / 6000 - 1 / 3) < 0.03
    for side in SIDES:
        flips = [flip for s, flip in samples if s == side]
        assert abs(np.mean(flips) - 0.25) < 0.05
    assert abs(np.mean([a == b for a, b in itertools.pairwise(samples)]) - (1 / 3) * 0.625) < 0.03


@pytest.mark.parametrize(("probability", "expected"), [(0.0, {False}), (1.0, {True})])
def test_never_and_always_flipped(probability: float, expected: set[bool]) -> None:
    assert {draw(0, k, (64,), probability)[1] for k in range(500)} == expected


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("height", "width"), [(48, 64), (97, 61), (300, 200)])
def test_a_coloured_box_lands_where_its_box_says(height: int, width: int, flip: bool) -> None:
    box = [9, 11, 33, 29]
    pixels = torch.zeros(3, height, width, dtype=torch.uint8)
    pixels[0, box[1] : box[3], box[0] : box[2]] = 255
    size = fit_size(height, width, 150, 400)
    seen = F.interpolate(pixels[None], size=size, mode="bilinear", antialias=True)[0, 0]
    seen = seen.flip(-1) if flip else seen

    boxes = np.array([box, [0, 0, width, height]], np.float32)
    placed = place_boxes(boxes, (height, width), size, flip)

    rows, columns = (torch.nonzero(seen.amax(dim) > 127)[:, 0] for dim in (1, 0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert np.abs(placed[0] - np.array(found)).max() <= 1
    assert placed[1] == pytest.approx([0, 0, size[1], size[0]], abs=1e-3)
    assert placed.dtype == np.float32
    assert boxes[0].tolist() == box  # what came in is left alone


def test_flipping_twice_is_nothing() -> None:
    boxes = np.array([[1, 2, 3.5, 4], [0, 0, 10, 10]], np.float32)
    twice = place_boxes(place_boxes(boxes, (10, 10), (10, 10), True), (10, 10), (10, 10), True)
    assert np.array_equal(twice, boxes)


def test_no_boxes() -> None:
    assert place_boxes(np.zeros((0, 4), np.float32), (10, 10), (20, 20), True).shape == (0, 4)
