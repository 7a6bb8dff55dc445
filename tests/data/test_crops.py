"""Crops to classify: random ones within their picture, of the size asked for; centres of held-out pictures."""

import numpy as np
import pytest
import torch

from clis_core.data.crops import CentreCrops, TrainingCrops, draw_crop, held_out
from tests.data.painted import painted_shards


@pytest.mark.parametrize("size", [(100, 120), (7, 300), (300, 7), (1, 1)])
def test_a_crop_lies_in_its_picture(size):
    crops = [draw_crop(0, place, size, (0.08, 1.0)) for place in range(300)]
    for top, left, height, width, _ in crops:
        assert 0 <= top < top + height <= size[0]
        assert 0 <= left < left + width <= size[1]
    assert crops == [draw_crop(0, place, size, (0.08, 1.0)) for place in range(300)]
    assert 100 < sum(c[4] for c in crops) < 200
    if size == (100, 120):
        areas = np.array([c[2] * c[3] for c in crops]) / 12_000
        assert areas.min() >= 0.07
        assert areas.max() <= 1
        assert 0.4 < areas.mean() < 0.65
        ratios = [c[3] / c[2] for c in crops]
        assert min(ratios) > 0.7
        assert max(ratios) < 1.4


def test_every_picture_is_learnt_from_or_held_out():
    learnt, kept = held_out(97, 0.1)
    assert len(kept) == 10
    assert sorted([*learnt, *kept]) == list(range(97))
    assert [len(part) for part in held_out(5, 0.0)] == [5, 0]


def test_crops_have_the_size_and_the_number_of_their_pictures(tmp_path):
    shards = painted_shards(tmp_path / "shards", 8, shards=1)
    pairs = [(3, 0), (5, 1), (3, 2)]
    crops = list(TrainingCrops(shards, 40, (0.5, 1.0), 0)(pairs))
    assert [number for _, number in crops] == [3, 5, 3]
    assert all(crop.shape == (3, 40, 40) and crop.dtype == torch.uint8 for crop, _ in crops)
    assert not torch.equal(crops[0][0], crops[2][0])  # of another place
    again = list(TrainingCrops(shards, 40, (0.5, 1.0), 0)(pairs[2:]))
    assert torch.equal(again[0][0], crops[2][0])
    whole = list(CentreCrops(shards, 48)(range(8)))
    assert all(crop.shape == (3, 48, 48) for crop, _ in whole)
    # A crop of the whole picture shows what the picture shows.
    full = next(iter(TrainingCrops(shards, 40, (1.0, 1.0), 0)([(2, 0)])))[0].float()
    mean = shards.image(2).float().mean(dim=(1, 2))
    assert (full.mean(dim=(1, 2)) - mean).abs().max() < 25
