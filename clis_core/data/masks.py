"""The masks of an image's boxes in; the same as the network sees the image, small enough to be handed on, out.

M boxes of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from clis_core.batch import Masks
from clis_core.data.augment import place_boxes
from clis_core.data.segmentation import Rle, bitmap_of


class PackedMasks(NamedTuple):
    """Masks on their way from a worker.

    Attributes:
        bits: of each box, its bitmap row by row, eight pixels a byte; empty for a box without a mask.
        shapes: (height, width) of each bitmap.
        windows: float32 ``[M, 4]``, see `Masks`.
    """

    bits: list[bytes]
    shapes: list[tuple[int, int]]
    windows: NDArray[np.float32]

    def unpacked(self, boxes: Sequence[int]) -> Masks:
        """The masks of boxes by their numbers."""
        shapes = [self.shapes[n] for n in boxes]
        bitmaps = [
            np.unpackbits(np.frombuffer(self.bits[n], np.uint8), count=height * width)
            for n, (height, width) in zip(boxes, shapes, strict=True)
        ]
        pixels = np.concatenate([np.zeros(0, np.uint8), *bitmaps])
        return Masks(torch.from_numpy(pixels), shapes, torch.from_numpy(self.windows[np.asarray(boxes, np.int64)]))


def place_masks(
    masks: Sequence[Rle | None], size: tuple[int, int], new_size: tuple[int, int], flip: bool
) -> PackedMasks:
    """Masks of an image after it is resized and then mirrored left to right, as `place_boxes` does it with boxes.

    Bitmaps keep the pixels of the annotated image: what is resized is the window that they lie in.

    Args:
        masks: of the M boxes; None for a box without.
        size: (height, width) as annotated.
        new_size: (height, width) after resizing.
        flip: whether it is mirrored.
    """
    bits, shapes, windows = [], [], np.zeros((len(masks), 4), np.float32)
    for n, rle in enumerate(masks):
        bitmap, (top, left) = (np.zeros((0, 0), np.uint8), (0, 0)) if rle is None else bitmap_of(rle)
        height, width = bitmap.shape
        windows[n] = left, top, left + width, top + height
        bits.append(np.packbits(bitmap[:, ::-1] if flip else bitmap).tobytes())
        shapes.append((height, width))
    return PackedMasks(bits, shapes, place_boxes(windows, size, new_size, flip))
