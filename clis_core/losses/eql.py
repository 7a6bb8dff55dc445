"""Class logits and labels in, the equalization loss out.

N regions, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import EqlLoss
from clis_core.losses.binary import bias_of, targets
from clis_core.losses.counts import ClassCounts, KnownCounts, images_of
from clis_core.losses.ranks import rows_of, share


class Equalization(nn.Module):
    """Equalization Loss for Long-Tailed Object Recognition (Tan et al., CVPR 2020, arXiv 2003.05176).

    L = -sum over j of w_j log p_j, with p_j the sigmoid of z_j where y_j = 1, else 1 less it, and
    w_j = 1 - E(r) T(f_j) (1 - y_j): E(r) is 1 for a region that shows an object; T(f_j) is 1 for a class in less than
    ``threshold`` of the training images. Background is no class: a region of it discourages all classes.

    Under a head with an objectness output (CLIS) a score is multiplied by it; the loss has none of its own.

    f_j comes from the training data when the loss is built, and is in the checkpoint; nothing else is remembered.
    Pictures of CLIS are objects: they discourage frequent classes alone.

    Args:
        config: its threshold.
        num_classes: C.
        counts: of the training data; None where a checkpoint's state follows.
    """

    images: Tensor
    all_images: Tensor

    def __init__(self, config: EqlLoss, num_classes: int, counts: ClassCounts | None) -> None:
        super().__init__()
        self.config = config
        self.num_logits = num_classes
        self.register_buffer("images", images_of(counts, num_classes))
        self.register_buffer("all_images", torch.tensor(counts.all_images if counts else 0))
        self._check = KnownCounts(config.kind)

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[N, C]`` logits and int64 ``[N]`` labels (0 is background), divided by N.

        Raises:
            ConfigError: it was built without counts.
        """
        self._check(self.images)
        with torch.autocast(logits.device.type, enabled=False):
            y = targets(labels, self.num_logits)
            tail = self.images / self.all_images.clamp(min=1) < self.config.threshold  # T(f_j), [C]
            spared = (labels > 0)[:, None] & tail & (y == 0)  # [N, C]
            loss = F.binary_cross_entropy_with_logits(logits.float(), y, (~spared).float(), reduction="sum")
            return loss / share(rows_of(labels))

    def scores(self, logits: Tensor) -> Tensor:
        """``[N, C]`` logits to scores ``[N, C]`` of the classes 1..C."""
        return logits.float().sigmoid()

    def first_bias(self) -> Tensor:
        """The bias ``[C]`` before training."""
        return bias_of(self.config.prior, self.num_logits)
