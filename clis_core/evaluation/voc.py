"""VOC ground truth and detections in, average precision as VOC has it out.

Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, sec. 4.2. A detection belongs to the object
of its class that it overlaps most. It is right if that overlap (IoU) is large enough and no detection with a higher
score has been so of this object; of a difficult object it is neither right nor wrong; else it is wrong.

K detections, M objects, C classes, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import Judged, Objects, judged_of, objects_of
from clis_core.evaluation.matching import IOU_THRESHOLDS, ious, joined

Floats = NDArray[np.float64]


def by_voc(
    truth: GroundTruth, detections: Detections, groups: Mapping[int, Group], counted: NDArray[np.bool_]
) -> tuple[dict[str, float | None], dict[int, float | None]]:
    """Judge all detections of all images, without a cap.

    Args:
        truth: of VOC.
        detections: any.
        groups: ``r``, ``c`` or ``f`` by category id.
        counted: bool ``[K]``, those of known classes.

    Returns:
        Metrics.values in percent points: AP50, the area under the curve at an IoU of 0.5 (VOC 2010 and later); AP50_11,
        its mean at eleven recalls (VOC 2007); AP75; AP, the mean over 0.50, 0.55, ..., 0.95; APr, APc, APf. And
        Metrics.per_class, by AP. None where there are no objects but difficult ones.
    """
    objects, judged = objects_of(truth), judged_of(truth, detections, counted)
    best, iou = best_objects(judged, objects)
    many = len(truth.category_ids)
    area, eleven = np.full((len(IOU_THRESHOLDS), many), np.nan), np.full(many, np.nan)  # [T, C], [C]
    bounds = np.searchsorted(judged.category, np.arange(many + 1))
    for c in np.flatnonzero(objects.per_class):
        own = slice(bounds[c], bounds[c + 1])
        order = np.argsort(-judged.score[own], kind="stable")
        for t, threshold in enumerate(IOU_THRESHOLDS):
            right, wrong = _right_and_wrong(best[own][order], iou[own][order] >= threshold, objects.ignored)
            recall, precision = _curve(right, wrong, int(objects.per_class[c]))
            area[t, c] = area_under(recall, precision)
            if t == 0:
                eleven[c] = eleven_points(recall, precision)
    ids = truth.category_ids.tolist()
    values = {"AP": _mean(area), "AP50": _mean(area[0]), "AP75": _mean(area[5]), "AP50_11": _mean(eleven)}
    for group in "rcf":
        values[f"AP{group}"] = _mean(area[:, [n for n, i in enumerate(ids) if groups.get(i) == group]])
    return values, {i: _mean(area[:, n]) for n, i in enumerate(ids)}


def best_objects(judged: Judged, objects: Objects) -> tuple[NDArray[np.int64], Floats]:
    """The object of its class in its image that each detection overlaps most, int64 ``[K]``, and the IoU ``[K]``.

    -1 and 0 where there is none; of equal IoUs the first object.
    """
    best, most = np.full(len(judged), -1), np.zeros(len(judged))
    first = np.searchsorted(objects.keys, judged.keys)
    for d, g in joined(first, np.searchsorted(objects.keys, judged.keys, side="right")):
        iou = ious(judged.xywh[d], objects.xywh[g])
        order = np.lexsort((g, -iou, d))
        chosen = order[np.unique(d[order], return_index=True)[1]]
        best[d[chosen]], most[d[chosen]] = g[chosen], iou[chosen]
    return best, most


def area_under(recall: Floats, precision: Floats) -> float:
    """Area under the curve of the largest precision at each recall or beyond; both ``[K]``, recall rising."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def eleven_points(recall: Floats, precision: Floats) -> float:
    """Mean of the largest precision at a recall of 0, 0.1, ..., 1 or beyond; 0 where it is not reached."""
    return float(np.mean([precision[recall >= point].max(initial=0.0) for point in np.arange(11) / 10]))


def _right_and_wrong(
    best: NDArray[np.int64], near: NDArray[np.bool_], difficult: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of a class's detections, the highest score first, bool ``[K]`` each."""
    hard = np.zeros_like(near)
    hard[near] = difficult[best[near]]
    able = np.flatnonzero(near & ~hard)
    right = np.zeros_like(near)
    right[able[np.unique(best[able], return_index=True)[1]]] = True
    return right, ~right & ~hard


def _curve(right: NDArray[np.bool_], wrong: NDArray[np.bool_], count: int) -> tuple[Floats, Floats]:
    """Recall and precision behind each detection, those that do not count left out."""
    counts = right | wrong
    rights = np.cumsum(right[counts])
    return rights / count, rights / np.arange(1, len(rights) + 1)


def _mean(entries: Floats) -> float | None:
    there = entries[~np.isnan(entries)]
    return float(there.mean()) * 100 if len(there) else None
