"""Class logits and labels of anchors in, the focal loss out.

A anchors of all levels and images, those that are ignored left out; C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from clis_core.config.class_loss import FocalLoss
from clis_core.losses.binary import bias_of, targets
from clis_core.losses.ranks import share


class Focal(nn.Module):
    """Focal loss (Lin et al. 2017, arXiv 1708.02002): L = -sum over j of alpha_t (1 - p_t)^gamma log p_t.

    p_t is the sigmoid of z_j for a positive, else 1 less it; alpha_t is alpha or 1 - alpha.

    Args:
        config: its factors.
        num_classes: C.
    """

    def __init__(self, config: FocalLoss, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_logits = num_classes

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[A, C]`` logits and int64 ``[A]`` labels (0 is background), divided by the number of objects.

        Args:
            logits: of the anchors of this process.
            labels: their labels.
            count: there is nothing to count.
        """
        with torch.autocast(logits.device.type, enabled=False):
            y = targets(labels, self.num_logits)
            alpha, gamma = self.config.alpha, self.config.gamma
            loss: Tensor = sigmoid_focal_loss(logits.float(), y, alpha, gamma, reduction="sum")
            return loss / share((labels > 0).sum())

    def scores(self, logits: Tensor) -> Tensor:
        """``[A, C]`` logits to scores ``[A, C]`` of the classes 1..C."""
        return logits.float().sigmoid()

    def first_bias(self) -> Tensor:
        """The bias ``[C]`` before training."""
        return bias_of(self.config.prior, self.num_logits)
