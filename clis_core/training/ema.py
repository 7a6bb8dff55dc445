"""An exponential average of a detector's weights: the detector after each step in, the averaged one out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from clis_core.detectors.build import Detector


class Averaged:
    """A copy of a detector whose weights follow it slowly.

    Args:
        module: the detector.
        decay: share of the old average that stays at each step; it grows to this from (1 + n) / (10 + n) at step n,
            so that the first weights are forgotten quickly.
    """

    def __init__(self, module: Detector, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the weights after ``step`` steps; buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.module.parameters())
        theirs = [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        for own, other in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(other)
