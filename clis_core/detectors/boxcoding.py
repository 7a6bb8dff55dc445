"""Boxes as offsets from reference boxes, and back (Girshick et al. 2014, appendix C).

R boxes; boxes are xyxy in pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A region grows to no more than 1000 / 16 times its size (the usual bound against exp overflow).
MAX_LOG_SCALE = math.log(1000 / 16)

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


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes ``[R, 4]`` cut to an image of (height, width)."""
    height, width = size
    x = boxes[:, 0::2].clamp(0, width)
    y = boxes[:, 1::2].clamp(0, height)
    return torch.stack((x[:, 0], y[:, 0], x[:, 1], y[:, 1]), dim=1)
