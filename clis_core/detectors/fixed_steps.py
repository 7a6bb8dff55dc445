"""Steps of a graph of fixed shapes that region-based and one-stage detectors share.

N images, A rows of a table, K of them, A_l anchors of a level. Boxes are xyxy in pixels of the frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FixedPairs(NamedTuple):
    """The best pairs of a box and a class, best first; which of them there are is said by their scores.

    Attributes:
        scores: ``[N, K]``, 0 or below where there is nothing.
        labels: int64 ``[N, K]``, 1..C.
        boxes: ``[N, K, 4]``, within the image.
        every: whether these are all pairs that are looked at, whatever the images.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor
    every: bool


def level_anchors(cells: Tensor, frame: torch.Size, grid: torch.Size) -> Tensor:
    """Anchors ``[A_l, 4]`` of a level, as torchvision's generator makes them."""
    stride_y, stride_x = frame[0] // grid[0], frame[1] // grid[1]
    y = torch.arange(grid[0], device=cells.device) * stride_y
    x = torch.arange(grid[1], device=cells.device) * stride_x
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    shift = torch.stack((columns, rows, columns, rows), dim=-1).view(-1, 1, 4)
    return (shift + cells).reshape(-1, 4)


def top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` best of ``[N, A]`` and their indices; minus infinity at index 0 where there are fewer."""
    padding = torch.full((scores.shape[0], count), -torch.inf, device=scores.device, dtype=scores.dtype)
    best, index = torch.cat((scores, padding), dim=1).topk(count)
    return best, torch.where(torch.isfinite(best), index, 0)


def rows(table: Tensor, index: Tensor) -> Tensor:
    """Rows ``[N, K, D]`` of ``[N, A, D]`` by int64 ``[N, K]``."""
    return table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))


def clip(boxes: Tensor, limit: Tensor) -> Tensor:
    """Boxes ``[N, K, 4]`` cut to images of ``[N, 1, 4]``: width, height, width, height."""
    return torch.minimum(boxes.clamp(min=0), limit)


def has_sides(boxes: Tensor, least: float) -> Tensor:
    """Whether both sides of boxes ``[..., 4]`` are ``least`` or more."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= least).all(dim=-1)
