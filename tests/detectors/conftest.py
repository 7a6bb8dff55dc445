"""Small detectors without pre-trained weights."""

import pytest
import torch

from clis_core.config.detector import (
    BackboneConfig,
    FasterRCNNConfig,
    HeadConfig,
    PyramidConfig,
    RpnConfig,
)
from clis_core.detectors.build import build_detector

SMALL = FasterRCNNConfig(
    backbone=BackboneConfig(name="resnet18", init="none", frozen_stages=1),
    pyramid=PyramidConfig(channels=16, strides=(8, 16, 32)),
    rpn=RpnConfig(anchor_scale=4, before_nms=50, proposals=40),
    head=HeadConfig(width=32, pool=3),
    short_side=64,
    long_side=128,
)


@pytest.fixture
def small_config():
    return SMALL


@pytest.fixture
def make_detector():
    def make(classes=5, **head):
        torch.manual_seed(0)
        config = SMALL.model_copy(update={"head": SMALL.head.model_copy(update=head)})
        return build_detector(config, classes).eval()

    return make
