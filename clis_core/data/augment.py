"""A seed and a place in the training stream go in; size and flip come out, and boxes to match.

M boxes of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_AUGMENT = 4  # the stream of random numbers; 1 to 3 are `sampling`'s


def draw(seed: int, position: int, short_sides: Sequence[int], flip: float) -> tuple[int, bool]:
    """Short side and flip of one sample, a function of (seed, position) alone.

    Args:
        seed: the run's.
        position: the sample's place in the training stream.
        short_sides: lengths to choose from, in pixels.
        flip: probability of mirroring.

    Returns:
        (short side in pixels, whether to mirror).
    """
    bits = np.random.Philox(key=(seed, _AUGMENT), counter=(0, 0, 0, position)).random_raw(2)
    side, mirror = (int(b) / 2**64 for b in bits)
    return short_sides[int(side * len(short_sides))], mirror < flip


def place_boxes(
    boxes: NDArray[np.float32], size: tuple[int, int], new_size: tuple[int, int], flip: bool
) -> NDArray[np.float32]:
    """Boxes of an image after it is resized and then mirrored left to right.

    Args:
        boxes: float32 ``[M, 4]``, xyxy, pixels of the image of ``size``.
        size: (height, width) as annotated.
        new_size: (height, width) after resizing.
        flip: whether it is mirrored.

    Returns:
        float32 ``[M, 4]``, xyxy, pixels of the resized image.
    """
    y, x = new_size[0] / size[0], new_size[1] / size[1]
    placed = boxes * np.array([x, y, x, y], np.float32)
    if flip:
        placed[:, [0, 2]] = new_size[1] - placed[:, [2, 0]]
    return placed
