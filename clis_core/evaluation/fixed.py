"""Detections without a cap on an image in, AP_fixed and AP_pool out.

Dave et al. 2021, "Evaluating large-vocabulary object detectors: the devil is in the details": a cap on the detections
of an image makes classes compete for places, so that AP rewards a detector for leaving seldom classes out. Under
AP_fixed the best 10,000 detections of each class over the whole data set count, however many are in one image, and each
class is judged on its own; under AP_pool the same detections are in one ranking, which asks for scores that can be
compared between classes.

K detections that are judged, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import judged_of, objects_of
from clis_core.evaluation.matching import IOU_THRESHOLDS, match, pairs_of
from clis_core.evaluation.precision import Ranking
from clis_core.evaluation.rows import top_per_image

PER_CLASS = 10_000
"""Detections of a class that count, over all images."""


def top_per_class(detections: Detections, most: int) -> NDArray[np.bool_]:
    """Which detections are among the best of their class, bool ``[K]``; of equal scores the earlier are the better."""
    return top_per_image(detections.category_ids.astype(np.int64), detections.scores, most)


def short_classes(truth: GroundTruth, detections: Detections, most: int) -> tuple[int, int]:
    """How many classes of the ground truth have fewer than ``most`` detections, and the fewest that one has."""
    ids, counts = np.unique(detections.category_ids, return_counts=True)
    of = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    each = [of.get(i, 0) for i in truth.category_ids.tolist()]
    return sum(n < most for n in each), min(each)


def pooled(
    truth: GroundTruth, detections: Detections, counted: NDArray[np.bool_], groups: Mapping[int, Group]
) -> dict[str, float | None]:
    """AP_pool in percent points: of all classes in one ranking, and of those of each group in one ranking.

    Detections are matched within their class. Group rankings hold the detections and the objects of their classes.

    Args:
        truth: the ground truth.
        detections: the best of each class.
        counted: which of them count, by `counted_detections` without a cap.
        groups: ``r``, ``c`` or ``f`` by category id.
    """
    objects, judged = objects_of(truth), judged_of(truth, detections, counted, capped=False)
    pairs = pairs_of(judged, objects)
    matches = [match(pairs, judged, objects, threshold) for threshold in IOU_THRESHOLDS.tolist()]
    # Of equal scores the engines' order goes first: by image, then by class.
    order = np.lexsort((judged.category, judged.image))
    group = np.array([groups.get(i, "") for i in truth.category_ids.tolist()])
    everything = np.ones(len(group), dtype=np.bool_)
    values: dict[str, float | None] = {}
    for name, members in [("AP_pool", everything), *((f"AP{g}_pool", group == g) for g in "rcf")]:
        many = int(objects.per_class[members].sum())
        rows = order[members[judged.category[order]]]
        ranking = Ranking(np.zeros(len(rows), dtype=np.int64), judged.score[rows], 1)
        curves = [ranking.precision(m.right[rows], m.wrong[rows], np.array([many])) for m in matches]
        values[name] = float(np.mean(curves)) * 100 if many else None
    return values
