"""Right and wrong detections in; precision at 101 recalls, and the average of it, out.

K judged detections, C classes, R = 101 recalls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RECALLS = np.linspace(0.0, 1.0, 101)


class Ranking:
    """Detections by class and falling score.

    Args:
        category: int64 ``[K]``, rising; place of the class.
        score: ``[K]``; of equal ones the earlier goes first.
        classes: C.

    Attributes:
        order: int64 ``[K]``, places in the arrays that came in.
        bounds: int64 ``[C + 1]``; class c has the ranks bounds[c] to bounds[c + 1].
    """

    def __init__(self, category: NDArray[np.int64], score: NDArray[np.floating[Any]], classes: int) -> None:
        order = np.argsort(-score, kind="stable")
        self.order: NDArray[np.int64] = order[np.argsort(category[order], kind="stable")]
        self.bounds = np.searchsorted(category[self.order], np.arange(classes + 1))

    def cumulated(self, marks: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of its class up to each rank are marked: int64 ``[K]``, by rank, from ``marks`` ``[K]`` by place."""
        total = np.concatenate([[0], np.cumsum(marks[self.order])])
        sizes = np.diff(self.bounds)
        before: NDArray[np.int64] = np.repeat(total[self.bounds[:-1]], sizes)
        return total[1:] - before

    def precision(
        self, right: NDArray[np.bool_], wrong: NDArray[np.bool_], objects: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Interpolated precision as lvis and pycocotools compute it, ``[C, R]``; -1 for a class without objects.

        Args:
            right: bool ``[K]``, by place; a detection that is neither right nor wrong does not count.
            wrong: bool ``[K]``.
            objects: int ``[C]``.
        """
        found, mistaken = self.cumulated(right), self.cumulated(wrong)
        curve = np.full((len(objects), len(RECALLS)), -1.0)
        for c in np.flatnonzero(objects).tolist():
            part = slice(self.bounds[c], self.bounds[c + 1])
            curve[c] = precision_at_recalls(found[part], mistaken[part], int(objects[c]))
        return curve


def precision_at_recalls(found: NDArray[np.int64], mistaken: NDArray[np.int64], objects: int) -> NDArray[np.float64]:
    """The largest precision at each recall or beyond, ``[R]``; 0 where the recall is not reached.

    Args:
        found: right detections up to each rank.
        mistaken: wrong ones.
        objects: how many there are.
    """
    recall = found / objects
    precision = found / (mistaken + found + np.spacing(1))
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return best[np.searchsorted(recall, RECALLS, side="left")]


def mean_of_classes(curve: NDArray[np.float64], members: Sequence[int] | slice = slice(None)) -> float | None:
    """Average precision in percent points over classes that have objects; None where there is no such class.

    Args:
        curve: ``[C, R]``.
        members: places of the classes.
    """
    chosen = curve[members]
    present = chosen[chosen > -1]
    return float(np.mean(present)) * 100 if len(present) else None
