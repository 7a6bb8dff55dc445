"""Class logits and labels of anchors in, the equalized focal losses of one-stage detectors out.

A anchors of all levels and images, those that are ignored left out; C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.class_loss import EqualizedFocalLoss, EqualizedQualityFocalLoss
from clis_core.losses.binary import bias_of, targets
from clis_core.losses.ranks import share, summed, world_size


class Balance(nn.Module):
    """g_j: the positive over the negative gradients that have reached class j so far, no more than 1; 1 at the start.

    The sums are those of all processes and are in the checkpoint.

    Args:
        num_classes: C.
    """

    gradients: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("gradients", torch.zeros(2, num_classes))  # of positives, of negatives

    def focus(self, gamma: float, scale: float) -> Tensor:
        """gamma_j = gamma_b + s (1 - g_j), ``[C]``."""
        positive, negative = self.gradients
        ratio = torch.where(negative > 0, positive / negative.clamp(min=1e-10), 1.0).clamp(max=1)
        return gamma + scale * (1 - ratio)

    @torch.no_grad()
    def add(self, gradient: Tensor, positive: Tensor) -> None:
        """Count gradients, averaged over the processes as DDP averages them. Collective under torchrun.

        Args:
            gradient: |dL / dz|, ``[A, C]``.
            positive: 1 where an anchor is of the class, else 0, ``[A, C]``.
        """
        of_positives = gradient * positive
        here = torch.stack((of_positives.sum(0), (gradient - of_positives).sum(0)))
        self.gradients += summed(here) / world_size()


class EqualizedFocal(nn.Module):
    """Equalized Focal Loss for Dense Long-Tailed Object Detection (Li et al., CVPR 2022, arXiv 2201.02593).

    L = -sum over j of alpha_t (gamma_j / gamma_b) (1 - p_t)^gamma_j log p_t, gamma_j = gamma_b + s (1 - g_j), with
    p_t the sigmoid of z_j for a positive, else 1 less it; alpha_t is alpha or 1 - alpha. g_j is `Balance`, of the
    gradients of this very loss with respect to the logits, taken from the formula instead of a hook, so that neither
    the scale of fp16 nor the order of levels has a say in it. Logarithms are of the sigmoid as a whole: no logit is too
    large.

    Args:
        config: its factors.
        num_classes: C.
    """

    def __init__(self, config: EqualizedFocalLoss, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_logits = num_classes
        self.balance = Balance(num_classes)

    def forward(self, logits: Tensor, labels: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[A, C]`` logits and int64 ``[A]`` labels (0 is background), divided by the number of objects.

        Args:
            logits: of the anchors of this process.
            labels: their labels.
            count: whether the gradients are counted. Collective under torchrun.
        """
        with torch.autocast(logits.device.type, enabled=False):
            y = targets(labels, self.num_logits)
            z = logits.float() * (2 * y - 1)  # p_t = sigmoid(z)
            gamma = self.balance.focus(self.config.gamma, self.config.scale)
            alpha = self.config.alpha * y + (1 - self.config.alpha) * (1 - y)
            weight = alpha * gamma / self.config.gamma / share((labels > 0).sum())
            log_p, easy = F.logsigmoid(z), (gamma * F.logsigmoid(-z)).exp()  # log p_t, (1 - p_t)^gamma_j
            if count and self.training:
                p = z.detach().sigmoid()
                self.balance.add((weight * easy * (1 - p - gamma * p * log_p)).detach(), y)
            return -(weight * easy * log_p).sum()

    def scores(self, logits: Tensor) -> Tensor:
        """``[A, C]`` logits to scores ``[A, C]`` of the classes 1..C."""
        return logits.float().sigmoid()

    def first_bias(self) -> Tensor:
        """The bias ``[C]`` before training."""
        return bias_of(self.config.prior, self.num_logits)


class EqualizedQualityFocal(nn.Module):
    """The factors of `EqualizedFocal` on the quality focal loss (Li et al. 2020, arXiv 2006.04388).

    L = sum over j of (gamma_j / gamma_b) |y_j - p_j|^gamma_j BCE(p_j, y_j), with p_j the sigmoid of z_j, and y_j the
    overlap of an anchor's box with its ground truth for its class, else 0. There is no alpha.

    Args:
        config: its factors.
        num_classes: C.
    """

    def __init__(self, config: EqualizedQualityFocalLoss, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_logits = num_classes
        self.balance = Balance(num_classes)

    def forward(self, logits: Tensor, labels: Tensor, quality: Tensor, *, count: bool = True) -> Tensor:
        """The loss of ``[A, C]`` logits, divided by the number of objects.

        Args:
            logits: of the anchors of this process.
            labels: int64 ``[A]``, 0 is background.
            quality: ``[A]``, 0..1, overlap of the anchor's box with its ground truth; nothing where there is none.
            count: whether the gradients are counted. Collective under torchrun.
        """
        with torch.autocast(logits.device.type, enabled=False):
            z = logits.float()
            positive = targets(labels, self.num_logits)
            y = positive * quality.detach().float()[:, None]
            gamma = self.balance.focus(self.config.gamma, self.config.scale)
            weight = gamma / self.config.gamma / share((labels > 0).sum())
            entropy = F.binary_cross_entropy_with_logits(z, y, reduction="none")
            p = z.sigmoid()
            gap = (p - y).abs()
            if count and self.training:
                slope = gamma * p * (1 - p) * entropy + gap**2
                self.balance.add((weight * gap ** (gamma - 1) * slope).detach(), positive)
            return (weight * gap**gamma * entropy).sum()

    def scores(self, logits: Tensor) -> Tensor:
        """``[A, C]`` logits to scores ``[A, C]`` of the classes 1..C."""
        return logits.float().sigmoid()

    def first_bias(self) -> Tensor:
        """The bias ``[C]`` before training."""
        return bias_of(self.config.prior, self.num_logits)
