"""Objects that were not found, and all detections, in; what the detector took them for, out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import LVIS_CAP, Objects
from clis_core.evaluation.matching import FOREGROUND, ious, joined
from clis_core.evaluation.mistakes import largest_of_runs
from clis_core.evaluation.rows import top_per_image


class Confusion(NamedTuple):
    """Something of one class that was given another class.

    Attributes:
        category: place of its class.
        other: place of the class that it was given.
        times: how often.
    """

    category: int
    other: int
    times: int


def taken_for(
    truth: GroundTruth, detections: Detections, objects: Objects, wanted: NDArray[np.bool_], score_cut: float
) -> NDArray[np.int64]:
    """The class that the detector gave to objects: of the best-scored detection of another class on each of them.

    A detection is on an object with an IoU of 0.5 or more. By LVIS most classes are not judged in an image, and a
    detection of such a class is no mistake; it tells all the same what an object was taken for.

    Args:
        truth: the ground truth.
        detections: any.
        objects: M objects.
        wanted: bool ``[M]``, the objects in question.
        score_cut: detections below it do not count.

    Returns:
        int64 ``[M]``, places of classes; -1 where there is no such detection, or the object is not in question.
    """
    rows, images = _by_image(truth, detections, score_cut)
    members = np.flatnonzero(wanted)
    members = members[np.argsort(objects.image[members], kind="stable")]
    first = np.searchsorted(images, objects.image[members])
    last = np.searchsorted(images, objects.image[members], side="right")
    answer = np.full(len(wanted), -1, dtype=np.int64)
    for i, j in joined(first, last):
        start = int(j.min())
        here = rows[start : int(j.max()) + 1]  # of some images, so that little is in memory
        g, d = members[i], j - start
        category = np.searchsorted(truth.category_ids, detections.category_ids[here])[d]
        fits = (category != objects.category[g]) & (ious(detections.xywh(here)[d], objects.xywh[g]) >= FOREGROUND)
        best, place = largest_of_runs(np.where(fits, detections.scores[here][d], -np.inf), i)
        some = best > -np.inf
        answer[g[place[some]]] = category[place[some]]
    return answer


def count_confusions(category: NDArray[np.int64], other: NDArray[np.int64], most: int) -> dict[int, list[Confusion]]:
    """The most frequent pairs by their first class; of equally frequent ones the lower class goes first.

    Args:
        category: ``[n]``, the class of each.
        other: ``[n]``, what it was given.
        most: pairs of a class.
    """
    pairs, counts = np.unique(np.stack([category, other], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    found: dict[int, list[Confusion]] = {}
    for (a, b), times in zip(pairs[order].tolist(), counts[order].tolist(), strict=True):
        kept = found.setdefault(a, [])
        if len(kept) < most:
            kept.append(Confusion(a, b, times))
    return found


def _by_image(
    truth: GroundTruth, detections: Detections, score_cut: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the detections that may tell something, by image, and their images' places, rising."""
    told = (detections.scores >= score_cut) & np.isin(detections.category_ids, truth.category_ids)
    if truth.protocol == "lvis":
        told &= top_per_image(detections.image_ids, detections.scores, LVIS_CAP)
    rows = np.flatnonzero(told)
    images = np.searchsorted(np.sort(truth.image_ids), detections.image_ids[rows])
    order = np.argsort(images, kind="stable")
    return rows[order], images[order]
