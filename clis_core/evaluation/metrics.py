"""Precision and recall of every class in, the numbers that papers print out.

T IoU thresholds, R recall thresholds, C classes, A area ranges, M caps on detections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group

Protocol = Literal["lvis", "coco", "voc"]
Engine = Literal["hotcoco", "lvis", "pycocotools", "voc"]

IOU_50, IOU_75 = 0, 5
"""Where 0.50 and 0.75 stand among the thresholds 0.50, 0.55, ..., 0.95."""
AREAS = {"": 0, "s": 1, "m": 2, "l": 3}
"""All, below 32², 32² to 96², above 96² square pixels."""


@dataclass(frozen=True)
class Metrics:
    """What an evaluation found.

    Attributes:
        values: percent points (0..100) by name; None where no object of that kind is in the ground truth.
            Both protocols: AP, AP50, AP75, APs, APm, APl and APr, APc, APf (rare, common, frequent).
            LVIS: AR@300, ARs@300, ARm@300, ARl@300 (300 detections an image).
            COCO: AR@1, AR@10, AR@100, ARs@100, ARm@100, ARl@100 (detections of a class in an image).
            VOC: AP, AP50, AP75, AP50_11 and APr, APc, APf (`clis_core.evaluation.voc`).
            Of detectors with masks: the same of masks, AP_mask, APr_mask, ...
            Where asked for: AP_fixed, APr_fixed, ... and AP_pool, APr_pool, ... (`clis_core.evaluation.fixed`).
        per_class: AP in percent points by category id; None where the class has no objects.
        engine: what computed it.
        protocol: ``lvis`` (federated), ``coco`` or ``voc``.
        notes: what a reader of the numbers should know, such as boxes left out.
        records: json-able, by the names of the files that `clis eval` makes of them: ``per_class``, ``mistakes``,
            ``calibration`` (`clis_core.evaluation.analysis`). Empty where only metrics were asked for.
    """

    values: dict[str, float | None]
    per_class: dict[int, float | None]
    engine: Engine
    protocol: Protocol
    notes: list[str] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Curves:
    """What every engine hands over; entries of classes without objects are -1.

    Attributes:
        precision: float64 ``[T, R, C, A, M]``, 0..1, the largest precision at that recall or beyond.
        recall: float64 ``[T, C, A, M]``, 0..1, with all detections of the cap.
        category_ids: the C category ids.
        caps: the M caps.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    category_ids: list[int]
    caps: list[int]


def summarise(curves: Curves, groups: Mapping[int, Group]) -> tuple[dict[str, float | None], dict[int, float | None]]:
    """Average the curves as lvis and pycocotools do: over all entries of classes that have objects.

    Args:
        curves: of any engine.
        groups: ``r``, ``c`` or ``f`` by category id; a class that it lacks counts in none of the three.

    Returns:
        Metrics.values and Metrics.per_class.
    """
    precision = curves.precision[..., -1]  # [T, R, C, A]: AP is at the largest cap
    values: dict[str, float | None] = {
        "AP": _mean(precision[..., 0]),
        "AP50": _mean(precision[IOU_50, ..., 0]),
        "AP75": _mean(precision[IOU_75, ..., 0]),
    }
    for area in "sml":
        values[f"AP{area}"] = _mean(precision[..., AREAS[area]])
    for group in "rcf":
        members = [i for i, c in enumerate(curves.category_ids) if groups.get(c) == group]
        values[f"AP{group}"] = _mean(precision[:, :, members, 0])
    for m, cap in enumerate(curves.caps):
        values[f"AR@{cap}"] = _mean(curves.recall[..., 0, m])
    for area in "sml":
        values[f"AR{area}@{curves.caps[-1]}"] = _mean(curves.recall[..., AREAS[area], -1])
    return values, {c: _mean(precision[:, :, i, 0]) for i, c in enumerate(curves.category_ids)}


def _mean(entries: NDArray[np.float64]) -> float | None:
    present = entries[entries > -1]
    return float(np.mean(present)) * 100 if len(present) else None
