"""Inference on one image against torchvision's own Faster R-CNN with the same weights: seconds and equality out.

Eager torch, and ONNX Runtime on the file that `clis export` writes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.ops import FrozenBatchNorm2d, box_iou

from clis_core.batch import Detection
from clis_core.categories import Categories, Category
from clis_core.config.detector import BackboneConfig, FasterRCNNConfig, HeadConfig
from clis_core.detectors.checkpoint import fingerprint
from clis_core.detectors.export.about import About
from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.export.parity import refer
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.foreign_weights import load_foreign
from clis_core.errors import ConfigError
from clis_core.jobs.bench.timing import alternate, machine, medians
from clis_core.jobs.bench.torchvision_detector import torchvision_detector
from clis_core.jobs.export import choose_candidates

CLASSES, HEIGHT, WIDTH, THRESHOLD, DETECTIONS = 1203, 800, 1066, 1e-4, 300
CANDIDATES = 0.25
"""Share of the (region, class) pairs above the threshold."""
ROUNDS = 5


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure ResNet-50-FPN, 1,203 classes, threshold 1e-4, 300 detections, one image of 800 x 1066, end to end.

    End to end is from a decoded uint8 image to boxes in its pixels. The weights are random, but the norms' statistics
    are those of the image, and the outputs are scaled so that a quarter of the pairs of region and class is above
    the threshold.

    Args:
        scale: multiplies the image's sides.

    Returns:
        ``ours`` and ``peer`` in seconds an image (medians, interleaved) and their ``ratio``; ``clis`` the same with
        the task-specialised head and objectness of CLIS; ``onnx`` the same detector as ``ours`` in ONNX Runtime, None
        where that is not installed or has no such device. ``cpu_seconds``: of all threads, which tell more on a busy
        machine. ``equal``: whether at least 99 % of torchvision's detections are ours, and ONNX Runtime's where it
        ran: of the same class, the boxes overlapping by 0.99, the scores within 1 %.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = (max(64, round(HEIGHT * scale)), max(64, round(WIDTH * scale)))
    image = picture(size).to(device)
    peer, share = _torchvision(image)
    state = peer.state_dict()
    plain = _ours(state, size, HeadConfig(), device)
    clis = _ours(state, size, HeadConfig(specialised=True, objectness=True), device)
    calls: dict[str, Callable[[], Any]] = {
        "ours": lambda: plain([image])[0],
        # torchvision takes floats in 0..1; the conversion is part of its work as normalising is of ours.
        "peer": lambda: peer([image.float() / 255])[0],
        "clis": lambda: clis([image])[0],
    }
    exported = _onnx(plain, image)
    if exported is not None:
        calls["onnx"] = lambda: exported([image])[0]
    with torch.inference_mode():
        seconds, busy, results = alternate(calls, ROUNDS)
    median = medians(seconds)
    theirs = Detection(*(results["peer"][k] for k in ("boxes", "labels", "scores")))
    same = {name: agreement(theirs, results[name].to(device)) for name in ("ours", "onnx") if name in results}
    return {
        "name": "inference",
        "ours": median["ours"],
        "peer": median["peer"],
        "ratio": median["peer"] / median["ours"],
        "equal": min(same.values()) >= 0.99,
        "unit": "seconds an image, batch 1",
        "peer_name": "torchvision FasterRCNN, ResNet-50-FPN",
        "same_detections": same,
        "clis": median["clis"],
        "clis_times": median["clis"] / median["ours"],
        "onnx": median.get("onnx"),
        "onnx_ratio": median["peer"] / median["onnx"] if "onnx" in median else None,
        "cpu_seconds": medians(busy),
        "images_per_second": {name: 1 / s for name, s in median.items()},
        "spread": {name: [min(s), max(s)] for name, s in seconds.items()},
        "image_size": list(size),
        "classes": CLASSES,
        "candidates": share,
        "detections": len(results["ours"].scores),
        **machine(device),
    }


def _onnx(detector: FasterRCNN, image: Tensor) -> ExportedDetector | None:
    """The detector in ONNX Runtime, with as many candidates as `clis export` would choose by this image."""
    try:
        from clis_core.detectors.export.onnx_file import open_onnx, write_onnx
    except ImportError:
        return None
    classes = Categories(Category(n, f"class {n}") for n in range(1, CLASSES + 1))
    about = About(detector.config, classes, 0, fingerprint(detector.state_dict()))
    (reference,) = refer(detector, about, [image])
    about = replace(about, candidates=choose_candidates(reference.needed, about))
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            write_onnx(detector, about, path)
            return ExportedDetector(*open_onnx(path, image.device), image.device)
    except ConfigError:  # not installed, or not for this device
        return None


def agreement(reference: Detection, found: Detection) -> float:
    """Share of the reference's detections that are found: same class, IoU 0.99, score within 1 %."""
    same_class = reference.labels[:, None] == found.labels
    near = (reference.scores[:, None] - found.scores).abs() <= 0.01 * reference.scores[:, None]
    pairs = same_class & near & (box_iou(reference.boxes, found.boxes) >= 0.99)
    return float(pairs.any(dim=1).float().mean()) if len(reference.scores) else 1.0


def picture(size: tuple[int, int]) -> Tensor:
    """Blobs of colour at several sizes: uint8 ``[3, h, w]``."""
    generator = torch.Generator().manual_seed(0)
    layers = [
        F.interpolate(torch.randn(1, 3, n, n, generator=generator), size=size, mode="bicubic")[0] for n in (4, 16, 64)
    ]
    return (torch.stack(layers).sum(dim=0) * 40 + 120).clamp(0, 255).to(torch.uint8)


def _ours(state: dict[str, Tensor], size: tuple[int, int], head: HeadConfig, device: torch.device) -> FasterRCNN:
    torch.manual_seed(0)
    config = FasterRCNNConfig(
        backbone=BackboneConfig(init="none", norm="frozen"), head=head, short_side=min(size), long_side=max(size)
    )
    detector = FasterRCNN(config, CLASSES)
    load_foreign(detector, state, "torchvision's weights")
    return detector.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def _torchvision(image: Tensor) -> tuple[TorchvisionFasterRCNN, float]:
    """A random network that behaves as a trained one does, and the share of candidates."""
    torch.manual_seed(0)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    model = torchvision_detector(
        size, CLASSES, trainable_layers=0, box_score_thresh=THRESHOLD, box_detections_per_img=DETECTIONS
    )
    model = model.to(image.device).eval()
    with torch.inference_mode():
        pixels, _ = model.transform([image.float() / 255])
        _settle_norms(model.backbone.body, pixels.tensors)
        features = model.backbone(pixels.tensors)
        _spread(model.rpn.head.cls_logits, torch.cat([x.flatten() for x in model.rpn.head(list(features.values()))[0]]))
        _spread(
            model.rpn.head.bbox_pred, torch.cat([x.flatten() for x in model.rpn.head(list(features.values()))[1]]), 0.2
        )
        proposals, _ = model.rpn(pixels, features)
        pooled = model.roi_heads.box_roi_pool(features, proposals, pixels.image_sizes)
        embedded = model.roi_heads.box_head(pooled)
        _spread(model.roi_heads.box_predictor.bbox_pred, model.roi_heads.box_predictor.bbox_pred(embedded), 0.5)
        _spread(model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.cls_score(embedded), 2.0)
        share = _set_background(model.roi_heads.box_predictor.cls_score, embedded)
    return model, share


def _settle_norms(body: torch.nn.Module, pixels: Tensor) -> None:
    """Give every norm the statistics of what passes through it."""

    def take(module: Any, inputs: tuple[Tensor]) -> None:
        x = inputs[0]
        module.running_mean.copy_(x.mean(dim=(0, 2, 3)))
        module.running_var.copy_(x.var(dim=(0, 2, 3)))

    hooks = [m.register_forward_pre_hook(take) for m in body.modules() if isinstance(m, FrozenBatchNorm2d)]
    body(pixels)
    for hook in hooks:
        hook.remove()


def _spread(layer: Any, outputs: Tensor, wanted: float = 2.0) -> None:
    """Scale a layer so that its outputs have a standard deviation of ``wanted``."""
    layer.weight.mul_(wanted / outputs.std())


def _set_background(layer: Any, embedded: Tensor) -> float:
    """Find the background's bias that leaves the wanted share of pairs above the threshold."""
    low, high = -20.0, 40.0
    share = 0.0
    for _ in range(30):
        layer.bias[0] = (low + high) / 2
        share = float((layer(embedded).softmax(dim=1)[:, 1:] > THRESHOLD).float().mean())
        low, high = ((low + high) / 2, high) if share > CANDIDATES else (low, (low + high) / 2)
    return share
