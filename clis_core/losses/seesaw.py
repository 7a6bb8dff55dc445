"""Class logits and labels in, the Seesaw loss out.

N regions, C classes, R of the regions are objects.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import SeesawLoss
from clis_core.losses.ranks import rows_of, share, summed


class Seesaw(nn.Module):
    """Seesaw Loss for Long-Tailed Instance Segmentation (Wang et al., CVPR 2021, arXiv 2008.10032).

    L = -log( e^z_i / (e^z_i + sum over j != i of S_ij e^z_j) ) for an object of class i, with S_ij = M_ij C_ij:
    M_ij mitigates what the objects of a frequent class i do to a seldom class j, C_ij compensates for it where j is
    mistaken for i all the same. With ``objectness``, columns 0 and 1 are a softmax of their own, background
    and object, learnt from all regions, and columns 2.. are the classes, learnt from objects alone; a
    class's score is its probability times the object's. Without it, column 0 is background, a class among C + 1.

    Under a head with an objectness output of its own (CLIS), a score is multiplied by both; ``objectness = false``
    leaves the head's, and background as a class.

    N_j counts the labels of all regions that were learnt from so far, those of all processes and of the batch at hand;
    it is in the checkpoint. Pictures of CLIS (``count=False``) are weighted by it and do not add to it: it says how
    often the boxes have taught a class.

    Args:
        config: its exponents.
        num_classes: C.
    """

    seen: Tensor

    def __init__(self, config: SeesawLoss, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.first = 2 if config.objectness else 0  # the first of the columns that S weights
        self.num_logits = num_classes + (2 if config.objectness else 1)
        self.register_buffer("seen", torch.zeros(num_classes + 1, dtype=torch.int64))

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[N, num_logits]`` logits and int64 ``[N]`` labels (0 is background), divided by N.

        Args:
            logits: of the regions of this process.
            labels: their labels.
            count: whether the labels are counted. Collective under torchrun.
        """
        with torch.autocast(logits.device.type, enabled=False):
            z = logits.float()
            if count and self.training:
                ones = torch.ones_like(labels)
                self.seen += summed(torch.zeros_like(self.seen).index_add_(0, labels, ones))
            rows = share(rows_of(labels))
            if not self.config.objectness:
                return self._entropy(z, labels, self.seen) / rows
            objects = (labels > 0).nonzero()[:, 0]
            classes = self._entropy(z[objects, 2:], labels[objects] - 1, self.seen[1:])
            return (classes + F.cross_entropy(z[:, :2], (labels > 0).long(), reduction="sum")) / rows

    def _entropy(self, z: Tensor, labels: Tensor, seen: Tensor) -> Tensor:
        """Sum of the cross entropies of logits ``[R, K]`` + log S; S_ii is 1 of itself."""
        times = seen.clamp(min=1).log()
        mitigation = self.config.p * (times - times[labels, None]).clamp(max=0)  # log M_ij, [R, K]
        with torch.no_grad():
            score = z.log_softmax(dim=1)
            own = score.gather(1, labels[:, None]).clamp(min=math.log(self.config.eps))
            compensation = self.config.q * (score - own).clamp(min=0)  # log C_ij, [R, K]
        return F.cross_entropy(z + mitigation + compensation, labels, reduction="sum")

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, num_logits]`` logits to scores ``[N, C]`` of the classes 1..C."""
        z = logits.float()
        if not self.config.objectness:
            return z.softmax(dim=1)[:, 1:]
        return z[:, 2:].softmax(dim=1) * z[:, :2].softmax(dim=1)[:, 1:]

    def first_bias(self) -> Tensor:
        """Zeros ``[num_logits]``."""
        return torch.zeros(self.num_logits)
