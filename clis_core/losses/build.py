"""A class loss from its config."""

from __future__ import annotations

from clis_core.config.detector import SoftmaxLoss
from clis_core.losses.softmax import SoftmaxCrossEntropy

ClassLoss = SoftmaxCrossEntropy


def build_class_loss(config: SoftmaxLoss, num_classes: int) -> ClassLoss:
    """The class loss for ``num_classes`` classes besides background."""
    match config.kind:
        case "softmax":
            return SoftmaxCrossEntropy(num_classes)
