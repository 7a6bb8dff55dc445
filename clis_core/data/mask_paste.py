"""A detection's small mask and its box in; the pixels of the image that it covers out, as a bitmap or as run lengths.

S cells along a side of a mask. Boxes are xyxy in pixels of the image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.data.segmentation import Rle, rle_of_runs

COVERED = 0.5
"""Probability from which on a pixel is the object's."""


class Window(NamedTuple):
    """A part of an image.

    Attributes:
        bitmap: bool ``[h, w]``, may be empty.
        top: of the bitmap in the image, pixels.
        left: likewise.
    """

    bitmap: NDArray[np.bool_]
    top: int
    left: int


def paste_mask(mask: NDArray[np.float32], box: NDArray[np.floating[Any]], size: tuple[int, int]) -> Window:
    """Stretch a mask over its box: bilinear at the centres of the pixels, nothing beyond the mask's edge.

    As in torchvision's ``paste_masks_in_image``, but that the box is not rounded to whole pixels.

    Args:
        mask: ``[S, S]``, 0..1.
        box: ``[4]``, within the image.
        size: (height, width) of the image.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    left, top = max(0, int(np.floor(x1))), max(0, int(np.floor(y1)))
    right, bottom = min(size[1], int(np.ceil(x2))), min(size[0], int(np.ceil(y2)))
    rows = _tents(np.arange(top, bottom), y1, y2, len(mask))  # [h, S]
    columns = _tents(np.arange(left, right), x1, x2, len(mask))
    return Window(rows @ mask @ columns.T >= COVERED, top, left)


def _tents(pixels: NDArray[np.int64], first: float, last: float, side: int) -> NDArray[np.float32]:
    """Weights ``[n, S]`` of the cells between two ends at the centres of n pixels of a line."""
    at = (pixels + 0.5 - first) * (side / max(last - first, 1e-6)) - 0.5
    weights: NDArray[np.float32] = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(side))).astype(np.float32)
    return weights


def rle_of_window(window: Window, size: tuple[int, int]) -> Rle:
    """The run lengths of an image of (height, width) that is covered in the window alone."""
    edges = np.diff(np.pad(window.bitmap.astype(np.int8), ((1, 1), (0, 0))), axis=0).T  # [w, h + 1]
    column, row = edges.nonzero()  # beginnings and ends by turns, column by column
    turns = (window.left + column) * size[0] + window.top + row
    joined = np.flatnonzero(turns[1:] == turns[:-1])  # one column ends at the bottom, the next begins at the top
    turns = np.delete(turns, np.concatenate([joined, joined + 1]))
    pixels = size[0] * size[1]
    ends = turns if len(turns) and turns[-1] == pixels else np.append(turns, pixels)
    return rle_of_runs(ends - np.append(0, ends[:-1]), size)


def rle_of_mask(mask: NDArray[np.float32], box: NDArray[np.floating[Any]], size: tuple[int, int]) -> Rle:
    """The run lengths of what `paste_mask` covers."""
    return rle_of_window(paste_mask(mask, box, size), size)
