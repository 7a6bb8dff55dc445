"""The images of a split go in; batches of them, decoded by worker processes, come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from clis_core.data.decode import read_image
from clis_core.data.layout import Split
from clis_core.data.workers import load_batches


def load_images(
    split: Split,
    batches: Sequence[Sequence[int]],
    *,
    workers: int,
    exif: bool,
    at_least: int | None,
    pin: bool = False,
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Decode images, in the order asked for.

    Args:
        split: the images.
        batches: places in its table.
        workers: processes that decode; 0 decodes in this one.
        exif: turn images upright.
        at_least: decode large JPEGs at 1/2, 1/4 or 1/8 as long as the short side keeps this many pixels. Detections
            are then in pixels of the smaller image; the table has the true size.
        pin: put pixels into page-locked memory.

    Yields:
        (places in the table, images uint8 ``[3, h, w]``, channels last in memory).

    Raises:
        DataError: (while iterating) an image cannot be read, or a worker died.
    """
    pixels = split.table.sizes.astype(np.int64).prod(axis=1)
    largest = max((int(pixels[list(batch)].sum()) * 3 for batch in batches), default=0)
    load = _Images(split, exif, at_least)
    for images, indices in load_batches(load, batches, workers=workers, largest=largest, pin=pin):
        yield indices, images


class _Images:
    """Places of a batch to its images."""

    def __init__(self, split: Split, exif: bool, at_least: int | None) -> None:
        self._split = split
        self._exif = exif
        self._at_least = at_least

    def __call__(self, batch: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        for index in batch:
            height, width = self._split.table.sizes[index].tolist()
            path = self._split.files.path(index)
            yield read_image(path, exif=self._exif, at_least=self._at_least, size=(height, width)), index
