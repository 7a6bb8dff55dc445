"""Class logits and labels in, the equalization loss v2 out.

N regions, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import Eqlv2Loss
from clis_core.losses.binary import bias_of, targets
from clis_core.losses.ranks import rows_of, share, summed

BALANCED = 100.0
"""The ratio of a class that no gradient has reached yet: its weights are 1."""


class EqualizationV2(nn.Module):
    """Equalization Loss v2 (Tan et al., CVPR 2021, arXiv 2012.08548).

    Binary cross entropy of each class, in which positives weigh q_j = 1 + alpha (1 - f(g_j)) and negatives
    r_j = f(g_j), with f(x) = 1 / (1 + exp(-gamma (x - mu))) and g_j the ratio of the positive to the negative
    gradients that have reached the logit of class j so far: |sigmoid(z) - y| times the weight, summed over regions.
    With ``objectness``, column 0 is background: it learns from all regions with weight 1, and a score is the class's
    times 1 - background.

    Under a head with an objectness output of its own (CLIS), a score is multiplied by both; ``objectness = false``
    leaves the head's.

    Both sums are those of all processes and are in the checkpoint. The batch at hand is weighted by the sums before
    it. Pictures of CLIS (``count=False``) are weighted by them and do not add to them: the ratio is that of the
    regions of detection images, which the paper balances, and the pictures' share hangs on alpha of CLIS.

    Args:
        config: its weights.
        num_classes: C.
    """

    gradients: Tensor

    def __init__(self, config: Eqlv2Loss, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.num_logits = num_classes + int(config.objectness)
        self.register_buffer("gradients", torch.zeros(2, num_classes))  # of positives, of negatives

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[N, num_logits]`` logits and int64 ``[N]`` labels (0 is background), divided by N.

        Args:
            logits: of the regions of this process.
            labels: their labels.
            count: whether the gradients are counted. Collective under torchrun.
        """
        with torch.autocast(logits.device.type, enabled=False):
            z = logits.float()
            classes = z[:, -self.num_classes :]
            y = targets(labels, self.num_classes)
            positive, negative = self._weights()
            weight = torch.where(y > 0, positive, negative)  # [N, C]
            if count and self.training:
                gradient = (classes.detach().sigmoid() - y).abs() * weight
                self.gradients += summed(torch.stack(((gradient * y).sum(0), (gradient * (1 - y)).sum(0))))
            loss = F.binary_cross_entropy_with_logits(classes, y, weight, reduction="sum")
            if self.config.objectness:
                loss += F.binary_cross_entropy_with_logits(z[:, 0], (labels == 0).float(), reduction="sum")
            return loss / share(rows_of(labels))

    def _weights(self) -> tuple[Tensor, Tensor]:
        """q and r, ``[C]`` each."""
        positive, negative = self.gradients
        ratio = torch.where(negative > 0, positive / negative.clamp(min=1e-10), BALANCED)  # g_j
        f = torch.sigmoid(self.config.gamma * (ratio - self.config.mu))
        return 1 + self.config.alpha * (1 - f), f

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, num_logits]`` logits to scores ``[N, C]`` of the classes 1..C."""
        p = logits.float().sigmoid()
        return p[:, 1:] * (1 - p[:, :1]) if self.config.objectness else p

    def first_bias(self) -> Tensor:
        """The bias ``[num_logits]`` before training; 0 for background, of which there is no lack."""
        bias = bias_of(self.config.prior, self.num_classes)
        return torch.cat((torch.zeros(1), bias)) if self.config.objectness else bias
