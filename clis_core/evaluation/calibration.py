"""Scores of right and wrong detections in; how far a score can be taken for a probability, out.

The expected calibration error of Guo et al. 2017, "On calibration of modern neural networks", with the precision of
detections in the place of accuracy (Kueppers et al. 2020, "Multivariate confidence calibration for object detection").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 20


class Bin(NamedTuple):
    """Detections with scores from ``low`` (included) to ``high`` (the last bin includes 1).

    Attributes:
        low: 0..1.
        high: 0..1.
        detections: how many.
        mean_score: of them, 0..1.
        precision: share of right ones, 0..1.
    """

    low: float
    high: float
    detections: int
    mean_score: float
    precision: float


class Calibration(NamedTuple):
    """Reliability of scores.

    Attributes:
        detections: how many, right or wrong.
        mean_score: of all of them, 0..1; None without detections, as the following.
        precision: share of right ones; scores below it are too low, scores above it too high.
        ece: mean over the detections of the gap between precision and mean score in their bin.
        mce: the largest gap.
        bins: those that hold detections, rising.
    """

    detections: int
    mean_score: float | None
    precision: float | None
    ece: float | None
    mce: float | None
    bins: list[Bin]


def calibrate(score: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> Calibration:
    """Compare scores with how often they are right, in `BINS` bins of equal width.

    Args:
        score: ``[K]``, 0..1, of detections that are right or wrong.
        right: bool ``[K]``.
    """
    count = len(score)
    if not count:
        return Calibration(0, None, None, None, None, [])
    edges = np.arange(BINS + 1) / BINS
    place = np.minimum(np.searchsorted(edges, score, side="right") - 1, BINS - 1)
    many = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, weights=score, minlength=BINS)
    hits = np.bincount(place, weights=right, minlength=BINS)
    filled = np.flatnonzero(many)
    mean, precision = sums[filled] / many[filled], hits[filled] / many[filled]
    gaps = np.abs(precision - mean)
    columns = (edges[filled], edges[filled + 1], many[filled], mean, precision)
    return Calibration(
        detections=count,
        mean_score=float(sums.sum() / count),
        precision=float(hits.sum() / count),
        ece=float((gaps * many[filled]).sum() / count),
        mce=float(gaps.max()),
        bins=[Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)],
    )
