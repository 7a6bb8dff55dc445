"""Presets of one-stage detectors: RetinaNet, FCOS, and RetinaNet as EFL improves it.

The numbers of EFL are those of CLIS's table I, as it prints them. docs/methods/dense.md says which settings are the
papers' and which are ours.
"""

from __future__ import annotations

from collections.abc import Callable

from clis_core.config.preset_parts import LVIS, SMALL_DATA, SMALL_TRAIN, Table, adamw, sgd, small_size

_FOCAL: Table = {"kind": "focal", "gamma": 2.0, "alpha": 0.25, "prior": 0.01}
_EFL: Table = {"kind": "efl", "gamma": 2.0, "scale": 8.0, "alpha": 0.25, "prior": 1e-3}
_EQFL: Table = {"kind": "eqfl", "gamma": 2.0, "scale": 8.0, "prior": 1e-3}

_MAX_IOU: Table = {"assign": {"kind": "max-iou", "positive_iou": 0.5, "negative_iou": 0.4}, "box": "l1"}
_RANGES: Table = {"assign": {"kind": "ranges", "scale": 8.0, "radius": 1.5}, "box": "giou"}
_ATSS: Table = {"assign": {"kind": "atss", "k": 18}, "box": "giou", "box_weight": 2.0}
# 24 epochs, the rate falls after 16 and 22 of them.
_EFL_TRAIN: Table = {**sgd(180_000), "schedule": {"kind": "multistep", "milestones": [16 / 24, 22 / 24], "gamma": 0.1}}


def retinanet_r50_1x() -> Table:
    """RetinaNet, ResNet-50, 90,000 iterations: no number in CLIS."""
    return _full("retinanet", "resnet50", _FOCAL, {}, _MAX_IOU, {**sgd(90_000), "lr": 0.01})


def fcos_r50_1x() -> Table:
    """FCOS, ResNet-50, 90,000 iterations: no number in CLIS."""
    return _full("fcos", "resnet50", _FOCAL, {}, _RANGES, {**sgd(90_000), "lr": 0.01})


def efl_r50_2x() -> Table:
    """Equalized focal loss on the improved RetinaNet, ResNet-50, 24 epochs: CLIS, table I (27.5 AP, 20.2 rare)."""
    return _improved("resnet50", _EFL)


def efl_r101_2x() -> Table:
    """Equalized focal loss on the improved RetinaNet, ResNet-101, 24 epochs: CLIS, table I (29.2 AP, 23.5 rare)."""
    return _improved("resnet101", _EFL)


def efl_focal_r50_2x() -> Table:
    """The improved RetinaNet of EFL with the focal loss, ResNet-50, 24 epochs: no number in CLIS."""
    return _improved("resnet50", {**_FOCAL, "prior": 1e-3})


def eqfl_r50_2x() -> Table:
    """Equalized quality focal loss on the improved RetinaNet, ResNet-50, 24 epochs: no number in CLIS."""
    return _improved("resnet50", _EQFL)


def retinanet_small() -> Table:
    """RetinaNet, MobileNetV2 at 256 px, minutes on a laptop: no number in CLIS."""
    return _small("retinanet", _FOCAL, {}, _MAX_IOU)


def fcos_small() -> Table:
    """FCOS, MobileNetV2 at 256 px, minutes on a laptop: no number in CLIS."""
    return _small("fcos", _FOCAL, {}, {**_RANGES, "assign": {**_RANGES["assign"], "scale": 4.0}})


def efl_small() -> Table:
    """Equalized focal loss on the improved RetinaNet, MobileNetV2 at 256 px: CLIS, table I, in small."""
    return _small("retinanet", _EFL, _small_parts(), _ATSS)


def efl_focal_small() -> Table:
    """The improved RetinaNet of EFL with the focal loss, MobileNetV2 at 256 px: no number in CLIS."""
    return _small("retinanet", {**_FOCAL, "prior": 1e-3}, _small_parts(), _ATSS)


def eqfl_small() -> Table:
    """Equalized quality focal loss on the improved RetinaNet, MobileNetV2 at 256 px: no number in CLIS."""
    return _small("retinanet", _EQFL, _small_parts(), _ATSS)


def retinanet_tiny() -> Table:
    """RetinaNet, ResNet-18 at 96 px without pre-training, for drawn data and tests; no number in CLIS."""
    return _tiny("retinanet", {"anchors": {"scales": [3.0], "ratios": [1.0]}}, _MAX_IOU)


def fcos_tiny() -> Table:
    """FCOS, ResNet-18 at 96 px without pre-training, for drawn data and tests; no number in CLIS."""
    return _tiny("fcos", {}, {**_RANGES, "assign": {**_RANGES["assign"], "scale": 4.0}})


DENSE_PRESETS: dict[str, Callable[[], Table]] = {
    "retinanet-r50-1x": retinanet_r50_1x,
    "fcos-r50-1x": fcos_r50_1x,
    "efl-r50-2x": efl_r50_2x,
    "efl-r101-2x": efl_r101_2x,
    "efl-focal-r50-2x": efl_focal_r50_2x,
    "eqfl-r50-2x": eqfl_r50_2x,
    "retinanet-small": retinanet_small,
    "fcos-small": fcos_small,
    "efl-small": efl_small,
    "efl-focal-small": efl_focal_small,
    "eqfl-small": eqfl_small,
    "retinanet-tiny": retinanet_tiny,
    "fcos-tiny": fcos_tiny,
}


def _full(kind: str, backbone: str, loss: Table, parts: Table, dense: Table, train: Table) -> Table:
    return {
        "detector": {
            "kind": kind,
            "backbone": {"name": backbone, "init": "torchvision", "frozen_stages": 1},
            "class_loss": loss,
            "short_side": 800,
            "long_side": 1333,
            **parts,
        },
        "data": LVIS,
        "method": {"kind": "supervised", "dense": dense},
        "train": train,
    }


def _parts(scales: list[float]) -> Table:
    """The improved RetinaNet: square anchors, group norm, an output for the overlap that multiplies the score."""
    return {
        "anchors": {"scales": scales, "ratios": [1.0]},
        "head": {"norm": "group", "quality": "iou", "combine": "product"},
    }


def _improved(backbone: str, loss: Table) -> Table:
    return _full("retinanet", backbone, loss, _parts([6.0, 8.0]), _ATSS, {**_EFL_TRAIN, "clip": 35.0})


def _small_parts() -> Table:
    """Half of the anchors' sizes, for images of a third."""
    return _parts([3.0, 4.0])


def _small(kind: str, loss: Table, parts: Table, dense: Table) -> Table:
    """The backbone, the image size, the data and the training of the other small presets."""
    size = {key: value for key, value in small_size().items() if key in ("backbone", "short_side", "long_side")}
    head = {"convs": 2, **parts.get("head", {})}
    return {
        "detector": {"kind": kind, **size, "pyramid": {"channels": 96}, "class_loss": loss, **parts, "head": head},
        "data": SMALL_DATA,
        "method": {"kind": "supervised", "dense": dense},
        "train": SMALL_TRAIN,
    }


def _tiny(kind: str, parts: Table, dense: Table) -> Table:
    return {
        "detector": {
            "kind": kind,
            "backbone": {"name": "resnet18", "init": "none", "frozen_stages": 0, "norm": "group"},
            "pyramid": {"channels": 32},
            "head": {"convs": 1},
            "short_side": 96,
            "long_side": 128,
            **parts,
        },
        "data": {
            "sampler": {"kind": "repeat-factor", "threshold": 0.05},
            "short_sides": [96],
            "long_side": 128,
            "workers": 0,
        },
        "method": {"kind": "supervised", "dense": dense},
        "train": {**adamw(200), "warmup": 20, "log_every": 10, "checkpoint_every": 100},
    }
