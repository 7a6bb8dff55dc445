"""Images to evaluate on: those asked for, in that order, for any number of workers."""

import pytest
import torch

from clis_core.config.data import DataConfig
from clis_core.data.decode import read_image
from clis_core.data.layout import open_split
from clis_core.evaluation.images import load_images
from clis_core.evaluation.parts import Parts
from clis_core.evaluation.predict import batches_of


@pytest.fixture
def split(drawn_lvis, tmp_path):
    return open_split(DataConfig(root=drawn_lvis), "val", tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_images_asked_for(split, workers):
    batches = [[7, 2], [11], [3, 4, 5]]
    loaded = list(load_images(split, batches, workers=workers, exif=True, at_least=None))
    assert [indices for indices, _ in loaded] == batches
    for indices, images in loaded:
        for index, image in zip(indices, images, strict=True):
            assert torch.equal(image, torch.as_tensor(read_image(split.files.path(index))))


def test_none_and_small_ones(split):
    assert list(load_images(split, [], workers=0, exif=True, at_least=None)) == []
    ((_, (image,)),) = load_images(split, [[0]], workers=0, exif=True, at_least=10)
    assert min(image.shape[1:]) < min(split.table.sizes[0].tolist())


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_no_batch_is_in_two_parts(tmp_path, batch):
    parts = Parts(tmp_path, images=11, size=4)
    mine = [0, 2]
    batches = batches_of(parts, mine, batch)
    assert [i for b in batches for i in b] == [0, 1, 2, 3, 8, 9, 10]
    assert max(map(len, batches)) == batch
    whole = batches_of(parts, [0, 1, 2], batch)
    assert [b for b in whole if b in batches] == batches
