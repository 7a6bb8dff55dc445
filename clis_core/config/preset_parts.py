"""What presets are put together from: data, detectors and trainings of the paper's size and of a laptop's."""

from __future__ import annotations

from typing import Any

Table = dict[str, Any]

SPECIALISED: Table = {"specialised": True, "objectness": True}

CLIS: Table = {"kind": "clis", "alpha": 0.1, "beta": 0.05}

# CLIS, sec. IV-A2; what it leaves open (milestones, warm-up, clipping) is mmdetection's LVIS default.
LVIS: Table = {
    "sampler": {"kind": "repeat-factor", "threshold": 1e-3},
    "short_sides": [640, 672, 704, 736, 768, 800],
    "long_side": 1333,
}


def full_size(backbone: str, head: Table | None = None) -> Table:
    """A detector of the paper's size; ``head`` over its plain head."""
    return {
        "kind": "faster-rcnn",
        "backbone": {"name": backbone, "init": "torchvision", "frozen_stages": 1},
        "head": {"specialised": False, "objectness": False, "class_agnostic": False, **(head or {})},
        "short_side": 800,
        "long_side": 1333,
    }


def sgd(iterations: int) -> Table:
    """The paper's training, for a number of iterations."""
    return {
        "iterations": iterations,
        "batch": 16,
        "lr": 0.02,
        "lr_batch": 16,
        "optimiser": {"kind": "sgd", "momentum": 0.9, "weight_decay": 1e-4},
        "schedule": {"kind": "multistep", "milestones": [2 / 3, 8 / 9], "gamma": 0.1},  # 60k and 80k of 90k
        "warmup": 500,
    }


SMALL_DATA: Table = {
    "sampler": {"kind": "repeat-factor", "threshold": 0.05},
    "short_sides": [224, 256],
    "long_side": 512,
    "workers": 1,
}

SMALL_METHOD: Table = {
    "kind": "supervised",
    "rpn": {"before_nms": 300, "proposals": 300},
    "roi": {"samples": 64},
}


def small_size(head: Table | None = None) -> Table:
    """A detector that a laptop trains in minutes; ``head`` over its plain head."""
    return {
        "kind": "faster-rcnn",
        "backbone": {"name": "mobilenet_v2", "init": "torchvision", "frozen_stages": 2, "norm": "frozen"},
        "pyramid": {"channels": 128, "strides": [8, 16, 32]},
        "rpn": {"anchor_scale": 4.0, "before_nms": 300, "proposals": 300},
        "head": {"width": 256, "class_agnostic": True, **(head or {})},
        "short_side": 256,
        "long_side": 512,
    }


def with_mtl(base: Table, *, small: bool = False) -> Table:
    """A preset with all tasks and the refinement of MTL-SSL; ``small`` is for images of a few hundred pixels."""
    method: Table = base.get("method", {"kind": "supervised"})
    heads: Table = {"window": True, "closeness": True, "refine": True}
    training: Table = {"foreground_weight": 1.0}
    if small:
        heads["width"] = base["detector"]["head"]["width"]
        training |= {"windows": 32, "shortest": 16}
    return {**base, "detector": {**base["detector"], "mtl": heads}, "method": {**method, "mtl": training}}


def adamw(iterations: int) -> Table:
    """A small training."""
    return {
        "iterations": iterations,
        "batch": 4,
        "lr": 5e-4,
        "lr_batch": 4,
        "optimiser": {"kind": "adamw", "weight_decay": 0.05},
        "schedule": {"kind": "cosine"},
        "warmup": 100,
        "clip": 10.0,
        "checkpoint_every": 250,
    }


# Tuned for about three and a half minutes of training on two CPU cores (docs/results.md).
SMALL_TRAIN: Table = {
    **adamw(1_500),
    "lr": 1e-3,
    "backbone_lr": 0.05,
    "checkpoint_every": 500,
}

SMALL_CLIS: Table = {**SMALL_METHOD, "kind": "clis", "alpha": 0.2}

SMALL_PICTURES: Table = {"s": 8, "t": 2, "mosaic": 192, "paste": {"min_side": 24, "until": 0.7}}

TINY_PICTURES: Table = {"s": 4, "t": 1, "mosaic": 96, "paste": {"min_side": 12}}


def tiny_size() -> Table:
    """A detector, its data, what teaches it and its training, for drawn data and tests."""
    return {
        **from_nothing("resnet18", channels=32, anchor=4.0, head={"width": 64}, sides=(96, 128)),
        "train": {**adamw(200), "warmup": 20, "log_every": 10, "checkpoint_every": 100},
    }


def from_nothing(backbone: str, *, channels: int, anchor: float, head: Table, sides: tuple[int, int]) -> Table:
    """A small Faster R-CNN that is trained without first weights, and what teaches it; sides are short and long."""
    short, long = sides
    return {
        "detector": {
            "backbone": {"name": backbone, "init": "none", "frozen_stages": 0, "norm": "group"},
            "pyramid": {"channels": channels, "strides": [8, 16, 32]},
            "rpn": {"anchor_scale": anchor, "before_nms": 200, "proposals": 100},
            "head": {"class_agnostic": True, **head},
            "short_side": short,
            "long_side": long,
        },
        "data": {
            "sampler": {"kind": "repeat-factor", "threshold": 0.05},
            "short_sides": [short],
            "long_side": long,
            "workers": 0,
        },
        "method": {
            "kind": "supervised",
            "rpn": {"samples": 64, "before_nms": 200, "proposals": 100},
            "roi": {"samples": 32},
        },
    }


def with_specialised(base: Table) -> Table:
    """A preset with separate sub-networks and objectness."""
    return {**base, "detector": {**base["detector"], "head": {**base["detector"]["head"], **SPECIALISED}}}
