"""RetinaNet and FCOS on one image against torchvision's own with the same weights: seconds and equality out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.models.detection import fcos_resnet50_fpn, retinanet_resnet50_fpn

from clis_core.batch import Detection
from clis_core.config.detector import BackboneConfig, DensePostprocessConfig, FCOSConfig, RetinaNetConfig
from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.foreign_dense import load_torchvision_dense
from clis_core.jobs.bench.inference import agreement, picture
from clis_core.jobs.bench.timing import alternate, machine, medians, ratio

CLASSES, HEIGHT, WIDTH, THRESHOLD, DETECTIONS = 1203, 800, 1066, 1e-4, 300
ROUNDS = 5
Kind = Literal["retinanet", "fcos"]


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure ResNet-50-FPN, 1,203 classes, threshold 1e-4, 300 detections, one image of 800 x 1066, end to end.

    End to end is from a decoded uint8 image to boxes in its pixels. The weights are random; the outputs are scaled so
    that they differ from place to place as a trained network's do.

    Args:
        scale: multiplies the image's sides.

    Returns:
        ``ours`` and ``peer`` in seconds an image of RetinaNet (medians, interleaved) and their ``ratio`` (median of
        pairs); ``fcos`` the same of FCOS; ``cpu_seconds``: of all threads. ``equal``: whether at least 99 % of
        torchvision's detections with sides are ours: of the same class, overlapping by 0.99, the scores within 1 %.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = (max(64, round(HEIGHT * scale)), max(64, round(WIDTH * scale)))
    image = picture(size).to(device)
    kinds: tuple[Kind, ...] = ("retinanet", "fcos")
    calls: dict[str, Callable[[], Any]] = {}
    for kind in kinds:
        calls |= _calls(kind, image)
    with torch.inference_mode():
        wall, busy, results = alternate(calls, ROUNDS)
    median = medians(wall)
    same = {kind: _same(results[f"{kind} peer"], results[kind]) for kind in kinds}
    return {
        "name": "inference-dense",
        "ours": median["retinanet"],
        "peer": median["retinanet peer"],
        "ratio": ratio(wall, "retinanet peer", "retinanet"),
        "equal": min(same.values()) >= 0.99,
        "unit": "seconds an image, batch 1",
        "peer_name": "torchvision retinanet_resnet50_fpn",
        "same_detections": same,
        "fcos": {
            "ours": median["fcos"],
            "peer": median["fcos peer"],
            "ratio": ratio(wall, "fcos peer", "fcos"),
        },
        "cpu_seconds": medians(busy),
        "image_size": list(size),
        "classes": CLASSES,
        "detections": len(results["retinanet"].scores),
        **machine(device),
    }


def _calls(kind: Kind, image: Tensor) -> dict[str, Callable[[], Any]]:
    peer, ours = _both(kind, image)
    return {
        kind: lambda: ours([image])[0],
        # torchvision takes floats in 0..1; the conversion is part of its work as normalising is of ours.
        f"{kind} peer": lambda: peer([image.float() / 255])[0],
    }


@torch.no_grad()
def _both(kind: Kind, image: Tensor) -> tuple[Any, DenseDetector]:
    """torchvision's detector with random weights, and ours with the same."""
    torch.manual_seed(0)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    make = retinanet_resnet50_fpn if kind == "retinanet" else fcos_resnet50_fpn
    peer = make(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + 1,
        min_size=min(size),
        max_size=max(size),
        score_thresh=THRESHOLD,
        nms_thresh=0.5,
        detections_per_img=DETECTIONS,
    )
    peer = peer.to(image.device).train()
    peer.backbone(torch.rand(2, 3, 128, 128, device=image.device))  # gives the norms statistics
    peer.eval()
    pixels, _ = peer.transform([image.float() / 255])
    output = peer.head(list(peer.backbone(pixels.tensors).values()))
    classes, boxes = peer.head.classification_head.cls_logits, peer.head.regression_head.bbox_reg
    classes.weight.mul_(1.5 / output["cls_logits"].std())
    classes.bias.fill_(-4.0)
    classes.bias.view(-1, CLASSES + 1)[:, 0] = -100.0  # its class 0 is nothing, and ours has none
    boxes.weight.mul_(0.3 / output["bbox_regression"].std().clamp(min=1e-6))
    if kind == "fcos":
        boxes.bias.fill_(1.0)
    shared: dict[str, Any] = {
        "backbone": BackboneConfig(init="none", norm="frozen"),
        "postprocess": DensePostprocessConfig(score_threshold=THRESHOLD, nms_iou=0.5, detections=DETECTIONS),
        "short_side": min(size),
        "long_side": max(size),
    }
    config = RetinaNetConfig(**shared) if kind == "retinanet" else FCOSConfig(**shared)
    ours = DenseDetector(config, CLASSES)
    load_torchvision_dense(ours, peer.state_dict(), "torchvision's weights")
    return peer, ours.to(device=image.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def _same(theirs: dict[str, Tensor], found: Detection) -> float:
    """Share of torchvision's detections with sides that are ours as well."""
    there = ((theirs["boxes"][:, 2:] - theirs["boxes"][:, :2]) >= 0.01).all(dim=1)
    return agreement(Detection(*(theirs[key][there] for key in ("boxes", "labels", "scores"))), found)
