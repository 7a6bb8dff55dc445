"""Pictures of shards in, crops of one size to classify out; functions of (seed, place in the stream of pictures).

N pictures.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clis_core.data.mosaic import resize_uint8
from clis_core.data.shards.pixels import decode_picture
from clis_core.data.shards.reader import Shards

_CROP, _HELD_OUT = 21, 22  # streams of random numbers
_RATIO = (3 / 4, 4 / 3)
_TRIES = 10
_MARGIN = 256 / 224
"""A held-out picture is shown at this many times the crop's size, of which the centre is taken."""


def held_out(count: int, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pictures to learn from and pictures to measure on, the same ones for any seed: int64, rising.

    Args:
        count: N.
        fraction: of them that are held out.
    """
    order = np.random.Generator(np.random.Philox(key=(0, _HELD_OUT))).permutation(count)
    cut = round(count * fraction)
    return np.sort(order[cut:]), np.sort(order[:cut])


def draw_crop(
    seed: int, place: int, size: tuple[int, int], area: tuple[float, float]
) -> tuple[int, int, int, int, bool]:
    """A part of a picture of random area and shape, and whether it is mirrored (Szegedy et al. 2015).

    Args:
        seed: the run's.
        place: the picture's place in the stream.
        size: its (height, width).
        area: smallest and largest part of its area.

    Returns:
        (top, left, height, width, mirrored), pixels.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, _CROP), counter=(0, 0, 0, place)))
    height, width = size
    mirrored = bool(random.random() < 0.5)
    for _ in range(_TRIES):
        part = height * width * random.uniform(*area)
        ratio = math.exp(random.uniform(*np.log(_RATIO)))
        h, w = round(math.sqrt(part / ratio)), round(math.sqrt(part * ratio))
        if 0 < h <= height and 0 < w <= width:
            return int(random.integers(0, height - h + 1)), int(random.integers(0, width - w + 1)), h, w, mirrored
    # A long picture: the largest part in its middle whose shape is allowed.
    w = min(width, round(height * _RATIO[1]))
    h = min(height, max(1, round(w / _RATIO[0])))
    return (height - h) // 2, (width - w) // 2, h, w, mirrored


class TrainingCrops:
    """(picture, place in the stream) pairs of a step to random crops.

    Args:
        shards: the pictures.
        size: of a crop, pixels.
        area: see `draw_crop`.
        seed: the run's.
    """

    def __init__(self, shards: Shards, size: int, area: tuple[float, float], seed: int) -> None:
        self._shards, self._size, self._area, self._seed = shards, size, area, seed

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[Tensor, int]]:
        """Crops uint8 ``[3, size, size]``, with the pictures' numbers."""
        for number, place in pairs:
            size = self._shards.size(number)
            top, left, height, width, mirrored = draw_crop(self._seed, place, size, self._area)
            # No larger than needed: the crop's shorter side becomes ``size``.
            pixels = decode_picture(self._shards, number, math.ceil(min(size) * self._size / min(height, width)))
            y, x = pixels.shape[1] / size[0], pixels.shape[2] / size[1]
            rows = slice(int(top * y), max(int(top * y) + 1, round((top + height) * y)))
            columns = slice(int(left * x), max(int(left * x) + 1, round((left + width) * x)))
            crop = resize_uint8(pixels[:, rows, columns], (self._size, self._size))
            yield _channels_last(crop.flip(-1) if mirrored else crop), number


class CentreCrops:
    """Numbers of pictures to their centres.

    Args:
        shards: the pictures.
        size: of a crop, pixels.
    """

    def __init__(self, shards: Shards, size: int) -> None:
        self._shards, self._size = shards, size

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        """Crops uint8 ``[3, size, size]``, with the pictures' numbers."""
        for number in numbers:
            height, width = self._shards.size(number)
            scale = self._size * _MARGIN / min(height, width)
            new = max(self._size, round(height * scale)), max(self._size, round(width * scale))
            pixels = resize_uint8(decode_picture(self._shards, number, min(new)), new)
            top, left = (new[0] - self._size) // 2, (new[1] - self._size) // 2
            yield _channels_last(pixels[:, top : top + self._size, left : left + self._size]), number


def _channels_last(pixels: Tensor) -> Tensor:
    return pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
