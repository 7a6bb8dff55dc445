"""Four pictures with their boxes in, one image of 2 x 2 of them with all the boxes out (MosaicOS, Zhang et al. 2021).

Other than `mosaic.compose`, whose cells are equal squares that pictures fill in part, pictures fill this one without a
gap, so that it looks like a scene.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.data.mosaic import resize_uint8


def stitch(pictures: Sequence[Tensor], boxes: Sequence[NDArray[np.float32]]) -> tuple[Tensor, NDArray[np.float32]]:
    """Put pictures side by side at the smaller height of each row, and the rows below each other at the smaller width.

    Args:
        pictures: four, uint8 ``[3, h, w]``, row by row.
        boxes: of each ``[M_i, 4]``, xyxy, relative to the picture (0..1).

    Returns:
        uint8 ``[3, H, W]``, and the boxes of all, float32 ``[M, 4]``, xyxy in its pixels.
    """
    sizes = [(p.shape[-2], p.shape[-1]) for p in pictures]
    rows = [_row(sizes[:2]), _row(sizes[2:])]
    width = max(2, round(min(sum(w for _, w in row) for row in rows)))
    canvas: list[Tensor] = []
    placed, top = [], 0
    for number, row in enumerate(rows):
        left_part = row[0][1] / sum(w for _, w in row)
        height = max(1, round(row[0][0] * width / sum(w for _, w in row)))
        split = min(max(1, round(width * left_part)), width - 1)
        cells = ((0, split), (split, width))
        made = []
        for place, (left, right) in enumerate(cells):
            index = 2 * number + place
            made.append(resize_uint8(pictures[index], (height, right - left)))
            scale = np.array([right - left, height] * 2, np.float32)
            placed.append(boxes[index].reshape(-1, 4) * scale + np.array([left, top] * 2, np.float32))
        canvas.append(torch.cat(made, dim=2))
        top += height
    return torch.cat(canvas, dim=1), np.concatenate(placed).astype(np.float32)


def _row(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, float]]:
    """(height, width) of the pictures of a row once all have the smallest height."""
    height = min(h for h, _ in sizes)
    return [(height, w * height / h) for h, w in sizes]
