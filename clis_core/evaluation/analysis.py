"""Judged detections in; the class table, the mistakes and the calibration as json-able records out.

C classes. The records are the files that `clis eval` writes; docs/evaluation.md describes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.evaluation.calibration import BINS, Calibration, calibrate
from clis_core.evaluation.confusions import Confusion, count_confusions, taken_for
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import Judged, Objects, judged_of, objects_of
from clis_core.evaluation.matching import FOREGROUND, Matches, match, pairs_of
from clis_core.evaluation.mistakes import BACKGROUND, KINDS, Mistakes, costs, find_mistakes
from clis_core.evaluation.precision import Ranking, mean_of_classes
from clis_core.evaluation.thresholds import best_thresholds

SCORE_CUT = 0.05
"""Mistakes and calibration look at detections with at least this score."""
CONFUSIONS = 5
"""Classes that a class is confused with, at most, in the records."""
VERSION = 1
Record = dict[str, Any]


class Analysis:
    """What the records are made of.

    Args:
        truth: the ground truth.
        detections: any.
        counted: which of them count, by `counted_detections`.
        groups: ``r``, ``c`` or ``f`` by category id.
        images: training images by category id, where known.
        score_cut: detections below it are in the class table alone.
    """

    def __init__(
        self,
        truth: GroundTruth,
        detections: Detections,
        counted: NDArray[np.bool_],
        groups: Mapping[int, Group],
        images: Mapping[int, int],
        score_cut: float = SCORE_CUT,
    ) -> None:
        self._truth = truth
        self._detections = detections
        self._images = images
        self._score_cut = score_cut
        self._ids: list[int] = truth.category_ids.tolist()
        self._groups: list[Group | None] = [groups.get(i) for i in self._ids]
        self._objects: Objects = objects_of(truth)
        self._judged: Judged = judged_of(truth, detections, counted)
        self._matches: Matches = match(pairs_of(self._judged, self._objects), self._judged, self._objects)

    def records(self, ap: Mapping[int, float | None]) -> dict[str, Record]:
        """The records by the names of their files.

        Args:
            ap: by category id, percent points.
        """
        records = {"per_class": self._per_class(ap), "mistakes": self._mistakes()}
        scores = self._judged.score
        if not len(scores) or (scores.min() >= 0 and scores.max() <= 1):
            records["calibration"] = self._calibration()
        return {
            name: {"format": f"clis-{name.replace('_', '-')}", "version": VERSION, **self._about(), **record}
            for name, record in records.items()
        }

    def _about(self) -> Record:
        return {"ground_truth": str(self._truth.path), "protocol": self._truth.protocol}

    def _members(self) -> dict[str, list[int]]:
        """Places of the classes of each group."""
        groups = {"all": list(range(len(self._ids)))}
        return groups | {g: [c for c, group in enumerate(self._groups) if group == g] for g in "rcf"}

    def _class(self, c: int) -> Record:
        return {"id": self._ids[c], "name": self._truth.names[c], "group": self._groups[c]}

    def _per_class(self, ap: Mapping[int, float | None]) -> Record:
        objects, judged, matches, many = self._objects, self._judged, self._matches, len(self._ids)
        ranking = Ranking(judged.category, judged.score, many)
        curve = ranking.precision(matches.right, matches.wrong, objects.per_class)
        thresholds = best_thresholds(ranking, judged.score, matches.right, matches.wrong, objects.per_class)
        counts = {
            "images": np.bincount(
                np.unique(objects.keys[~objects.ignored]) // len(self._truth.image_ids), minlength=many
            ),
            "objects": objects.per_class,
            "detections": _count_ids(self._detections.category_ids, self._truth.category_ids),
            "judged": np.bincount(judged.category, minlength=many),
        }
        columns = {name: column.tolist() for name, column in counts.items()}
        classes = [
            {
                **self._class(c),
                "train_images": self._images.get(self._ids[c]),
                **{name: column[c] for name, column in columns.items()},
                "AP": ap[self._ids[c]],
                "AP50": mean_of_classes(curve, [c]),
                "best_f1": threshold._asdict() if threshold else None,
            }
            for c, threshold in enumerate(thresholds)
        ]
        return {"iou": FOREGROUND, "classes": classes}

    def _calibration(self) -> Record:
        kept = (self._matches.right | self._matches.wrong) & (self._judged.score >= self._score_cut)
        score, right = self._judged.score[kept], self._matches.right[kept]
        group = np.array([g or "" for g in self._groups])[self._judged.category[kept]]
        groups = {"all": calibrate(score, right)}
        groups |= {g: calibrate(score[group == g], right[group == g]) for g in "rcf"}
        return {
            "iou": FOREGROUND,
            "score_cut": self._score_cut,
            "bins": BINS,
            "groups": {name: _calibration_record(value) for name, value in groups.items()},
        }

    def _mistakes(self) -> Record:
        kept = self._judged.score >= self._score_cut
        judged = self._judged.only(kept)
        matches = self._matches.only(kept)
        mistakes = find_mistakes(judged, self._objects, matches)
        curves = costs(judged, self._objects, matches, mistakes)
        now = {name: mean_of_classes(curves["now"], places) for name, places in self._members().items()}
        counts = _Counts(judged, self._objects, matches, mistakes)
        groups = {
            name: {
                "AP50": now[name],
                **counts.record(places),
                "dAP50": {
                    kind: _minus(mean_of_classes(curve, places), now[name])
                    for kind, curve in curves.items()
                    if kind != "now"
                },
            }
            for name, places in self._members().items()
        }
        return {
            "iou_foreground": FOREGROUND,
            "iou_background": BACKGROUND,
            "score_cut": self._score_cut,
            "groups": groups,
            "classes": self._classes_of_mistakes(judged, mistakes, counts),
        }

    def _classes_of_mistakes(self, judged: Judged, mistakes: Mistakes, counts: _Counts) -> list[Record]:
        objects = self._objects
        lost = ~mistakes.found & ~objects.ignored
        called = taken_for(self._truth, self._detections, objects, lost, self._score_cut)
        some = np.flatnonzero(called >= 0)
        taken = count_confusions(objects.category[some], called[some], CONFUSIONS)
        wrong = np.flatnonzero(mistakes.kind == KINDS.index("Cls"))
        given = count_confusions(judged.category[wrong], objects.category[mistakes.target[wrong]], CONFUSIONS)
        return [
            {
                **self._class(c),
                **counts.record([c]),
                "taken_for": [self._confusion(x, "objects") for x in taken.get(c, ())],
                "given_to": [self._confusion(x, "detections") for x in given.get(c, ())],
            }
            for c in range(len(self._ids))
        ]

    def _confusion(self, confusion: Confusion, what: str) -> Record:
        return {**self._class(confusion.other), what: confusion.times}


class _Counts:
    """Detections and objects of each class by what became of them."""

    def __init__(self, judged: Judged, objects: Objects, matches: Matches, mistakes: Mistakes) -> None:
        many = len(objects.per_class)

        def of(categories: NDArray[np.int64], marked: NDArray[np.bool_]) -> NDArray[np.int64]:
            return np.bincount(categories[marked], minlength=many)

        def split(categories: NDArray[np.int64], kind: NDArray[np.int8], names: tuple[str, ...]) -> dict[str, Any]:
            return {name: of(categories, kind == KINDS.index(name)) for name in names}

        self._detections = {
            "right": of(judged.category, matches.right),
            "not_judged": of(judged.category, ~matches.right & ~matches.wrong),
            **split(judged.category, mistakes.kind, KINDS),
        }
        self._objects = {
            "all": objects.per_class,
            "found": of(objects.category, mistakes.found),
            **split(objects.category, mistakes.covered, ("Cls", "Loc")),
            "Miss": of(objects.category, mistakes.missed(objects)),
        }

    def record(self, places: list[int]) -> Record:
        """Sums over classes."""
        return {
            what: {name: int(column[places].sum()) for name, column in columns.items()}
            for what, columns in (("detections", self._detections), ("objects", self._objects))
        }


def _count_ids(ids: NDArray[np.int32], category_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    known, counts = np.unique(ids, return_counts=True)
    place = np.searchsorted(category_ids, known)
    there = np.isin(known, category_ids)
    result = np.zeros(len(category_ids), dtype=np.int64)
    result[place[there]] = counts[there]
    return result


def _calibration_record(calibration: Calibration) -> Record:
    record = calibration._asdict()
    names = {"ece": "ECE", "mce": "MCE"}
    record = {names.get(name, name): value for name, value in record.items()}
    return {**record, "bins": [entry._asdict() for entry in calibration.bins]}


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
