"""Small methods and batches of every awkward kind."""

import torch

from clis_core.batch import Batch, RawImage, Target
from clis_core.config.detector import (
    BackboneConfig,
    FasterRCNNConfig,
    HeadConfig,
    PyramidConfig,
    RpnConfig,
)
from clis_core.config.method import RoiTraining, RpnTraining, SupervisedConfig
from clis_core.detectors.build import build_detector

HEADS = {
    "plain": {},
    "agnostic": {"class_agnostic": True},
    "objectness": {"objectness": True},
    "specialised": {"specialised": True},
    "specialised-objectness": {"specialised": True, "objectness": True},
}


def small_detector(classes=5, **head):
    torch.manual_seed(0)
    config = FasterRCNNConfig(
        backbone=BackboneConfig(name="mobilenet_v2", init="none", frozen_stages=1),
        pyramid=PyramidConfig(channels=16, strides=(8, 16, 32)),
        rpn=RpnConfig(anchor_scale=4, before_nms=50, proposals=40),
        head=HeadConfig(width=32, pool=3, **head),
    )
    return build_detector(config, classes)


def small_config():
    return SupervisedConfig(rpn=RpnTraining(before_nms=100, proposals=60, samples=64), roi=RoiTraining(samples=32))


def some_batch(boxes=(3, 2), size=(64, 96), classes=5, seed=0):
    """One image for each entry of ``boxes``, with that many boxes."""
    generator = torch.Generator().manual_seed(seed)
    images, targets = [], []
    for count in boxes:
        pixels = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        corner = torch.rand(count, 2, generator=generator) * 40
        corners = torch.cat((corner, corner + 8 + torch.rand(count, 2, generator=generator) * 16), dim=1)
        images.append(RawImage(pixels, size))
        targets.append(Target(corners, torch.randint(1, classes + 1, (count,), generator=generator)))
    return Batch(images, targets, [f"{i}.jpg" for i in range(len(boxes))])
