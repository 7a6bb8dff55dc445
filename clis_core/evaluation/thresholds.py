"""Ranked detections in, the score threshold of each class at which F1 is largest, out.

K detections, C classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.precision import Ranking


class Threshold(NamedTuple):
    """Where to cut the detections of a class.

    Attributes:
        score: detections with this score or a higher one are kept.
        f1: harmonic mean of precision and recall of what is kept, 0..1.
        precision: 0..1.
        recall: 0..1.
    """

    score: float
    f1: float
    precision: float
    recall: float


def best_thresholds(
    ranking: Ranking,
    score: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    objects: NDArray[np.int64],
) -> list[Threshold | None]:
    """The best threshold of each class; of equally good ones the highest.

    Args:
        ranking: of the detections.
        score: ``[K]``, by place.
        right: bool ``[K]``, by place; a detection that is neither right nor wrong does not count.
        wrong: bool ``[K]``.
        objects: int64 ``[C]``.

    Returns:
        C thresholds; None for a class without objects, or of which nothing was found.
    """
    found, mistaken = ranking.cumulated(right), ranking.cumulated(wrong)
    scores = score[ranking.order]
    thresholds: list[Threshold | None] = []
    for c, count in enumerate(objects.tolist()):
        start, stop = int(ranking.bounds[c]), int(ranking.bounds[c + 1])
        if not count or start == stop or not found[stop - 1]:
            thresholds.append(None)
            continue
        here = scores[start:stop]
        # Equal scores are kept or dropped together.
        ends = start + np.flatnonzero(np.append(here[1:] != here[:-1], True))
        kept = found[ends] + mistaken[ends]
        f1 = 2 * found[ends] / (kept + count)
        best = int(np.argmax(f1))
        hits = int(found[ends[best]])
        thresholds.append(Threshold(float(scores[ends[best]]), float(f1[best]), hits / int(kept[best]), hits / count))
    return thresholds
