"""One segmentation: the same pixels as pycocotools makes of it, and an error for what that would trip over."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from clis_core.data.segmentation import bitmap_of, read_segmentation, runs_of


def text(value):
    return json.dumps(value).encode()


def some_mask(random):
    height, width = (int(n) for n in random.integers(1, 60, 2))
    return (random.random((height, width)) < random.random()).astype(np.uint8)


def test_run_lengths_as_text_and_as_a_list():
    random = np.random.default_rng(0)
    for _ in range(200):
        mask = some_mask(random)
        size = mask.shape
        rle = coco_mask.encode(np.asfortranarray(mask))
        runs = runs_of(rle["counts"])
        assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.T.reshape(-1))
        for counts in (rle["counts"].decode(), runs.tolist()):
            found = read_segmentation(text({"size": size, "counts": counts}), size)
            assert (found is None) == (not mask.any())
            if found is not None:
                assert found["counts"] == rle["counts"]
                assert found["size"] == list(size)


def test_long_runs():
    size = (3000, 4000)
    mask = np.zeros(size, np.uint8, order="F")
    mask[100:2900, 5:3990] = 1
    rle = coco_mask.encode(mask)
    assert read_segmentation(text({"size": size, "counts": rle["counts"].decode()}), size) == rle


def test_polygons():
    random = np.random.default_rng(1)
    for _ in range(30):
        polygons = [(random.random(2 * int(random.integers(3, 9))) * 60 - 5).tolist() for _ in range(3)]
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, 40, 50))
        assert read_segmentation(text([*polygons, [1, 2, 3, 4]]), (40, 50)) == rle  # a line covers nothing


@pytest.mark.parametrize("value", [None, [], [[]], [[1, 1, 5, 5]], [[70, 70, 90, 70, 90, 90]]])
def test_nothing(value):
    assert read_segmentation(text(value), (40, 50)) is None
    assert read_segmentation(text({"size": [40, 50], "counts": [2000]}), (40, 50)) is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("abc", "Expected"),
        ([["a", 1, 2, 3, 4, 5]], "Expected"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers, an x without a y"),
        ([[0, 0, 1e308, 0, -1e308, 5]], "outline is longer"),
        ([[0, 0, 9e5, 0, 9e5, 9e5] * 50], "outline is longer"),
        ([[1e9, 1e9, 1e9, 1e9 + 1, 1e9 + 1, 1e9]], "far outside"),
        ({"size": [50, 40], "counts": [2000]}, r"its size is \[50, 40\], the image's is \[40, 50\]"),
        ({"size": [40, 50]}, "counts"),
        ({"size": [40, 50], "counts": [1999]}, "1999 pixels together, the image has 2000"),
        ({"size": [40, 50], "counts": [3000, -1000]}, "below 0"),
        ({"size": [40, 50], "counts": [2**70]}, "."),
        ({"size": [40, 50], "counts": [2**62, 2**62, 2**62]}, "pixels together"),
        ({"size": [40, 50], "counts": "5"}, "5 pixels together"),
        ({"size": [40, 50], "counts": "}],{"}, "no text of COCO's"),
        ({"size": [40, 50], "counts": "o" * 20 + "0"}, "no text of COCO's"),
        ({"size": [40, 50], "counts": "ooo"}, "cut short"),
    ],
)
def test_what_is_wrong(value, reason):
    with pytest.raises(ValueError, match=reason):
        read_segmentation(text(value), (40, 50))


def test_the_smallest_bitmap():
    mask = np.zeros((20, 30), np.uint8)
    mask[3:9, 7:12] = np.eye(6, 5, dtype=np.uint8)
    bitmap, (top, left) = bitmap_of(coco_mask.encode(np.asfortranarray(mask)))
    assert (top, left, bitmap.tolist()) == (3, 7, mask[3:8, 7:12].tolist())
    noise = np.random.default_rng(0).integers(0, 2, (60, 70), np.uint8)  # some thousand runs
    noise[[0, -1]] = noise[:, [0, -1]] = 1
    assert np.array_equal(bitmap_of(coco_mask.encode(np.asfortranarray(noise)))[0], noise)
