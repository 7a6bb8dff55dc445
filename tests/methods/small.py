"""Small methods and batches of every awkward kind."""

import torch

from clis_core.batch import Batch, Companions, Mosaic, Patch, RawImage, Target
from clis_core.config.detector import (
    BackboneConfig,
    FasterRCNNConfig,
    HeadConfig,
    MaskConfig,
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


def small_detector(classes=5, mask=None, **head):
    torch.manual_seed(0)
    config = FasterRCNNConfig(
        backbone=BackboneConfig(name="mobilenet_v2", init="none", frozen_stages=1),
        pyramid=PyramidConfig(channels=16, strides=(8, 16, 32)),
        rpn=RpnConfig(anchor_scale=4, before_nms=50, proposals=40),
        head=HeadConfig(width=32, pool=3, **head),
        mask=MaskConfig(**mask or {}),
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


def with_pictures(batch, s=8, t=2, classes=5, side=64, seed=3):
    """The batch with s pictures and t patches for each image, as the loader makes it."""
    generator = torch.Generator().manual_seed(seed)
    companions, targets = [], []
    for target in batch.targets:
        mosaics = []
        for _ in range(s // 4):
            corner = torch.rand(4, 2, generator=generator) * 8 + torch.tensor([[0, 0], [32, 0], [0, 32], [32, 32]])
            mosaics.append(
                Mosaic(
                    torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator),
                    torch.cat((corner, corner + 20), dim=1),
                    torch.randint(1, classes + 1, (4,), generator=generator),
                )
            )
        labels = [int(n) for m in mosaics for n in m.labels]
        patches = []
        for source in range(min(t, s)):
            top, left = 3 + 10 * source, 5 + 11 * source
            patches.append(
                Patch(
                    torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8, generator=generator),
                    top,
                    left,
                    0.6,
                    torch.tensor([left + 2.0, top + 2.0, left + 22.0, top + 18.0]),
                    labels[source],
                    source,
                )
            )
        companions.append(Companions(mosaics, patches))
        boxes = torch.stack([p.box for p in patches]) if patches else torch.zeros((0, 4))
        targets.append(
            Target(
                torch.cat((target.boxes, boxes)),
                torch.cat((target.labels, torch.tensor([p.label for p in patches], dtype=torch.int64))),
            )
        )
    return Batch(batch.images, targets, batch.names, companions)


def check_gradients(method) -> None:
    """Every parameter that is taught has a finite gradient after a backward pass, even one of zeros."""
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name  # attached: DDP waits for every one
            assert parameter.grad.isfinite().all()
