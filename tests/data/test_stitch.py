"""Mosaics without gaps: pictures keep their shape, rows their height, and boxes stay on what they are of."""

import numpy as np
import pytest
import torch

from clis_core.data.stitch import stitch

COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 10)]


def painted(height, width, colour, box):
    picture = torch.full((3, height, width), 100, dtype=torch.uint8)
    x0, y0, x1, y1 = (round(v) for v in np.array(box) * (width, height, width, height))
    picture[:, y0:y1, x0:x1] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return picture


def seen(canvas, colour):
    near = ((canvas.int() - torch.tensor(colour)[:, None, None]).abs().sum(0) < 60).nonzero()
    (y0, x0), (y1, x1) = near.min(0).values.tolist(), near.max(0).values.tolist()
    return [x0, y0, x1 + 1, y1 + 1]


@pytest.mark.parametrize(
    "sizes",
    [
        [(80, 100), (120, 90), (64, 64), (100, 180)],
        [(50, 50)] * 4,
        [(200, 60), (90, 300), (300, 90), (60, 200)],
    ],
)
def test_boxes_follow_their_pictures(sizes):
    boxes = [[0.25, 0.25, 0.75, 0.75], [0, 0, 0.5, 1], [0.5, 0.5, 1, 1], [0.1, 0.2, 0.6, 0.9]]
    pictures = [painted(h, w, c, b) for (h, w), c, b in zip(sizes, COLOURS, boxes, strict=True)]
    canvas, placed = stitch(pictures, [np.array([b], np.float32) for b in boxes])
    assert canvas.dtype == torch.uint8
    assert placed.shape == (4, 4)
    for colour, box in zip(COLOURS, placed, strict=True):
        np.testing.assert_allclose(seen(canvas, colour), box, atol=2)
    # By the rule: each row at its smaller height, then both at the smaller width.
    rows = []
    for a, b in (sizes[:2], sizes[2:]):
        height = min(a[0], b[0])
        rows.append((height, a[1] * height / a[0] + b[1] * height / b[0]))
    width = min(w for _, w in rows)
    assert canvas.shape[2] == pytest.approx(width, abs=1)
    assert canvas.shape[1] == pytest.approx(sum(h * width / w for h, w in rows), abs=2)


def test_pictures_without_boxes_and_of_a_pixel():
    pictures = [torch.zeros(3, 1, 1, dtype=torch.uint8)] * 4
    canvas, placed = stitch(pictures, [np.zeros((0, 4), np.float32)] * 4)
    assert placed.shape == (0, 4)
    assert min(canvas.shape[1:]) >= 2
