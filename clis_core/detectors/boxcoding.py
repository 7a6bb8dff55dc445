"""Boxes as offsets from reference boxes, and back (Girshick et al. 2014, appendix C).

R boxes; boxes are xyxy in pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A region grows to no more than 1000 / 16 times its size (the usual bound against exp overflow).
MAX_LOG_SCALE = math.log(1000 / 16)

# Offsets from anchors, of a proposal network and of RetinaNet, are not divided.
RPN_WEIGHTS = (1.0, 1.0, 1.0, 1.0)
# Offsets of the second stage are divided by deviations .1, .1, .2, .2.
ROI_WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def encode(boxes: Tensor, reference: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Offsets ``[R, 4]`` (dx, dy, dw, dh) that lead from ``reference`` to ``boxes``, both ``[R, 4]``."""
    rw, rh = reference[:, 2] - reference[:, 0], reference[:, 3] - reference[:, 1]
    bw, bh = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    dx = weights[0] * (boxes[:, 0] + 0.5 * bw - reference[:, 0] - 0.5 * rw) / rw
    dy = weights[1] * (boxes[:, 1] + 0.5 * bh - reference[:, 1] - 0.5 * rh) / rh
    return torch.stack((dx, dy, weights[2] * torch.log(bw / rw), weights[3] * torch.log(bh / rh)), dim=1)


def decode(offsets: Tensor, reference: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """The inverse of `encode`: boxes ``[R, 4]`` from ``offsets`` and ``reference``, both ``[R, 4]``."""
    rw, rh = reference[:, 2] - reference[:, 0], reference[:, 3] - reference[:, 1]
    cx = reference[:, 0] + 0.5 * rw + offsets[:, 0] / weights[0] * rw
    cy = reference[:, 1] + 0.5 * rh + offsets[:, 1] / weights[1] * rh
    half_w = 0.5 * rw * torch.exp((offsets[:, 2] / weights[2]).clamp(max=MAX_LOG_SCALE))
    half_h = 0.5 * rh * torch.exp((offsets[:, 3] / weights[3]).clamp(max=MAX_LOG_SCALE))
    return torch.stack((cx - half_w, cy - half_h, cx + half_w, cy + half_h), dim=1)


def encode_distances(boxes: Tensor, reference: Tensor) -> Tensor:
    """Distances ``[R, 4]`` (left, top, right, bottom) from the centres of ``reference`` to the sides of ``boxes``.

    FCOS (Tian et al. 2019, eq. 1), in widths and heights of ``reference``; both are ``[R, 4]``.
    """
    centre, size = centres(reference), reference[:, 2:] - reference[:, :2]
    return torch.cat(((centre - boxes[:, :2]) / size, (boxes[:, 2:] - centre) / size), dim=1)


def decode_distances(distances: Tensor, reference: Tensor) -> Tensor:
    """The inverse of `encode_distances`: boxes ``[R, 4]``."""
    centre, size = centres(reference), reference[:, 2:] - reference[:, :2]
    return torch.cat((centre - distances[:, :2] * size, centre + distances[:, 2:] * size), dim=1)


def centres(boxes: Tensor) -> Tensor:
    """Centres ``[..., 2]`` of boxes ``[..., 4]``."""
    return 0.5 * (boxes[..., :2] + boxes[..., 2:])


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Overlaps ``[...]`` of boxes ``[..., 4]`` one by one; 0 where neither has an area."""
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    both = sides.clamp(min=0).prod(dim=-1)
    areas = [(x[..., 2:] - x[..., :2]).clamp(min=0).prod(dim=-1) for x in (a, b)]
    return both / (areas[0] + areas[1] - both).clamp(min=1e-12)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes ``[R, 4]`` cut to an image of (height, width)."""
    height, width = size
    x = boxes[:, 0::2].clamp(0, width)
    y = boxes[:, 1::2].clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
