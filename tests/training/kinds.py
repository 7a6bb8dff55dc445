"""One small training for each kind that the presets have: method, head, class loss, detector and way of sampling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.methods import learns_from_pictures, takes_whole_pictures
from clis_core.config.presets import PRESETS
from clis_core.config.run import RunConfig

SMALL_NETWORK: dict[str, Any] = {
    "backbone": {"name": "resnet10-slim", "init": "none", "frozen_stages": 0, "norm": "group"},
    "pyramid": {"channels": 16, "strides": [8, 16, 32]},
    "rpn": {"anchor_scale": 4.0, "before_nms": 100, "proposals": 60},
    "head": {"width": 32},
}
SMALL_DATA: dict[str, Any] = {"short_sides": [64, 80, 96], "long_side": 128, "workers": 0}
SMALL_METHOD: dict[str, Any] = {"rpn": {"samples": 48, "before_nms": 100, "proposals": 60}, "roi": {"samples": 24}}
SMALL_DENSE: dict[str, Any] = {
    "backbone": SMALL_NETWORK["backbone"],
    "pyramid": {"channels": 32, "strides": [8, 16, 32]},
    "head": {"convs": 1},
}
SIDES: dict[str, Any] = {"short_side": 96, "long_side": 128}
# Of the presets for real data only the sizes are changed, of the others nothing but the batch.
SMALLER: dict[str, Any] = {"detector": {**SMALL_NETWORK, **SIDES}, "data": SMALL_DATA, "method": SMALL_METHOD}
SMALLER_DENSE: dict[str, Any] = {"detector": {**SMALL_DENSE, **SIDES}, "data": SMALL_DATA}
UNTRAINED: dict[str, Any] = {"detector": {"backbone": {"init": "none"}}}
FULL = ("-r50-", "-r101-")
# A drawn world has few classes and few pictures.
COMMON: dict[str, Any] = {
    "data": {"workers": 0},
    "train": {"batch": 4, "iterations": 100, "warmup": 0, "eval_at_end": False},
}
PICTURES: dict[str, Any] = {"s": 4, "t": 2, "mosaic": 64, "paste": {"min_side": 12}, "regions": "centre"}
LOSSES: dict[str, dict[str, Any]] = {
    "seesaw": {"kind": "seesaw"},
    "eql": {"kind": "eql", "threshold": 0.3},
    "eqlv2": {"kind": "eqlv2"},
    "bags": {"kind": "bags", "bounds": [8, 16], "others": 1.0},
    "federated": {"kind": "federated", "classes": 3},
}


def kinds(data: Path, shards: Path) -> dict[str, RunConfig]:
    """The kinds by the name of the first preset that is of each; and CLIS on top of every class loss, in parts, ..."""
    found: dict[str, RunConfig] = {}
    seen: set[str] = set()
    for name in PRESETS:
        config = _small(name, data, shards)
        key = json.dumps(config.model_dump(mode="json", exclude={"preset": True, "train": True}), sort_keys=True)
        if key not in seen:
            seen.add(key)
            found[name] = config
    for loss, table in LOSSES.items():
        more = {"detector": {"class_loss": table}}
        found[f"clis-tiny, {loss}"] = _small("clis-tiny", data, shards, more)
        found[f"specialised-tiny, {loss}"] = _small("specialised-tiny", data, shards, more)
    for rule in ("max-score", "wsddn"):
        method = {"method": {"kind": "detic", "rule": rule, **SMALL_METHOD}}
        found[f"detic-tiny, {rule}"] = _small("specialised-tiny", data, shards, method)
    sure = {"kind": "unbiased-teacher", "burn_in": 0, "threshold": 0.02, **SMALL_METHOD}
    found["unbiased-teacher-tiny"] = _small("specialised-tiny", data, shards, {"method": sure})
    parts = {"train": {"batch": 8, "accumulate": 2}}
    found["clis-tiny, in parts"] = _small("clis-tiny", data, shards, parts)
    found["bags in parts"] = _small("clis-tiny", data, shards, {"detector": {"class_loss": LOSSES["bags"]}, **parts})
    contrast = {"mask_same_class": True, "positive": "momentum", "siamese": False, "shared_projector": False}
    found["clis-tiny, apart"] = _small("clis-tiny", data, shards, {"method": contrast})
    found["clis-tiny, averaged"] = _small("clis-tiny", data, shards, {"train": {"ema": 0.9, "clip": 0.5}})
    return found


def _small(name: str, data: Path, shards: Path, more: dict[str, Any] | None = None) -> RunConfig:
    dense = PRESETS[name]()["detector"].get("kind", "faster-rcnn") != "faster-rcnn"
    sizes = [Layer("sizes", SMALLER_DENSE if dense else SMALLER)] if any(part in name for part in FULL) else []
    layers = [preset_layer(name), *sizes, Layer("untrained", UNTRAINED), Layer("common", COMMON)]
    layers += [Layer("data", {"data": {"root": data}, "pictures": {"shards": shards}})]
    config = resolve([*layers, Layer("more", more or {})])
    if not learns_from_pictures(config.method):
        return config
    own = PICTURES if config.method.kind == "clis" else {"s": 4, "t": 0, "mosaic": 64, "cutout": 0.0}
    own |= {} if takes_whole_pictures(config.method) else {"regions": "centre", "min_score": 0.0}
    return resolve([*layers, Layer("pictures", {"pictures": own}), Layer("more", more or {})])
