"""Masks are resized, mirrored, pasted over and handed on as the boxes are."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from clis_core.config.data import DataConfig
from clis_core.data.augment import place_boxes
from clis_core.data.layout import open_split
from clis_core.data.loader import TrainingLoader
from clis_core.data.masks import place_masks
from clis_core.data.segmentations import Segmentations

SIZE = (30, 40)


def some_rle(seed=0):
    mask = np.zeros(SIZE, np.uint8)
    mask[5:14, 8:25] = np.random.default_rng(seed).integers(0, 2, (9, 17))
    mask[5, 8] = mask[13, 24] = 1
    return mask, coco_mask.encode(np.asfortranarray(mask))


def painted(masks, number, size):
    """The mask in pixels of the resized image, by asking for every pixel's centre."""
    bitmap, (x1, y1, x2, y2) = masks.bitmaps()[number].numpy(), masks.windows[number].tolist()
    out = np.zeros(size, np.uint8)
    for y in range(size[0]):
        for x in range(size[1]):
            row = (y + 0.5 - y1) / (y2 - y1) * bitmap.shape[0]
            column = (x + 0.5 - x1) / (x2 - x1) * bitmap.shape[1]
            if 0 <= row < bitmap.shape[0] and 0 <= column < bitmap.shape[1]:
                out[y, x] = bitmap[int(row), int(column)]
    return out


@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_mirrored_is_the_mirror_image(scale):
    mask, rle = some_rle()
    new = (SIZE[0] * scale, SIZE[1] * scale)
    wanted = mask.repeat(scale, 0).repeat(scale, 1)
    plain, flipped = (place_masks([rle], SIZE, new, flip).unpacked([0]) for flip in (False, True))
    assert np.array_equal(painted(plain, 0, new), wanted)
    assert np.array_equal(painted(flipped, 0, new), wanted[:, ::-1])
    box = np.array([[8, 5, 25, 14]], np.float32)
    assert flipped.windows.tolist() == place_boxes(box, SIZE, new, flip=True).tolist()


def test_boxes_without_a_mask():
    _, rle = some_rle()
    packed = place_masks([None, rle, None], SIZE, SIZE, flip=False)
    masks = packed.unpacked([2, 1]).extended(1)
    assert torch.equal(masks.windows[2], torch.zeros(4))
    assert masks.shapes == [(0, 0), (9, 17), (0, 0)]
    masks = packed.unpacked([2, 1, 0, 1])
    assert masks.shapes == [(0, 0), (9, 17), (0, 0), (9, 17)]
    assert [len(b) for b in masks.bitmaps()] == [0, 9, 0, 9]
    assert torch.equal(masks.bitmaps()[1], masks.bitmaps()[3])
    none = place_masks([], SIZE, SIZE, flip=True).unpacked([])
    assert (none.shapes, none.windows.shape) == ([], (0, 4))


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_hands_them_on(drawn_lvis, workers):
    """The drawn segmentations are the boxes: resized and mirrored, each window is its box."""
    data = DataConfig(root=drawn_lvis, short_sides=(60, 80), long_side=200, workers=workers)
    split = open_split(data, "train", None)
    batches = list(TrainingLoader(split, data, 4, 0, 0, 4, segmentations=Segmentations(split.table)))
    targets = [t for batch in batches for t in batch.targets]
    assert {image.flip for batch in batches for image in batch.images} == {False, True}
    assert sum(len(t.boxes) for t in targets) > 20
    for target in targets:
        torch.testing.assert_close(target.masks.windows, target.boxes, atol=1e-4, rtol=0)
        assert all(bitmap.all() for bitmap in target.masks.bitmaps())
        assert target.to(torch.device("cpu")).masks.shapes == target.masks.shapes
    plain = TrainingLoader(split, data, 4, 0, 0, 1)
    assert all(t.masks is None for batch in plain for t in batch.targets)
