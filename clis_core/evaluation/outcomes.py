"""A file of detections and its ground truth in; precision curves and what became of every object out, block by block.

K judged detections, M objects, C classes, R = 101 recalls; everything is at an IoU of 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.blocks import ROWS, read_blocks
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import Judged, Objects, counted_detections, judged_of, objects_of, ranks_in_runs
from clis_core.evaluation.matching import Matches, match, pairs_of
from clis_core.evaluation.mistakes import KINDS, NONE, Mistakes, find_mistakes
from clis_core.evaluation.precision import RECALLS, precision_at_recalls
from clis_core.evaluation.rows import check_detections

What = Literal["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "Lost", "Gained"]
WHAT: tuple[What, ...] = (*KINDS, "Miss", "Lost", "Gained")
"""What can have happened; the places are those of `Incidents.what`. Lost and Gained: found by one run alone."""
KEPT = 8
"""Incidents of a kind and a class that are remembered."""


@dataclass(frozen=True, eq=False)
class Incidents:
    """Things that went wrong, J of them.

    Attributes:
        what: int64 ``[J]``, place in `WHAT`.
        category: int64 ``[J]``, place of the class: of the object for Cls and Miss, else of the detection.
        image: int64 ``[J]``, place of the image among the rising ids.
        weight: float64 ``[J]``, how bad: the score of a wrong detection, or the square pixels of a missed object.
        object: int64 ``[J]``, the object that was meant or missed, or -1.
    """

    what: NDArray[np.int64]
    category: NDArray[np.int64]
    image: NDArray[np.int64]
    weight: NDArray[np.float64]
    object: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.what)

    def worst(self, most: int) -> Incidents:
        """The worst ``most`` of each kind and class, by kind and class; of equally bad ones the earlier image."""
        order = np.lexsort((self.object, self.image, -self.weight, self.category, self.what))
        keys = self.what[order] * (1 + self.category.max(initial=0)) + self.category[order]
        return self.only(order[ranks_in_runs(keys) < most])

    def only(self, places: NDArray[np.int64]) -> Incidents:
        """Those at the places, in that order."""
        return Incidents(**{name: column[places] for name, column in vars(self).items()})

    def plus(self, other: Incidents) -> Incidents:
        """These and the other ones."""
        return Incidents(**{name: np.concatenate([column, vars(other)[name]]) for name, column in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an evaluation's detections come to.

    Attributes:
        precision: float64 ``[C, R]``; -1 for a class without objects.
        found: bool ``[M]``, objects that a detection from the score cut on is right about.
        covered: int8 ``[M]``, as in `Mistakes`.
        incidents: the worst of each kind and class.
    """

    precision: NDArray[np.float64]
    found: NDArray[np.bool_]
    covered: NDArray[np.int8]
    incidents: Incidents


@dataclass(frozen=True, eq=False)
class Verdicts:
    """Some detections, and which of their mistakes are which.

    Attributes:
        detections: all that came in.
        judged: those that are judged, from the score cut on.
        matches: what they have found.
        mistakes: what they, and the objects, came to.
    """

    detections: Detections
    judged: Judged
    matches: Matches
    mistakes: Mistakes


def outcome_of(truth: GroundTruth, path: Path, score_cut: float, *, rows: int = ROWS) -> Outcome:
    """Go through a file of detections.

    Args:
        truth: the ground truth that they were judged by.
        path: of `clis_core.evaluation.detections`.
        score_cut: detections below it are in the curves alone.
        rows: detections that are looked at at a time.

    Raises:
        DataError: the file is damaged, or does not belong to the ground truth.
    """
    objects = objects_of(truth)
    found = np.zeros(len(objects.category), dtype=np.bool_)
    covered = np.full(len(found), NONE, dtype=np.int8)
    incidents = _no_incidents()
    curves = _Curves()
    for block in read_blocks(path, rows):
        check_detections(block, truth)
        near, mine, places = _near(truth, objects, block)
        judged, matches = _judge(near, mine, block)
        curves.add(judged, matches)
        verdicts = _verdicts(block, judged, matches, mine, score_cut)
        found[places] = verdicts.mistakes.found
        covered[places] = verdicts.mistakes.covered
        incidents = incidents.plus(_wrong(verdicts, mine, places)).worst(KEPT)
    covered[found] = NONE
    missed = np.flatnonzero(~found & (covered == NONE) & ~objects.ignored)
    incidents = incidents.plus(about_objects(objects, missed, "Miss")).worst(KEPT)
    return Outcome(curves.precision(objects), found, covered, incidents)


def verdicts_on(truth: GroundTruth, objects: Objects, detections: Detections, score_cut: float) -> Verdicts:
    """Judge the detections of some images.

    Args:
        truth: the ground truth.
        objects: of `objects_of`.
        detections: all of each image that they are of.
        score_cut: detections below it are left out.
    """
    return _verdicts(detections, *_judge(truth, objects, detections), objects, score_cut)


def changes(objects: Objects, before: Outcome, after: Outcome) -> Incidents:
    """Objects that were found before and are not after, and the other way round; the largest of each class."""
    real = ~objects.ignored
    lost = about_objects(objects, np.flatnonzero(before.found & ~after.found & real), "Lost")
    return lost.plus(about_objects(objects, np.flatnonzero(after.found & ~before.found & real), "Gained")).worst(KEPT)


def about_objects(objects: Objects, places: NDArray[np.int64], what: What) -> Incidents:
    """Objects that something happened to, as incidents that weigh what their area is."""
    area = objects.xywh[places, 2] * objects.xywh[places, 3]
    kind = np.full(len(places), WHAT.index(what), dtype=np.int64)
    return Incidents(kind, objects.category[places], objects.image[places], area, places)


def _near(truth: GroundTruth, objects: Objects, block: Detections) -> tuple[GroundTruth, Objects, NDArray[np.int64]]:
    """The same with what is in the images of a block alone, which saves time, and the places of its objects."""
    ids = np.unique(block.image_ids)
    boxes = np.isin(truth.box_image_ids, ids)
    wanted = set(ids.tolist())
    here = [i in wanted for i in truth.image_ids.tolist()]

    def listed(lists: list[list[int] | None]) -> list[list[int] | None]:
        return [(values if i else values and []) for i, values in zip(here, lists, strict=True)]

    columns = ("box_image_ids", "box_category_ids", "xywh", "areas", "crowd", "ignored")
    near = replace(
        truth,
        negatives=listed(truth.negatives),
        not_exhaustive=listed(truth.not_exhaustive),
        **{name: getattr(truth, name)[boxes] for name in columns},
    )
    places = np.flatnonzero(np.isin(objects.image, np.searchsorted(np.sort(truth.image_ids), ids)))
    mine = {name: column[places] for name, column in vars(objects).items() if name != "per_class"}
    return near, replace(objects, **mine), places


def _judge(truth: GroundTruth, objects: Objects, detections: Detections) -> tuple[Judged, Matches]:
    judged = judged_of(truth, detections, counted_detections(truth, detections))
    return judged, match(pairs_of(judged, objects), judged, objects)


def _verdicts(detections: Detections, judged: Judged, matches: Matches, objects: Objects, score_cut: float) -> Verdicts:
    kept = judged.score >= score_cut
    judged, matches = judged.only(kept), matches.only(kept)
    return Verdicts(detections, judged, matches, find_mistakes(judged, objects, matches))


def _wrong(verdicts: Verdicts, objects: Objects, places: NDArray[np.int64]) -> Incidents:
    """Every wrong detection; a Cls is its object's, so that rare objects come first and not rare detections.

    Args:
        verdicts: on some images.
        objects: of these images.
        places: theirs among all.
    """
    judged, mistakes = verdicts.judged, verdicts.mistakes
    wrong = np.flatnonzero(mistakes.kind != NONE)
    kind, target = mistakes.kind[wrong].astype(np.int64), mistakes.target[wrong]
    category = judged.category[wrong].copy()
    other = kind == KINDS.index("Cls")
    category[other] = objects.category[target[other]]
    meant = np.full(len(target), NONE, dtype=np.int64)
    meant[target != NONE] = places[target[target != NONE]]
    return Incidents(kind, category, judged.image[wrong], judged.score[wrong].astype(np.float64), meant)


def _no_incidents() -> Incidents:
    nothing = np.zeros(0, dtype=np.int64)
    return Incidents(nothing, nothing, nothing, np.zeros(0), nothing)


class _Curves:
    """Collects what a precision curve needs of each block."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.int8]]] = []

    def add(self, judged: Judged, matches: Matches) -> None:
        """Remember what each judged detection came to; 1 is right, -1 wrong."""
        sign = matches.right.astype(np.int8) - matches.wrong.astype(np.int8)
        told = sign != 0
        category, image = judged.category[told].astype(np.int32), judged.image[told].astype(np.int32)
        self._parts.append((category, image, judged.score[told], sign[told]))

    def precision(self, objects: Objects) -> NDArray[np.float64]:
        """``[C, R]``, as it would be had all detections come at once."""
        classes = len(objects.per_class)
        if not self._parts:
            return np.repeat(np.where(objects.per_class > 0, 0.0, -1.0)[:, None], len(RECALLS), axis=1)
        category, image, score, sign = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        self._parts.clear()
        order = np.argsort(category, kind="stable")
        bounds = np.searchsorted(category, np.arange(classes + 1), sorter=order)
        curve = np.full((classes, len(RECALLS)), -1.0)
        for c in np.flatnonzero(objects.per_class).tolist():
            mine = order[bounds[c] : bounds[c + 1]]
            mine = mine[np.lexsort((image[mine], -score[mine]))]  # equal scores fall by image, however the file goes
            found, mistaken = np.cumsum(sign[mine] > 0, dtype=np.int64), np.cumsum(sign[mine] < 0, dtype=np.int64)
            curve[c] = precision_at_recalls(found, mistaken, int(objects.per_class[c]))
        return curve
