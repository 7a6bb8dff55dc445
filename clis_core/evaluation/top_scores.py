"""Scores by class in, some at a time; the score that the best of each class have reached, out.

C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.judged import ranks_in_runs


class TopScores:
    """The best scores of each class so far, in memory that does not grow.

    Args:
        classes: C.
        most: how many of each class are the best.

    Attributes:
        floors: float32 ``[C]``, reached by at least ``most`` scores of the class that were given so far; minus
            infinity where there were fewer. They lag behind by up to a quarter of ``most`` scores.
        counts: int64 ``[C]``, scores that were given.
    """

    def __init__(self, classes: int, most: int) -> None:
        self._most = most
        self._best = np.full((classes, most + max(1, most // 4)), -np.inf, dtype=np.float32)
        self._filled = np.zeros(classes, dtype=np.int64)
        self.floors = np.full(classes, -np.inf, dtype=np.float32)
        self.counts = np.zeros(classes, dtype=np.int64)

    def add(self, category: NDArray[np.int64], score: NDArray[np.float32]) -> None:
        """Take in scores ``[k]`` of classes ``[k]`` (places 0..C - 1)."""
        self.counts += np.bincount(category, minlength=len(self.counts))
        while True:
            better = score > self.floors[category]
            category, score = category[better], score[better]
            order = np.argsort(category, kind="stable")
            category, score = category[order], score[order]
            place = self._filled[category] + ranks_in_runs(category)
            fits = place < self._best.shape[1]
            self._best[category[fits], place[fits]] = score[fits]
            self._filled += np.bincount(category[fits], minlength=len(self._filled))
            if fits.all():
                return
            self._compact(np.flatnonzero(self._filled == self._best.shape[1]))
            category, score = category[~fits], score[~fits]

    def settle(self) -> NDArray[np.float32]:
        """The floors up to date: the score of the best ``most`` of each class that comes last."""
        self._compact(np.flatnonzero(self._filled >= self._most))
        return self.floors

    def above(self) -> NDArray[np.int64]:
        """How many scores of each class are above its floor, int64 ``[C]``; after `settle`."""
        valid = np.arange(self._best.shape[1]) < self._filled[:, None]
        above: NDArray[np.int64] = ((self._best > self.floors[:, None]) & valid).sum(axis=1)
        return above

    def _compact(self, rows: NDArray[np.int64]) -> None:
        cut = self._best.shape[1] - self._most
        for row in rows.tolist():
            filled = self._filled[row]
            self._best[row, filled:] = -np.inf
            self._best[row] = np.partition(self._best[row], cut)[::-1]  # the best come first
            self.floors[row] = self._best[row, self._most - 1]
            self._filled[row] = self._most
