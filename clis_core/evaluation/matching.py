"""Judged detections and objects in; which object each detection has found, out.

The matching of lvis and pycocotools: the detections of a class in an image choose in the order of their scores, each
the object of largest IoU that is still free. P pairs of a detection and an object of its class in its image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.judged import Judged, Objects, ranks_in_runs

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
FOREGROUND = 0.5
"""IoU from which on a detection has found an object."""
CHUNK = 1 << 18
"""Pairs that are looked at at a time."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs with an IoU of 0.5 or more, by detection, each one's best object first.

    Attributes:
        detection: int64 ``[P]``, place in `Judged`.
        object: int64 ``[P]``, place in `Objects`.
        iou: float64 ``[P]``.
    """

    detection: NDArray[np.int64]
    object: NDArray[np.int64]
    iou: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matches:
    """What each detection turned out to be; one that is neither right nor wrong does not count.

    Attributes:
        object: int64 ``[K]``, the object that was found, or -1.
        right: bool ``[K]``.
        wrong: bool ``[K]``.
    """

    object: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> Matches:
        """Those of the detections that are marked in ``kept``, bool ``[K]``."""
        return Matches(self.object[kept], self.right[kept], self.wrong[kept])


def pairs_of(judged: Judged, objects: Objects) -> Pairs:
    """The pairs that can match at any threshold."""
    first = np.searchsorted(objects.keys, judged.keys)
    last = np.searchsorted(objects.keys, judged.keys, side="right")
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for d, g in joined(first, last):
        iou = ious(judged.xywh[d], objects.xywh[g], objects.crowd[g])
        near = iou >= FOREGROUND
        parts.append((d[near], g[near], iou[near]))
    d, g, iou = (np.concatenate(column) for column in zip(*parts, strict=True))
    # Objects that count come before ignored ones; of equal IoUs the engines take the later object.
    order = np.lexsort((-g, -iou, objects.ignored[g], d))
    return Pairs(d[order], g[order], iou[order])


def match(pairs: Pairs, judged: Judged, objects: Objects, threshold: float = FOREGROUND) -> Matches:
    """Let detections choose objects; the first choices of all classes and images at once, then the second, ...

    Args:
        pairs: of `pairs_of`.
        judged: K detections.
        objects: M objects.
        threshold: least IoU, 0.5 or more.
    """
    near = pairs.iou >= min(threshold, 1 - 1e-10)  # as the engines have it
    d, g = pairs.detection[near], pairs.object[near]
    choosers, place = np.unique(d, return_inverse=True)
    turn = ranks_in_runs(judged.keys[choosers])[place]
    order = np.argsort(turn, kind="stable")
    d, g, turn = d[order], g[order], turn[order]
    found = np.full(len(judged), -1, dtype=np.int64)
    taken = np.zeros(len(objects.category), dtype=np.bool_)
    turns = int(turn[-1]) + 1 if len(turn) else 0
    bounds = np.searchsorted(turn, np.arange(turns + 1)).tolist()
    for start, stop in pairwise(bounds):
        here, there = d[start:stop], g[start:stop]
        free = ~taken[there] | objects.crowd[there]
        here, there = here[free], there[free]
        best = np.concatenate([[True], here[1:] != here[:-1]])[: len(here)]
        found[here[best]] = there[best]
        taken[there[best]] = True
    matched = found >= 0
    counts = matched & ~objects.ignored[found] if len(objects.category) else matched
    return Matches(found, counts, ~matched & ~judged.excused)


def joined(first: NDArray[np.int64], last: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Every i with each of ``first[i]`` to ``last[i] - 1``, some pairs at a time, an i's pairs always together.

    Yields:
        The i and what it is paired with, int64 ``[p]`` each.
    """
    counts = last - first
    some = np.flatnonzero(counts)
    ends = np.cumsum(counts[some])
    start = 0
    while start < len(some):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
        members = some[start:stop]
        many = counts[members]
        left = np.repeat(members, many)
        offsets = np.arange(len(left)) - np.repeat(np.cumsum(many) - many, many)
        yield left, first[left] + offsets
        start = stop


def ious(
    detections: NDArray[np.float64], objects: NDArray[np.float64], crowd: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """IoU of boxes in pairs, float64 ``[p]``, in the order of operations of pycocotools, hence equal to the last bit.

    Args:
        detections: ``[p, 4]``, x, y, width, height in pixels.
        objects: ``[p, 4]``.
        crowd: bool ``[p]``; where set, the share of the detection inside the object.
    """
    x, y, width, height = detections.T
    x2, y2, width2, height2 = objects.T
    across = np.minimum(width + x, width2 + x2) - np.maximum(x, x2)
    down = np.minimum(height + y, height2 + y2) - np.maximum(y, y2)
    common = np.where((across > 0) & (down > 0), across * down, 0.0)
    area = width * height
    whole = area + width2 * height2 - common
    if crowd is not None:
        whole = np.where(crowd, area, whole)
    iou: NDArray[np.float64] = np.divide(common, whole, out=np.zeros(len(common)), where=common > 0)
    return iou
