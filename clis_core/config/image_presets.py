"""Presets of other uses of pictures, which CLIS is compared with.

Their detector is that of ``baseline-*``, as in their papers; ``specialised-*``'s head goes with each of them as well.
Small ones see as many pictures a step as ``clis-small``.
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

# Whole pictures, s for each detection image as in CLIS, sec. IV-A2, mirrored and scaled and no more.
_WHOLE: Table = {"s": 16, "t": 0, "mosaic": 640, "cutout": 0.0}
# As CLIS shows them, but without holes.
_MOSAICS: Table = {"s": 16, "t": 0, "mosaic": 448, "cutout": 0.0}
_SMALL_PICTURES: Table = {"s": 8, "t": 0, "mosaic": 192}
_SMALL_TUNED: Table = {**SMALL_TRAIN, "iterations": 500, "warmup": 50, "lr": 5e-4}


def detic_r50_1x() -> Table:
    """Detic, max-size, federated loss, 90,000 iterations: CLIS, table IX, has it at another schedule (25.1 mask AP)."""
    detector = {**full_size("resnet50"), "class_loss": {"kind": "federated"}}
    method = {"kind": "detic", "rule": "max-size", "weight": 0.1}
    return {"detector": detector, "data": LVIS, "method": method, "pictures": _WHOLE, "train": sgd(90_000)}


def detic_small() -> Table:
    """Detic, max-size, detector and classifier of baseline-small: CLIS, table IX, in small."""
    return _small("detic", whole=True)


def self_training_r50_1x() -> Table:
    """Self-training, boxes with a score of 0.5 or more, 90,000 iterations: CLIS, table VII, on v0.5 (22.7 AP)."""
    pictures = {**_MOSAICS, "min_score": 0.5}
    return _full({"kind": "self-training", "weight": 1.0}, pictures, sgd(90_000))


def dlwl_r50_1x() -> Table:
    """DLWL-style assignment, 90,000 iterations: CLIS, table VII, has DLWL on v0.5 (22.1 AP, 14.2 rare)."""
    return _full({"kind": "dlwl"}, _WHOLE, sgd(90_000))


def unbiased_teacher_r50_2x() -> Table:
    """Unbiased Teacher, 180,000 iterations, pictures as unlabelled: CLIS, table VII (19.2 AP, 6.6 rare)."""
    method = {"kind": "unbiased-teacher", "burn_in": 12_000, "momentum": 0.9996, "threshold": 0.7, "weight": 4.0}
    return _full(method, _WHOLE, {**sgd(180_000), "lr": 0.01, "ema": 0.9996})


def self_training_small() -> Table:
    """Self-training, boxes with a score of 0.5 or more, detector of baseline-small: CLIS, table VII, in small."""
    made = _small("self-training")
    return {**made, "pictures": {**made["pictures"], "cutout": 0.0, "min_score": 0.5}}


def dlwl_small() -> Table:
    """DLWL-style assignment, detector of baseline-small: CLIS, table VII, in small."""
    return _small("dlwl", whole=True)


def unbiased_teacher_small() -> Table:
    """Unbiased Teacher, detector of baseline-small, a third of the steps from boxes alone: CLIS, table VII, in small.

    Detection images are learnt from once a step, so that it costs no more than the others; the teacher is faster.
    """
    settings = {"burn_in": 500, "momentum": 0.995, "strong_scenes": False}
    made = _small("unbiased-teacher", whole=True, **settings)
    return {**made, "train": {**SMALL_TRAIN, "ema": 0.995}}


def mosaicos_mosaics_r50_1x() -> Table:
    """MosaicOS, first fine-tuning, on mosaics, 90,000 iterations from a baseline-r50 run: CLIS, table VII, in part."""
    return _tuned(full_size("resnet50"), LVIS, {**sgd(90_000), "lr": 0.002}, mosaics=True)


def mosaicos_scenes_r50_1x() -> Table:
    """MosaicOS, second fine-tuning, on the data set itself, 90,000 iterations: CLIS, table VII (23.9 AP, 15.5 rare)."""
    return _tuned(full_size("resnet50"), LVIS, {**sgd(90_000), "lr": 0.002})


def mosaicos_mosaics_small() -> Table:
    """MosaicOS, first fine-tuning, on mosaics, 500 iterations from baseline-small: CLIS, table VII, in small."""
    return _tuned(small_size(), SMALL_DATA, _SMALL_TUNED, SMALL_METHOD, mosaics=True)


def mosaicos_scenes_small() -> Table:
    """MosaicOS, second fine-tuning, 500 iterations from mosaicos-mosaics-small: CLIS, table VII, in small."""
    return _tuned(small_size(), SMALL_DATA, _SMALL_TUNED, SMALL_METHOD)


IMAGE_PRESETS: dict[str, Callable[[], Table]] = {
    "detic-r50-1x": detic_r50_1x,
    "self-training-r50-1x": self_training_r50_1x,
    "dlwl-r50-1x": dlwl_r50_1x,
    "unbiased-teacher-r50-2x": unbiased_teacher_r50_2x,
    "mosaicos-mosaics-r50-1x": mosaicos_mosaics_r50_1x,
    "mosaicos-scenes-r50-1x": mosaicos_scenes_r50_1x,
    "mosaicos-mosaics-small": mosaicos_mosaics_small,
    "mosaicos-scenes-small": mosaicos_scenes_small,
    "detic-small": detic_small,
    "self-training-small": self_training_small,
    "dlwl-small": dlwl_small,
    "unbiased-teacher-small": unbiased_teacher_small,
}


def _full(method: Table, pictures: Table, train: Table) -> Table:
    return {
        "detector": full_size("resnet50"),
        "data": LVIS,
        "method": method,
        "pictures": pictures,
        "train": train,
    }


def _small(kind: str, *, whole: bool = False, **method: object) -> Table:
    return {
        "detector": small_size(),
        "data": SMALL_DATA,
        "method": {**SMALL_METHOD, "kind": kind, **method},
        "pictures": {**_SMALL_PICTURES, **({"cutout": 0.0} if whole else {})},
        "train": SMALL_TRAIN,
    }


def _tuned(detector: Table, data: Table, train: Table, method: Table | None = None, *, mosaics: bool = False) -> Table:
    """A further training of a run that ``train.start`` names; mosaics have no images to evaluate on."""
    made = {"detector": detector, "data": data, "train": {**train, **({"eval_at_end": False} if mosaics else {})}}
    return {**made, "method": method} if method else made
