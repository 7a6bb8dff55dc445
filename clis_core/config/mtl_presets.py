"""Presets of MTL-SSL (Lee, Na and Kim, CVPR 2019): auxiliary tasks from recycled boxes.

The paper's detectors pool from one map of a ResNet-101 (C4); these have the feature pyramid of all others here.
docs/methods/mtl-ssl.md says what the sources leave open.
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
    with_mtl,
)

_UNIFORM: Table = {"sampler": {"kind": "uniform"}, "short_sides": [600], "long_side": 1024}
# One image a step, and gradients cut off at 10; iterations and milestones are ours.
_ONE_BY_ONE: Table = {**sgd(70_000), "batch": 1, "lr": 1e-3, "lr_batch": 1, "clip": 10.0}


def baseline_voc_r101_600() -> Table:
    """Faster R-CNN, ResNet-101, 600 px, on VOC, without its tasks: MTL-SSL, VOC07, has C4 (77.0 mAP)."""
    return _paper(0.4, {**_ONE_BY_ONE, "schedule": {"kind": "multistep", "milestones": [5 / 7], "gamma": 0.1}})


def mtl_ssl_voc_r101_600() -> Table:
    """MTL-SSL, ResNet-101, 600 px, on VOC: MTL-SSL, VOC07, has C4 (78.7 mAP)."""
    return with_mtl(baseline_voc_r101_600())


def baseline_coco_r101_600() -> Table:
    """Faster R-CNN, ResNet-101, 600 px, on COCO 2017, without its tasks: MTL-SSL has C4 (32.7 AP)."""
    return _paper(0.6, {**sgd(90_000), "clip": 10.0})


def mtl_ssl_coco_r101_600() -> Table:
    """MTL-SSL, ResNet-101, 600 px, on COCO 2017: MTL-SSL has C4 (34.6 AP)."""
    return with_mtl(baseline_coco_r101_600())


def mtl_ssl_r50_1x() -> Table:
    """MTL-SSL on the detector and training of baseline-r50-1x, LVIS: no number in MTL-SSL."""
    return with_mtl({"detector": full_size("resnet50"), "data": LVIS, "train": sgd(90_000)})


def mtl_ssl_small() -> Table:
    """MTL-SSL on the detector and training of baseline-small: no number in MTL-SSL."""
    first = {"detector": small_size(), "data": SMALL_DATA, "method": SMALL_METHOD, "train": SMALL_TRAIN}
    return with_mtl(first, small=True)


MTL_PRESETS: dict[str, Callable[[], Table]] = {
    "baseline-voc-r101-600": baseline_voc_r101_600,
    "mtl-ssl-voc-r101-600": mtl_ssl_voc_r101_600,
    "baseline-coco-r101-600": baseline_coco_r101_600,
    "mtl-ssl-coco-r101-600": mtl_ssl_coco_r101_600,
    "mtl-ssl-r50-1x": mtl_ssl_r50_1x,
    "mtl-ssl-small": mtl_ssl_small,
}


def _paper(nms_iou: float, train: Table) -> Table:
    detector = full_size("resnet101")
    sides = {"short_side": 600, "long_side": 1024}
    return {
        "detector": {**detector, **sides, "postprocess": {"nms_iou": nms_iou}},
        "data": _UNIFORM,
        "method": {"kind": "supervised", "roi": {"samples": 256}},
        "train": train,
    }
