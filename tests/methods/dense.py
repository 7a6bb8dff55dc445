"""Methods that teach small one-stage detectors."""

import torch

from clis_core.config.method import (
    AtssAssign,
    DenseTraining,
    MaxIouAssign,
    RangesAssign,
    SupervisedConfig,
)
from clis_core.detectors.build import build_detector
from clis_core.methods.build import build_method
from tests.detectors.dense import CONFIGS

RULES = {
    "retinanet": (MaxIouAssign(), AtssAssign(k=9)),
    "fcos": (RangesAssign(scale=4.0), AtssAssign(k=9, scale=4.0)),
}


def dense_method(kind="retinanet", *, rule=0, box="giou", classes=5, loss=None, **weights):
    torch.manual_seed(0)
    config = CONFIGS[kind]
    if loss is not None:
        config = config.model_copy(update={"class_loss": loss})
    assign = RULES[kind.partition("-")[0]][rule]
    training = SupervisedConfig(dense=DenseTraining(assign=assign, box=box, **weights))
    return build_method(training, build_detector(config, classes)).train()
