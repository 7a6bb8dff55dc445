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
_SMALL_PICTURES: Table = {"s": 8, "t": 0, "mosaic": 192}


def detic_r50_1x() -> Table:
    """Detic, max-size, federated loss, 90,000 iterations: CLIS, table IX, has it at another schedule (25.1 mask AP)."""
    detector = {**full_size("resnet50"), "class_loss": {"kind": "federated"}}
    method = {"kind": "detic", "rule": "max-size", "weight": 0.1}
    return {"detector": detector, "data": LVIS, "method": method, "pictures": _WHOLE, "train": sgd(90_000)}


def detic_small() -> Table:
    """Detic, max-size, detector and classifier of baseline-small: CLIS, table IX, in small."""
    return _small("detic", whole=True)


IMAGE_PRESETS: dict[str, Callable[[], Table]] = {
    "detic-r50-1x": detic_r50_1x,
    "detic-small": detic_small,
}


def _small(kind: str, *, whole: bool = False, **method: object) -> Table:
    return {
        "detector": small_size(),
        "data": SMALL_DATA,
        "method": {**SMALL_METHOD, "kind": kind, **method},
        "pictures": {**_SMALL_PICTURES, **({"cutout": 0.0} if whole else {})},
        "train": SMALL_TRAIN,
    }
