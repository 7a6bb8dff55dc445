"""Incidents in; which pictures show them, and every box on those pictures with its verdict, out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clis_core.data.segmentation import Rle
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import Objects
from clis_core.evaluation.mistakes import KINDS, NONE
from clis_core.evaluation.outcomes import WHAT, Incidents, Verdicts, What

ORDER: tuple[What, ...] = ("Lost", "Gained", "Cls", "Miss", "Loc", "Bkg", "Dupe", "Both")
"""In which pictures are shown."""
MOST = 12
"""Detections of a picture that are shown, at most, beside those that its incident is about."""
Verdict = Literal["right", "Cls", "Loc", "Both", "Dupe", "Bkg", "not judged"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Example:
    """A picture that shows what happened.

    Attributes:
        what: happened.
        category: place of the class that it happened to.
        image: place of the image among the rising ids.
        object: the object that it happened to, or -1.
    """

    what: What
    category: int
    image: int
    object: int


@dataclass(frozen=True)
class Truth:
    """An object of a picture.

    Attributes:
        category: place of its class.
        box: xyxy, pixels of the original image.
        ignored: whether it does not count (crowds).
        place: among the objects.
    """

    category: int
    box: Box
    ignored: bool
    place: int


@dataclass(frozen=True)
class Shown:
    """A detection of a picture.

    Attributes:
        category: place of its class.
        box: xyxy, pixels of the original image.
        score: of the detector.
        verdict: what it is.
        object: the object that it found or was meant for, or -1.
        mask: the pixels of the original image that it covers, of a detector of masks.
    """

    category: int
    box: Box
    score: float
    verdict: Verdict
    object: int
    mask: Rle | None = None


def choose(incidents: Incidents, groups: Sequence[str | None], most: int) -> list[Example]:
    """Choose pictures: as many of each thing that happened, of rare classes first, of many classes, the worst first.

    Args:
        incidents: of `clis_core.evaluation.outcomes`.
        groups: ``r``, ``c``, ``f`` or None of each class.
        most: pictures.

    Returns:
        No picture twice; in `ORDER`, then by group.
    """
    ranks = np.array([["r", "c", "f", None].index(group) for group in groups], dtype=np.int64)
    queues = {what: _queue(incidents, WHAT.index(what), ranks) for what in ORDER}
    used: set[int] = set()
    chosen: dict[What, list[Example]] = {what: [] for what in ORDER}
    while len(used) < most and any(queues.values()):
        for what, queue in queues.items():
            while queue and queue[-1].image in used:
                queue.pop()
            if queue and len(used) < most:
                example = queue.pop()
                used.add(example.image)
                chosen[what].append(example)
    return [example for what in ORDER for example in chosen[what]]


def _queue(incidents: Incidents, what: int, ranks: np.ndarray) -> list[Example]:
    """The incidents of a kind, the first one last: by group, then by turn in the class, then the worst first."""
    mine = incidents.only(np.flatnonzero(incidents.what == what)).worst(len(incidents))
    turn = np.zeros(len(mine), dtype=np.int64)
    for i in range(1, len(mine)):
        turn[i] = turn[i - 1] + 1 if mine.category[i] == mine.category[i - 1] else 0
    mine = mine.only(np.lexsort((mine.category, -mine.weight, turn, ranks[mine.category]))[::-1])
    columns = zip(mine.category.tolist(), mine.image.tolist(), mine.object.tolist(), strict=True)
    return [Example(WHAT[what], *values) for values in columns]


def truths_of(objects: Objects, image: int) -> list[Truth]:
    """The objects of an image, given by its place."""
    found = []
    for place in np.flatnonzero(objects.image == image).tolist():
        x, y, width, height = objects.xywh[place].tolist()
        box = (x, y, x + width, y + height)
        found.append(Truth(int(objects.category[place]), box, bool(objects.ignored[place]), place))
    return found


def shown_of(truth: GroundTruth, verdicts: Verdicts, example: Example, score_cut: float) -> list[Shown]:
    """The detections of a picture that are shown, the best-scored first.

    Args:
        truth: the ground truth.
        verdicts: on the detections of some images, this one among them.
        example: the picture.
        score_cut: least score.
    """
    detections, judged = verdicts.detections, verdicts.judged
    image_id = np.sort(truth.image_ids)[example.image]
    known = np.isin(detections.category_ids, truth.category_ids)
    rows = np.flatnonzero((detections.image_ids == image_id) & (detections.scores >= score_cut) & known)
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    place_of = {row: place for place, row in enumerate(judged.row.tolist())}
    masks = None if detections.masks is None else detections.masks.records()
    found = []
    for rank, row in enumerate(rows.tolist()):
        verdict, target = _verdict(verdicts, place_of.get(row))
        category = int(np.searchsorted(truth.category_ids, detections.category_ids[row]))
        if example.object != NONE:
            about = target == example.object
        else:
            about = (verdict, category) == (example.what, example.category)
        if rank < MOST or about:
            x, y, width, height = detections.xywh(np.array([row]))[0].tolist()
            box, score = (x, y, x + width, y + height), float(detections.scores[row])
            found.append(Shown(category, box, score, verdict, target, masks[row] if masks else None))
    return found


def _verdict(verdicts: Verdicts, place: int | None) -> tuple[Verdict, int]:
    if place is None:
        return "not judged", NONE
    if verdicts.matches.right[place]:
        return "right", int(verdicts.matches.object[place])
    kind = int(verdicts.mistakes.kind[place])
    return ("not judged", NONE) if kind == NONE else (KINDS[kind], int(verdicts.mistakes.target[place]))
