"""Class logits and labels in, softmax cross entropy out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.losses.ranks import rows_of, share


class SoftmaxCrossEntropy(nn.Module):
    """Softmax over background and C classes; column 0 is background.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_logits = num_classes + 1

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """Cross entropy of ``[N, C + 1]`` logits and int64 ``[N]`` labels (0 is background), divided by N.

        Collective under torchrun.
        """
        return F.cross_entropy(logits.float(), labels, reduction="sum") / share(rows_of(labels))

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, C + 1]`` logits to the probabilities ``[N, C]`` of the classes 1..C."""
        return logits.float().softmax(dim=1)[:, 1:]

    def first_bias(self) -> Tensor:
        """Zeros ``[C + 1]``."""
        return torch.zeros(self.num_logits)
