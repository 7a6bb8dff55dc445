"""Matched detections and objects in; what kind of mistake each wrong detection is, and what it costs, out.

The kinds of TIDE (Bolya et al. 2020, "TIDE: A general toolbox for identifying object detection errors", sec. 2.2):
f = 0.5 is the IoU of the foreground, b = 0.1 that of the background. A wrong detection is the first of these that fits:

    Loc   b <= IoU < f with an object of its class;
    Cls   IoU >= f with an object of another class;
    Dupe  IoU >= f with an object of its class, which a better detection has found;
    Bkg   IoU < b with every object;
    Both  all others: IoU >= b with objects of other classes alone, but < f.

An object that is neither found nor what a Loc or a Cls was meant for is a Miss.

K detections that are judged, M objects, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.judged import Judged, Objects
from clis_core.evaluation.matching import FOREGROUND, Matches, ious, joined
from clis_core.evaluation.precision import Ranking

BACKGROUND = 0.1
Kind = Literal["Cls", "Loc", "Both", "Dupe", "Bkg"]
KINDS: tuple[Kind, ...] = ("Cls", "Loc", "Both", "Dupe", "Bkg")
NONE = -1


@dataclass(frozen=True, eq=False)
class Mistakes:
    """Every wrong detection by kind, every object by what became of it.

    Attributes:
        kind: int8 ``[K]``, place in `KINDS`; -1 for a detection that is not wrong.
        target: int64 ``[K]``, the object that a Cls, Loc or Dupe was meant for; else -1.
        found: bool ``[M]``.
        covered: int8 ``[M]``: of an object that was not found, the kind (Cls or Loc) of the best detection that was
            meant for it, as a place in `KINDS`; else -1.
    """

    kind: NDArray[np.int8]
    target: NDArray[np.int64]
    found: NDArray[np.bool_]
    covered: NDArray[np.int8]

    def missed(self, objects: Objects) -> NDArray[np.bool_]:
        """Objects of which no detection was right, wrong in its class alone, or wrong in its place alone: ``[M]``."""
        missed: NDArray[np.bool_] = ~self.found & (self.covered == NONE) & ~objects.ignored
        return missed


def find_mistakes(judged: Judged, objects: Objects, matches: Matches) -> Mistakes:
    """Tell the kind of every wrong detection.

    Args:
        judged: K detections.
        objects: M objects; ignored ones are nothing to be mistaken about.
        matches: at an IoU of 0.5.
    """
    own, own_object, other, other_object = _nearest(judged, objects, np.flatnonzero(matches.wrong))
    kind = np.full(len(judged), NONE, dtype=np.int8)
    choices: list[tuple[Kind, NDArray[np.bool_]]] = [
        ("Loc", (own >= BACKGROUND) & (own < FOREGROUND)),
        ("Cls", other >= FOREGROUND),
        ("Dupe", own >= FOREGROUND),
        ("Bkg", np.maximum(own, other) < BACKGROUND),
        ("Both", np.ones(len(judged), dtype=np.bool_)),
    ]
    for name, fits in choices:
        kind[matches.wrong & (kind == NONE) & fits] = KINDS.index(name)
    target = np.where(_is(kind, "Cls"), other_object, np.where(_is(kind, "Loc", "Dupe"), own_object, NONE))
    found = np.zeros(len(objects.category), dtype=np.bool_)
    found[matches.object[matches.right]] = True
    covered = np.full(len(found), NONE, dtype=np.int8)
    best = _best_of_target(np.flatnonzero(_is(kind, "Cls", "Loc")), target, judged.score)
    covered[target[best]] = kind[best]
    covered[found] = NONE
    return Mistakes(kind, target, found, covered)


def costs(judged: Judged, objects: Objects, matches: Matches, mistakes: Mistakes) -> dict[str, NDArray[np.float64]]:
    """Precision curves ``[C, 101]`` as they are ("now") and with one kind of mistake put right, each on its own.

    Cls: the detection gets the class of its object; Loc: its place. Where several detections then find the same
    object, the best-scored one is right and the others go. Both, Dupe, Bkg: the detection goes. Miss: the missed
    objects need not be found. FalsePos: all wrong detections go. FalseNeg: no object that was not found needs to be.

    A class is -1 if it has no object (that needs to be found).
    """
    ranking = Ranking(judged.category, judged.score, len(objects.per_class))
    right, wrong = matches.right, matches.wrong
    curves = {"now": ranking.precision(right, wrong, objects.per_class)}
    for kind in KINDS:
        of_kind = _is(mistakes.kind, kind)
        if kind in ("Both", "Dupe", "Bkg"):
            curves[kind] = ranking.precision(right, wrong & ~of_kind, objects.per_class)
            continue
        mended = _mend(np.flatnonzero(of_kind), judged, matches, mistakes)
        category = judged.category
        if kind == "Cls":
            moved = np.flatnonzero(mended & of_kind)
            category = category.copy()
            category[moved] = objects.category[mistakes.target[moved]]
            ranking_of_kind = Ranking(category, judged.score, len(objects.per_class))
        else:
            ranking_of_kind = ranking
        curves[kind] = ranking_of_kind.precision(mended, wrong & ~of_kind, objects.per_class)
    missed = np.bincount(objects.category[mistakes.missed(objects)], minlength=len(objects.per_class))
    curves["Miss"] = ranking.precision(right, wrong, objects.per_class - missed)
    curves["FalsePos"] = ranking.precision(right, np.zeros_like(wrong), objects.per_class)
    found = np.bincount(objects.category[mistakes.found], minlength=len(objects.per_class))
    curves["FalseNeg"] = ranking.precision(right, wrong, found)
    return curves


def _mend(wrong: NDArray[np.int64], judged: Judged, matches: Matches, mistakes: Mistakes) -> NDArray[np.bool_]:
    """Which detections are right, bool ``[K]``, once those in ``wrong`` stand at their targets."""
    right = matches.right.copy()
    finder = np.full(len(mistakes.found), NONE, dtype=np.int64)
    finders = np.flatnonzero(matches.right)
    finder[matches.object[finders]] = finders
    best = _best_of_target(wrong, mistakes.target, judged.score)
    rival = finder[mistakes.target[best]]
    wins = (rival == NONE) | (judged.score[best] > judged.score[rival])
    right[rival[wins & (rival != NONE)]] = False
    right[best[wins]] = True
    return right


def _best_of_target(
    members: NDArray[np.int64], target: NDArray[np.int64], score: NDArray[np.floating[Any]]
) -> NDArray[np.int64]:
    """Of the detections ``members`` the best-scored one for each target; of equal scores the first."""
    order = members[np.lexsort((-score[members], target[members]))]
    starts = np.append(True, np.diff(target[order]) != 0)[: len(order)]
    best: NDArray[np.int64] = order[starts]
    return best


def _is(kind: NDArray[np.int8], *names: Kind) -> NDArray[np.bool_]:
    return np.isin(kind, [KINDS.index(name) for name in names])


def _nearest(
    judged: Judged, objects: Objects, members: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Largest IoU ``[K]`` with an object of the detection's own class and which, and with one of another and which.

    Only of the detections ``members``; 0 and -1 where there is none.
    """
    real = np.flatnonzero(~objects.ignored)
    real = real[np.argsort(objects.image[real], kind="stable")]
    images = objects.image[real]
    members = members[np.argsort(judged.image[members], kind="stable")]
    first = np.searchsorted(images, judged.image[members])
    last = np.searchsorted(images, judged.image[members], side="right")
    iou = np.zeros((2, len(judged)))
    which = np.full((2, len(judged)), NONE, dtype=np.int64)
    for i, j in joined(first, last):
        d, g = members[i], real[j]
        overlap = ious(judged.xywh[d], objects.xywh[g])
        own = judged.category[d] == objects.category[g]
        for side, values in enumerate((np.where(own, overlap, 0.0), np.where(own, 0.0, overlap))):
            largest, place = largest_of_runs(values, i)
            some = largest > 0
            iou[side, d[place[some]]] = largest[some]
            which[side, d[place[some]]] = g[place[some]]
    return iou[0], which[0], iou[1], which[1]


def largest_of_runs(values: NDArray[Any], keys: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The largest value of each run of equal keys, and its place; of equal values the first."""
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    largest = np.maximum.reduceat(values, starts)
    run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    hits = np.flatnonzero(values == largest[run])
    runs = run[hits]
    return largest, hits[np.append(True, runs[1:] != runs[:-1])]
