"""A class loss from its config.

A class loss is a module with:

- ``num_logits``, K: the columns of the class layer; the classes 1..C are the last C of them, in this order;
- a call, logits ``[N, K]`` and labels int64 ``[N]`` (0 is background) to a scalar in float32, attached to the graph for
  N = 0 as well. With ``count=False`` statistics are used and not changed: so for pictures without boxes, where there is
  no background and the papers count nothing. Statistics change in training mode alone, are buffers, and are the same in
  all processes of torchrun, which all have to call it;
- ``scores``: logits to scores ``[N, C]`` in float32, in operations that export;
- ``first_bias``: the class layer's bias ``[K]`` before training.
"""

from __future__ import annotations

from clis_core.config.class_loss import (
    BagsLoss,
    ClassLossConfig,
    DenseLossConfig,
    EqlLoss,
    Eqlv2Loss,
    EqualizedFocalLoss,
    EqualizedQualityFocalLoss,
    FederatedLoss,
    FocalLoss,
    SeesawLoss,
    SoftmaxLoss,
)
from clis_core.losses.bags import BalancedGroupSoftmax
from clis_core.losses.counts import ClassCounts
from clis_core.losses.efl import EqualizedFocal, EqualizedQualityFocal
from clis_core.losses.eql import Equalization
from clis_core.losses.eqlv2 import EqualizationV2
from clis_core.losses.federated import Federated
from clis_core.losses.focal import Focal
from clis_core.losses.seesaw import Seesaw
from clis_core.losses.softmax import SoftmaxCrossEntropy

ClassLoss = SoftmaxCrossEntropy | Seesaw | Equalization | EqualizationV2 | BalancedGroupSoftmax | Federated
DenseLoss = Focal | EqualizedFocal | EqualizedQualityFocal


def build_class_loss(config: ClassLossConfig, num_classes: int, counts: ClassCounts | None = None) -> ClassLoss:
    """The class loss of a second stage, for ``num_classes`` classes besides background.

    Args:
        config: which one, and its settings.
        num_classes: C.
        counts: of the training data; None where the state of a checkpoint follows, which has what is taken from them.
    """
    match config:
        case SoftmaxLoss():
            return SoftmaxCrossEntropy(num_classes)
        case SeesawLoss():
            return Seesaw(config, num_classes)
        case EqlLoss():
            return Equalization(config, num_classes, counts)
        case Eqlv2Loss():
            return EqualizationV2(config, num_classes)
        case BagsLoss():
            return BalancedGroupSoftmax(config, num_classes, counts)
        case FederatedLoss():
            return Federated(config, num_classes, counts)


def build_dense_loss(config: DenseLossConfig, num_classes: int) -> DenseLoss:
    """The class loss of a one-stage detector; the one with quality takes the overlaps of the anchors' boxes as well."""
    match config:
        case FocalLoss():
            return Focal(config, num_classes)
        case EqualizedFocalLoss():
            return EqualizedFocal(config, num_classes)
        case EqualizedQualityFocalLoss():
            return EqualizedQualityFocal(config, num_classes)
