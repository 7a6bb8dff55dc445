"""Presets of decoupled training: the class layer of a trained detector learns once more, with the classes balanced.

"Kang" is Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv
1910.09217. It is about classification; lengths and rates are those of BAGS's second stage.
"""

from __future__ import annotations

from collections.abc import Callable

from clis_core.config.preset_parts import LVIS, SMALL_DATA, SMALL_METHOD, SMALL_TRAIN, Table, full_size, sgd, small_size

_BALANCED: Table = {"sampler": {"kind": "class-balanced"}}
_CRT: Table = {"learn": "classifier", "reset_classifier": True}
_LWS: Table = {"learn": "scales"}
_FACTORS: Table = {"classifier": "scaled"}


def crt_r50_1x() -> Table:
    """cRT of Kang: a new class layer, 90,000 iterations from a baseline-r50 run; no number in CLIS."""
    return {"detector": full_size("resnet50"), "data": {**LVIS, **_BALANCED}, "train": _full(_CRT)}


def lws_r50_1x() -> Table:
    """LWS of Kang: a factor for each class, 90,000 iterations from a baseline-r50 run; no number in CLIS."""
    return {"detector": full_size("resnet50", _FACTORS), "data": {**LVIS, **_BALANCED}, "train": _full(_LWS)}


def crt_small() -> Table:
    """cRT of Kang, a third of the iterations from baseline-small, MobileNetV2 at 256 px; no number in CLIS."""
    return _small(_CRT)


def lws_small() -> Table:
    """LWS of Kang, a third of the iterations from baseline-small, MobileNetV2 at 256 px; no number in CLIS."""
    return _small(_LWS, _FACTORS)


DECOUPLED_PRESETS: dict[str, Callable[[], Table]] = {
    "crt-r50-1x": crt_r50_1x,
    "lws-r50-1x": lws_r50_1x,
    "crt-small": crt_small,
    "lws-small": lws_small,
}


def _full(learn: Table) -> Table:
    return {**sgd(90_000), "lr": 0.01, **learn}


def _small(learn: Table, head: Table | None = None) -> Table:
    return {
        "detector": small_size(head),
        "data": {**SMALL_DATA, **_BALANCED},
        "method": SMALL_METHOD,
        "train": {**SMALL_TRAIN, "iterations": 500, "warmup": 50, **learn},
    }
