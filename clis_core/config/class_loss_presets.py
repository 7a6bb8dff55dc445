"""Presets of the class losses that CLIS is compared with; the numbers are those of CLIS's table I, as it prints them.

They differ from ``baseline-*`` in the class loss and what its paper trains with it. Over a preset of CLIS, a class loss
is ``--set detector.class_loss.kind=seesaw``.
"""

from __future__ import annotations

from collections.abc import Callable

from clis_core.config.preset_parts import (
    LVIS,
    SMALL_DATA,
    SMALL_METHOD,
    SMALL_TRAIN,
    Table,
    full_size,
    sgd,
    small_size,
)

_COSINE: Table = {"classifier": "cosine", "temperature": 20.0}
_SEESAW: Table = {"kind": "seesaw", "p": 0.8, "q": 2.0}
# The threshold that EQLv2's authors take for LVIS v1; the paper's 1.77e-3 is for v0.5.
_EQL: Table = {"kind": "eql", "threshold": 1.1e-3}
_EQLV2: Table = {"kind": "eqlv2", "gamma": 12.0, "mu": 0.8, "alpha": 4.0}
_BAGS: Table = {"kind": "bags", "bounds": [10, 100, 1000], "others": 8.0}
_FEDERATED: Table = {"kind": "federated", "classes": 50, "power": 0.5}


def seesaw_r50_1x() -> Table:
    """Seesaw loss, cosine class layer, ResNet-50, 90,000 iterations: CLIS, table I, has it at 2x alone."""
    return _full("resnet50", 90_000, _SEESAW, _COSINE)


def seesaw_r50_2x() -> Table:
    """Seesaw loss, cosine class layer, ResNet-50, 180,000 iterations: CLIS, table I (26.4 AP, 17.5 rare)."""
    return _full("resnet50", 180_000, _SEESAW, _COSINE)


def seesaw_r101_2x() -> Table:
    """Seesaw loss, cosine class layer, ResNet-101, 180,000 iterations: CLIS, table I (27.8 AP, 18.7 rare)."""
    return _full("resnet101", 180_000, _SEESAW, _COSINE)


def eql_r50_1x() -> Table:
    """Equalization loss, ResNet-50, 90,000 iterations: no number in CLIS."""
    return _full("resnet50", 90_000, _EQL)


def eqlv2_r50_1x() -> Table:
    """Equalization loss v2, ResNet-50, 90,000 iterations: CLIS, table I, has it at 2x alone."""
    return _full("resnet50", 90_000, _EQLV2)


def eqlv2_r50_2x() -> Table:
    """Equalization loss v2, ResNet-50, 180,000 iterations: CLIS, table I (25.5 AP, 16.4 rare)."""
    return _full("resnet50", 180_000, _EQLV2)


def eqlv2_r101_2x() -> Table:
    """Equalization loss v2, ResNet-101, 180,000 iterations: CLIS, table I (26.9 AP, 18.2 rare)."""
    return _full("resnet101", 180_000, _EQLV2)


def bags_r50_1x() -> Table:
    """BAGS, second stage of 90,000 iterations from baseline-r50-2x: CLIS, table I (26.0 AP, 17.2 rare)."""
    return _second_stage(_full("resnet50", 90_000, _BAGS), lr=0.01)


def bags_r101_1x() -> Table:
    """BAGS, second stage of 90,000 iterations from baseline-r101-2x: CLIS, table I (27.6 AP, 18.7 rare)."""
    return _second_stage(_full("resnet101", 90_000, _BAGS), lr=0.01)


def federated_r50_1x() -> Table:
    """Federated loss, ResNet-50, 90,000 iterations: no number in CLIS."""
    return _full("resnet50", 90_000, _FEDERATED)


def seesaw_small() -> Table:
    """Seesaw loss, MobileNetV2 at 256 px, minutes on a laptop: CLIS, table I, in small."""
    return _small(_SEESAW, _COSINE)


def eql_small() -> Table:
    """Equalization loss, MobileNetV2 at 256 px, for some thousand images: no number in CLIS."""
    return _small({**_EQL, "threshold": 0.08})


def eqlv2_small() -> Table:
    """Equalization loss v2, MobileNetV2 at 256 px, minutes on a laptop: CLIS, table I, in small."""
    return _small(_EQLV2)


def bags_small() -> Table:
    """BAGS, second stage of a third of the iterations from baseline-small: CLIS, table I, in small."""
    return _second_stage(_small(_BAGS), iterations=500, warmup=50)


def federated_small() -> Table:
    """Federated loss, MobileNetV2 at 256 px, 20 classes a step: no number in CLIS."""
    return _small({**_FEDERATED, "classes": 20})


CLASS_LOSS_PRESETS: dict[str, Callable[[], Table]] = {
    "seesaw-r50-1x": seesaw_r50_1x,
    "seesaw-r50-2x": seesaw_r50_2x,
    "seesaw-r101-2x": seesaw_r101_2x,
    "eql-r50-1x": eql_r50_1x,
    "eqlv2-r50-1x": eqlv2_r50_1x,
    "eqlv2-r50-2x": eqlv2_r50_2x,
    "eqlv2-r101-2x": eqlv2_r101_2x,
    "bags-r50-1x": bags_r50_1x,
    "bags-r101-1x": bags_r101_1x,
    "federated-r50-1x": federated_r50_1x,
    "seesaw-small": seesaw_small,
    "eql-small": eql_small,
    "eqlv2-small": eqlv2_small,
    "bags-small": bags_small,
    "federated-small": federated_small,
}


def _full(backbone: str, iterations: int, loss: Table, head: Table | None = None) -> Table:
    return {"detector": {**full_size(backbone, head), "class_loss": loss}, "data": LVIS, "train": sgd(iterations)}


def _small(loss: Table, head: Table | None = None) -> Table:
    return {
        "detector": {**small_size(head), "class_loss": loss},
        "data": SMALL_DATA,
        "method": SMALL_METHOD,
        "train": SMALL_TRAIN,
    }


def _second_stage(first: Table, **train: float) -> Table:
    """The class layer alone, from a run that ``train.start`` names, on images as they come."""
    uniform = {**first["data"], "sampler": {"kind": "uniform"}}
    return {**first, "data": uniform, "train": {**first["train"], "learn": "classifier", **train}}
