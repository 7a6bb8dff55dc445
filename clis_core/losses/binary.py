"""What the losses of one sigmoid for each class share: targets, and the bias that they begin with.

N regions, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def targets(labels: Tensor, num_classes: int) -> Tensor:
    """Labels int64 ``[N]`` (0 is background) to float32 ``[N, C]``, 1 at the class; rows of background are zero."""
    # Not by one_hot, whose int64 of a million anchors and a thousand classes would take 10 GB.
    made = torch.zeros((len(labels), num_classes), device=labels.device)
    return made.scatter_(1, (labels - 1).clamp(min=0)[:, None], (labels > 0).float()[:, None])


def bias_of(prior: float, num_classes: int) -> Tensor:
    """The bias ``[C]`` of which every class scores ``prior`` (Lin et al. 2017, focal loss, sec. 4.1)."""
    return torch.full((num_classes,), -math.log((1 - prior) / prior))
