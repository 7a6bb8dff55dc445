"""A detector that knows three of four classes, as a checkpoint: what the tests of regions share."""

from __future__ import annotations

from pathlib import Path

import torch

from clis_core.categories import Categories
from clis_core.config.detector import BackboneConfig, FasterRCNNConfig, HeadConfig, PyramidConfig, RpnConfig
from clis_core.detectors.build import build_detector
from clis_core.detectors.checkpoint import pack
from tests.data.painted import CATEGORIES

KNOWN = Categories(list(CATEGORIES)[:3])


def checkpoint(path: Path, seed: int = 0, categories: Categories = KNOWN) -> Path:
    """A random detector whose scores and boxes differ from region to region, as a file."""
    torch.manual_seed(seed)
    config = FasterRCNNConfig(
        backbone=BackboneConfig(name="resnet18", init="none", frozen_stages=1),
        pyramid=PyramidConfig(channels=16, strides=(8, 16, 32)),
        rpn=RpnConfig(anchor_scale=4, before_nms=50, proposals=40),
        head=HeadConfig(width=32, pool=3, specialised=True, objectness=True),
        short_side=64,
        long_side=128,
    )
    detector = build_detector(config, len(categories))
    for layer, spread in ((detector.head.fc_cls, 0.5), (detector.head.fc_reg, 0.05), (detector.head.fc_obj, 0.5)):
        if layer is not None:
            torch.nn.init.normal_(layer.weight, std=spread)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(pack(detector, detector.state_dict(), categories, 7), path)
    return path
