"""Class logits and labels in, the federated loss out.

N regions, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import FederatedLoss
from clis_core.losses.binary import bias_of, targets
from clis_core.losses.counts import ClassCounts, KnownCounts, images_of
from clis_core.losses.ranks import of_first, rows_of, share, summed


class Federated(nn.Module):
    """The federated loss of Probabilistic Two-Stage Detection (Zhou, Koltun, Kraehenbuehl, arXiv 2103.07461).

    Binary cross entropy of the classes in a set S alone: those of the regions at hand, of all processes, and others up
    to ``classes`` in all, drawn without replacement in proportion to their number of training images to the
    ``power``. In LVIS an image is annotated with some classes alone; a class that is not in S learns nothing from it.
    Where a step has more than ``classes`` of its own, none is drawn. Background is no class and takes no place in S.

    Under a head with an objectness output (CLIS) a score is multiplied by it; the loss has none of its own. (CenterNet2
    and Detic multiply by the proposal's score and take the root.)

    The counts come from the training data when the loss is built, and are in the checkpoint; nothing else is
    remembered. S of the pictures of CLIS is made of their own labels.

    Args:
        config: how S is drawn.
        num_classes: C.
        counts: of the training data; None where a checkpoint's state follows.
    """

    images: Tensor

    def __init__(self, config: FederatedLoss, num_classes: int, counts: ClassCounts | None) -> None:
        super().__init__()
        self.config = config
        self.num_logits = num_classes
        self.register_buffer("images", images_of(counts, num_classes))
        self._check = KnownCounts(config.kind)

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[N, C]`` logits and int64 ``[N]`` labels (0 is background), divided by N.

        Collective under torchrun: all processes take the same S.

        Raises:
            ConfigError: it was built without counts.
        """
        self._check(self.images)
        with torch.autocast(logits.device.type, enabled=False):
            y = targets(labels, self.num_logits)
            chosen = self._choose(summed(y.sum(0)) > 0).float().expand_as(y)  # [N, C]
            loss = F.binary_cross_entropy_with_logits(logits.float(), y, chosen, reduction="sum")
            return loss / share(rows_of(labels))

    @torch.no_grad()
    def _choose(self, present: Tensor) -> Tensor:
        """S, bool ``[C]``."""
        weight = self.images.float() ** self.config.power * (self.images > 0)
        # The first arrivals of processes of these rates are a draw without replacement.
        arrival = of_first(torch.empty_like(weight).exponential_()) / weight  # infinite where the weight is 0
        order = arrival.masked_fill(present, -1.0).argsort().argsort()
        return present | ((order < self.config.classes) & (weight > 0))

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, C]`` logits to scores ``[N, C]`` of the classes 1..C."""
        return logits.float().sigmoid()

    def first_bias(self) -> Tensor:
        """The bias ``[C]`` before training."""
        return bias_of(self.config.prior, self.num_logits)
