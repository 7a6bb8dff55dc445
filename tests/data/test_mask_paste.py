"""Small masks at their boxes, pixel by pixel; and their run lengths as pycocotools has them."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from clis_core.data.mask_paste import Window, paste_mask, rle_of_mask, rle_of_window
from clis_core.data.segmentation import bitmap_of


def whole(window, size):
    out = np.zeros(size, np.uint8)
    height, width = window.bitmap.shape
    out[window.top : window.top + height, window.left : window.left + width] = window.bitmap
    return out


def some_mask(seed, side=7):
    return np.random.default_rng(seed).random((side, side)).astype(np.float32)


def at(mask, y, x):
    """Bilinear, zero outside."""
    value = 0.0
    for row in range(len(mask)):
        for column in range(len(mask)):
            value += float(mask[row, column]) * max(0.0, 1 - abs(y - row)) * max(0.0, 1 - abs(x - column))
    return value


@pytest.mark.parametrize("box", [[3.3, 4.8, 21.1, 17.2], [0, 0, 30, 20], [5.2, 5.1, 5.9, 5.6], [10, 0, 30, 3.5]])
def test_every_pixel(box):
    mask, size = some_mask(0), (20, 30)
    found = whole(paste_mask(mask, np.array(box), size), size)
    for y in range(size[0]):
        for x in range(size[1]):
            row = (y + 0.5 - box[1]) / (box[3] - box[1]) * 7 - 0.5
            column = (x + 0.5 - box[0]) / (box[2] - box[0]) * 7 - 0.5
            value = at(mask, row, column)
            assert abs(value - 0.5) < 1e-5 or found[y, x] == (value >= 0.5), (y, x)


def test_nearly_as_torchvision():
    """Which rounds boxes to pixels."""
    size = (200, 300)
    smooth = np.asarray(torch.nn.functional.interpolate(torch.rand(1, 1, 4, 4), size=28, mode="bicubic"))[0, 0]
    for box in ([20.0, 30, 140, 150], [100.0, 3, 290, 190]):
        mine = whole(paste_mask(smooth, np.array(box), size), size).astype(bool)
        theirs = paste_masks_in_image(torch.tensor(smooth)[None, None], torch.tensor([box]), size)[0, 0].numpy() >= 0.5
        assert (mine & theirs).sum() / (mine | theirs).sum() > 0.95
        assert mine.sum() > 100


def test_the_mirror_image_is_pasted_mirrored():
    mask, size = some_mask(3), (40, 50)
    box = np.array([6.25, 3.5, 33.75, 30.5])
    mirrored = np.array([50 - 33.75, 3.5, 50 - 6.25, 30.5])
    plain = whole(paste_mask(mask, box, size), size)
    assert plain.any()
    assert np.array_equal(whole(paste_mask(mask[:, ::-1], mirrored, size), size), plain[:, ::-1])


def test_run_lengths_are_those_of_pycocotools():
    random = np.random.default_rng(0)
    for _ in range(300):
        size = tuple(int(n) for n in random.integers(1, 12, 2))
        height, width = (int(random.integers(0, n + 1)) for n in size)
        top, left = (int(random.integers(0, n - m + 1)) for n, m in zip(size, (height, width), strict=True))
        window = Window(random.random((height, width)) < random.random(), top, left)
        assert rle_of_window(window, size) == coco_mask.encode(np.asfortranarray(whole(window, size)))
    for full in (np.ones((4, 5), bool), np.zeros((4, 5), bool)):
        assert rle_of_window(Window(full, 0, 0), (4, 5)) == coco_mask.encode(np.asfortranarray(full.astype(np.uint8)))


def test_from_a_mask_to_run_lengths_and_back():
    mask, size, box = some_mask(5, 28), (60, 80), np.array([10.5, 8.25, 70.0, 55.0])
    bitmap, (top, left) = bitmap_of(rle_of_mask(mask, box, size))
    assert np.array_equal(whole(Window(bitmap, top, left), size), whole(paste_mask(mask, box, size), size))
