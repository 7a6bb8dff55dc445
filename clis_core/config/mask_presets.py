"""Presets with a mask head: Mask R-CNN, with specialised box heads, and with CLIS (table IX).

The numbers are **mask** AP on LVIS v1 val, as CLIS's table IX prints them. docs/methods/mask.md says what of this is
the papers' and what is ours.
"""

from __future__ import annotations

from collections.abc import Callable

from clis_core.config.preset_parts import (
    CLIS,
    LVIS,
    SMALL_CLIS,
    SMALL_DATA,
    SMALL_METHOD,
    SMALL_PICTURES,
    SMALL_TRAIN,
    SPECIALISED,
    TINY_PICTURES,
    Table,
    full_size,
    sgd,
    small_size,
    tiny_size,
    with_specialised,
)

_FULL_MASK: Table = {"enabled": True, "convs": 4, "channels": 256, "pool": 14}
_SMALL_MASK: Table = {"enabled": True, "convs": 2, "channels": 64, "pool": 14, "class_agnostic": True}
_TINY_MASK: Table = {"enabled": True, "convs": 1, "channels": 16, "pool": 7}


def mask_baseline_r50_2x() -> Table:
    """Mask R-CNN, ResNet-50, 180,000 iterations: CLIS, table IX (23.7 mask AP, 13.5 rare; 24.7 box AP)."""
    return _full()


def mask_specialised_r50_2x() -> Table:
    """Mask R-CNN with specialised box heads and objectness, ResNet-50, 180,000 iterations: no number in CLIS."""
    return _full(SPECIALISED)


def mask_clis_r50_2x() -> Table:
    """CLIS on Mask R-CNN, ResNet-50, 180,000 iterations: CLIS, table IX (29.3 mask AP, 23.0 rare; 30.4 box AP)."""
    return {**_full(SPECIALISED), "method": CLIS}


def mask_baseline_small() -> Table:
    """Mask R-CNN, MobileNetV2 at 256 px, minutes on a laptop: CLIS, table IX, baseline in small."""
    return _small()


def mask_specialised_small() -> Table:
    """Mask R-CNN with specialised box heads and objectness, MobileNetV2 at 256 px; no number in CLIS."""
    return _small(SPECIALISED)


def mask_clis_small() -> Table:
    """CLIS on Mask R-CNN, MobileNetV2 at 256 px, minutes on a laptop: CLIS, table IX, full method in small."""
    return {**_small(SPECIALISED), "method": SMALL_CLIS, "pictures": SMALL_PICTURES}


def mask_baseline_tiny() -> Table:
    """Mask R-CNN, ResNet-18 at 96 px without pre-training, for tests; no number in CLIS."""
    return _masked(tiny_size(), _TINY_MASK)


def mask_clis_tiny() -> Table:
    """CLIS on Mask R-CNN, ResNet-18 at 96 px without pre-training, for tests; no number in the paper."""
    base = _masked(with_specialised(tiny_size()), _TINY_MASK)
    return {**base, "method": {**base["method"], "kind": "clis", "projector": 32}, "pictures": TINY_PICTURES}


MASK_PRESETS: dict[str, Callable[[], Table]] = {
    "mask-baseline-r50-2x": mask_baseline_r50_2x,
    "mask-specialised-r50-2x": mask_specialised_r50_2x,
    "mask-clis-r50-2x": mask_clis_r50_2x,
    "mask-baseline-small": mask_baseline_small,
    "mask-specialised-small": mask_specialised_small,
    "mask-clis-small": mask_clis_small,
    "mask-baseline-tiny": mask_baseline_tiny,
    "mask-clis-tiny": mask_clis_tiny,
}


def _full(head: Table | None = None) -> Table:
    return _masked({"detector": full_size("resnet50", head), "data": LVIS, "train": sgd(180_000)}, _FULL_MASK)


def _small(head: Table | None = None) -> Table:
    base = {"detector": small_size(head), "data": SMALL_DATA, "method": SMALL_METHOD, "train": SMALL_TRAIN}
    return _masked(base, _SMALL_MASK)


def _masked(base: Table, mask: Table) -> Table:
    return {**base, "detector": {**base["detector"], "mask": mask}}
