"""Classes and runs in; the numbers of the page that no file of an evaluation holds, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.precision import RECALLS
from clis_core.page.content import ClassInfo, Report, Run

LINE_POINTS = 200
"""Points of a curve of a log, at most."""
NO_LOSS = ("kind", "time", "step", "skipped", "images_per_second", "data_wait", "memory_mb")
"""Fields of a log's record that no chart shows."""


class Change(NamedTuple):
    """How a class changed from one run to another."""

    place: int
    before: float
    after: float

    @property
    def gain(self) -> float:
        """Percent points."""
        return self.after - self.before


def changes(before: Run, after: Run) -> list[Change]:
    """AP of every class that has one in both runs, the largest gain first; of equal ones the lower place."""
    pairs = enumerate(zip(before.classes, after.classes, strict=True))
    found = [Change(n, a.ap, b.ap) for n, (a, b) in pairs if a.ap is not None and b.ap is not None]
    return sorted(found, key=lambda change: (-change.gain, change.place))


def mean_by_count(classes: Sequence[ClassInfo], run: Run) -> list[tuple[float, float]]:
    """Mean AP of classes with 1, 2-3, 4-7, 8-15, ... training images, at the mean logarithm of their counts."""
    bins: dict[int, list[tuple[float, float]]] = {}
    for info, result in zip(classes, run.classes, strict=True):
        if info.train_images and result.ap is not None:
            bins.setdefault(info.train_images.bit_length(), []).append((float(np.log(info.train_images)), result.ap))
    means = [tuple(np.mean(values, axis=0).tolist()) for _, values in sorted(bins.items())]
    return [(float(np.exp(count)), ap) for count, ap in means]


def mean_curve(precision: NDArray[np.float64], members: Sequence[int]) -> list[tuple[float, float]]:
    """Precision at each recall, both in percent, averaged over classes that have objects."""
    chosen = precision[list(members)]
    chosen = chosen[chosen[:, 0] > -1] if len(chosen) else chosen
    if not len(chosen):
        return []
    return list(zip((100 * RECALLS).tolist(), (100 * chosen.mean(axis=0)).tolist(), strict=True))


def members(report: Report, group: str) -> list[int]:
    """Places of the classes of a group, of all for ``all``."""
    return [n for n, info in enumerate(report.classes) if group in ("all", info.group)]


def curves_of_log(log: Sequence[Mapping[str, Any]], kind: str) -> dict[str, list[tuple[float, float]]]:
    """Values by step for each field of the records of a kind, thinned to means of neighbours.

    Args:
        log: records.
        kind: "train" or "eval".
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in log:
        for name, value in record.items() if record.get("kind") == kind else ():
            if name not in NO_LOSS and isinstance(value, int | float) and np.isfinite(value):
                curves.setdefault(name, []).append((float(record["step"]), float(value)))
    return {name: _thinned(points) for name, points in curves.items()}


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= LINE_POINTS:
        return points
    parts = np.array_split(np.array(points), LINE_POINTS)
    return [(float(step), float(value)) for step, value in (part.mean(axis=0) for part in parts)]
