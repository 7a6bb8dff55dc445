"""The network's first step against Pillow's resize and plain arithmetic."""

import numpy as np
import torch
from PIL import Image

from clis_core.batch import RawImage, fit_size
from clis_core.detectors.preprocess import MEAN, STD, Preprocess, resize


def picture(height, width):
    y, x = np.mgrid[:height, :width]
    stack = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=-1).astype(np.uint8)
    return torch.from_numpy(stack).permute(2, 0, 1)


def test_resize_equals_pillow():
    image = picture(60, 90)
    for size in ((40, 60), (90, 135), (60, 90)):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
        difference = resize(image, size).permute(1, 2, 0).numpy().astype(int) - np.asarray(pillow).astype(int)
        assert np.abs(difference).max() <= 1


def test_normalise_flip_and_pad():
    image = picture(30, 40)
    batch = Preprocess(32)([RawImage(image, (30, 40)), RawImage(image, (30, 40), True), RawImage(image, (60, 80))])
    assert batch.pixels.shape == (3, 3, 64, 96)
    assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
    assert batch.sizes == [(30, 40), (30, 40), (60, 80)]
    plain = (image.float() - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(batch.pixels[0, :, :30, :40], plain)
    torch.testing.assert_close(batch.pixels[1, :, :30, :40], plain.flip(-1))
    assert not batch.pixels[0, :, 30:].any()
    assert not batch.pixels[0, :, :, 40:].any()


def test_fit_size():
    assert fit_size(480, 640, 800, 1333) == (800, 1067)
    assert fit_size(300, 1000, 800, 1333) == (400, 1333)
    assert fit_size(640, 480, 800, 1333) == (1067, 800)
    assert fit_size(1, 5000, 800, 1333) == (1, 1333)


def test_a_batch_is_padded_to_the_frame_of_other_processes() -> None:
    image = torch.full((3, 30, 40), 200, dtype=torch.uint8)
    alone = Preprocess(32)([RawImage(image, (30, 40))])
    framed = Preprocess(32)([RawImage(image, (30, 40), frame=(70, 33))])
    assert alone.pixels.shape == (1, 3, 32, 64)
    assert framed.pixels.shape == (1, 3, 96, 64)
    assert torch.equal(framed.pixels[:, :, :32], alone.pixels)
    assert not framed.pixels[:, :, 30:].any()
    assert framed.sizes == [(30, 40)]
