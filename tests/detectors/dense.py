"""Small one-stage detectors, and pictures for them."""

import torch
from torch import nn

from clis_core.config.detector import (
    AnchorConfig,
    BackboneConfig,
    DenseHeadConfig,
    DensePostprocessConfig,
    DensePyramidConfig,
    FCOSConfig,
    PointHeadConfig,
    RetinaNetConfig,
)
from clis_core.detectors.build import build_detector

SHARED = {
    "backbone": BackboneConfig(name="resnet18", init="none", frozen_stages=1),
    "pyramid": DensePyramidConfig(channels=16),
    "short_side": 64,
    "long_side": 128,
}
CONFIGS = {
    "retinanet": RetinaNetConfig(**SHARED, head=DenseHeadConfig(convs=1)),
    "retinanet-iou": RetinaNetConfig(
        **SHARED,
        anchors=AnchorConfig(scales=(3, 4), ratios=(1.0,)),
        head=DenseHeadConfig(convs=2, norm="group", quality="iou"),
    ),
    "fcos": FCOSConfig(**SHARED, head=PointHeadConfig(convs=1)),
    "fcos-iou": FCOSConfig(**SHARED, head=PointHeadConfig(convs=1, quality="iou", combine="product")),
    "fcos-plain": FCOSConfig(**SHARED, head=PointHeadConfig(convs=1, quality="none")),
}
KINDS = list(CONFIGS)


def lively_dense(kind, *, lively=True, classes=5, seed=0, **postprocess):
    """Its scores and boxes differ as a trained detector's do."""
    config = CONFIGS[kind].model_copy(update={"postprocess": DensePostprocessConfig(**postprocess)})
    torch.manual_seed(seed)
    detector = build_detector(config, classes).eval()
    if lively:
        enliven(detector, seed)
    return detector


@torch.no_grad()
def enliven(detector, seed=0):
    """Give the outputs of noise a spread: scores between 0 and 1, boxes that differ from their anchors."""
    torch.manual_seed(seed + 3)
    head = detector.head
    for layer in (*head.cls_tower, *head.box_tower):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    for layer in (head.conv_cls, head.conv_box, head.conv_quality):
        if layer is not None:
            nn.init.normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    features = detector.encoder(torch.randn(2, 3, 64, 96))
    of_box = [head.box_tower(x) for x in features]
    outputs = [
        (head.conv_cls, 1.5, [head.conv_cls(head.cls_tower(x)) for x in features]),
        (head.conv_box, 0.3, [head.conv_box(x) for x in of_box]),
    ]
    if head.conv_quality is not None:
        outputs.append((head.conv_quality, 1.5, [head.conv_quality(x) for x in of_box]))
    for layer, spread, made in outputs:
        layer.weight.mul_(spread / torch.cat([x.flatten() for x in made]).std())
    head.conv_cls.bias.fill_(-1.0)
    if detector.points:
        head.conv_box.bias.fill_(1.5)


def pictures():
    generator = torch.Generator().manual_seed(3)
    sizes = ((50, 80), (90, 40), (64, 64))
    return [torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=generator) for h, w in sizes]
