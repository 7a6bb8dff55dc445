"""Ground truth and detections in; what of them is judged out, as sorted arrays.

K detections that are judged, M objects, N images, C classes. Images and classes are places in rising order of their
ids, so that ties fall as in the engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.rows import top_per_image

LVIS_CAP = 300
"""Detections of an image that count, over all classes (LVIS)."""
COCO_CAP = 100
"""Detections of a class in an image that count (COCO)."""
LARGEST = 1e10
"""Square pixels; the engines' area range "all" ends there."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The boxes of the ground truth, by class, then image, then their order in the file.

    Attributes:
        category: int64 ``[M]``, place of the class.
        image: int64 ``[M]``, place of the image.
        xywh: float64 ``[M, 4]``, pixels.
        ignored: bool ``[M]``; a detection that matches it is neither right nor wrong.
        crowd: bool ``[M]``; any number of detections match it, by their share inside it (COCO).
        keys: int64 ``[M]``, rising: category times N plus image.
        per_class: int64 ``[C]``, objects that are not ignored.
    """

    category: NDArray[np.int64]
    image: NDArray[np.int64]
    xywh: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    keys: NDArray[np.int64]
    per_class: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections that are judged, by class, then image, then falling score; equal scores keep their order.

    Attributes:
        row: int64 ``[K]``, place among all detections.
        category: int64 ``[K]``, place of the class.
        image: int64 ``[K]``, place of the image.
        score: ``[K]``.
        xywh: float64 ``[K, 4]``, pixels.
        excused: bool ``[K]``; unmatched it is not wrong, since the image may hold more of its class than is
            annotated (LVIS), or because it is larger than anything.
        keys: int64 ``[K]``, rising: category times N plus image.
    """

    row: NDArray[np.int64]
    category: NDArray[np.int64]
    image: NDArray[np.int64]
    score: NDArray[np.floating[Any]]
    xywh: NDArray[np.float64]
    excused: NDArray[np.bool_]
    keys: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.row)

    def only(self, kept: NDArray[np.bool_]) -> Judged:
        """Those that are marked in ``kept``, bool ``[K]``."""
        return Judged(**{name: column[kept] for name, column in vars(self).items()})


def objects_of(truth: GroundTruth) -> Objects:
    """The boxes that are looked for; lvis passes over boxes without area, pycocotools does not."""
    federated = truth.protocol == "lvis"
    used = truth.areas > 0 if federated else np.ones(len(truth.areas), dtype=np.bool_)
    keys = pair_keys(truth, truth.box_image_ids, truth.box_category_ids)
    order = np.flatnonzero(used)[np.argsort(keys[used], kind="stable")]
    crowd = np.zeros(len(order), dtype=np.bool_) if federated else truth.crowd[order]
    ignored = (crowd if truth.protocol == "coco" else truth.ignored[order]) | ~_in_range(truth.areas[order])
    category, image = np.divmod(keys[order], len(truth.image_ids))
    return Objects(
        category=category,
        image=image,
        xywh=truth.xywh[order],
        ignored=ignored,
        crowd=crowd,
        keys=keys[order],
        per_class=np.bincount(category[~ignored], minlength=len(truth.category_ids)),
    )


def judged_of(truth: GroundTruth, detections: Detections, counted: NDArray[np.bool_], *, capped: bool = True) -> Judged:
    """The detections that `counted_detections` names, in the order in which they are matched.

    Args:
        truth: the ground truth.
        detections: any.
        counted: bool, one for each of them.
        capped: whether COCO's cap applies; LVIS's has been applied.
    """
    rows = np.flatnonzero(counted)
    rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
    keys = pair_keys(truth, detections.image_ids[rows], detections.category_ids[rows])
    order = np.argsort(keys, kind="stable")
    rows, keys = rows[order], keys[order]
    if capped and truth.protocol == "coco":
        kept = ranks_in_runs(keys) < COCO_CAP
        rows, keys = rows[kept], keys[kept]
    xywh = detections.xywh(rows)
    excused = ~_in_range(xywh[:, 2] * xywh[:, 3])
    if truth.protocol == "lvis":
        excused |= is_member(keys, listed_keys(truth, truth.not_exhaustive))
    category, image = np.divmod(keys, len(truth.image_ids))
    return Judged(rows, category, image, detections.scores[rows], xywh, excused, keys)


def counted_detections(truth: GroundTruth, detections: Detections, *, capped: bool = True) -> NDArray[np.bool_]:
    """Which detections count, bool ``[K]``; COCO's cap is left to its engine and to `judged_of`.

    By LVIS those count that are among the best of their image, have an area, and are of a class that is in the image
    or is known not to be. Hotcoco would drop the others as well, with ten times the memory.

    Args:
        truth: the ground truth; with masks, those of the detections are judged.
        detections: any.
        capped: whether LVIS's cap applies.
    """
    known = np.isin(detections.category_ids, truth.category_ids)
    if truth.protocol != "lvis":
        return known
    best = known & top_per_image(detections.image_ids, detections.scores, LVIS_CAP) if capped else known
    rows = np.flatnonzero(best)
    keys = pair_keys(truth, detections.image_ids[rows], detections.category_ids[rows])
    seen = truth.areas > 0
    present = pair_keys(truth, truth.box_image_ids[seen], truth.box_category_ids[seen])
    rows = rows[is_member(keys, np.union1d(present, listed_keys(truth, truth.negatives)))]
    counted = np.zeros(len(detections), dtype=np.bool_)
    if truth.masks is not None:
        assert detections.masks is not None, "a detector of boxes was asked for masks"
        counted[rows] = True
        return counted & ~detections.masks.empty()
    _, _, width, height = detections.xywh(rows).T  # lvis drops what has no area after the cap, not before
    counted[rows[width * height > 0]] = True
    return counted


def cap_notes(truth: GroundTruth, detections: Detections) -> list[str]:
    """Say where the protocol's cap leaves detections out."""
    if not len(detections) or truth.protocol == "voc":  # which has none
        return []
    if truth.protocol == "lvis":
        most, cap, what = np.unique(detections.image_ids, return_counts=True)[1], LVIS_CAP, "images"
    else:
        known = np.isin(detections.category_ids, truth.category_ids)
        keys = pair_keys(truth, detections.image_ids[known], detections.category_ids[known])
        most, cap, what = np.unique(keys, return_counts=True)[1], COCO_CAP, "pairs of an image and a class"
    over = int((most > cap).sum())
    if not over:
        return []
    return [f"{over} {what} have more than {cap} detections (at most {most.max():,}); the best {cap} of each count."]


def pair_keys(truth: GroundTruth, image_ids: NDArray[Any], category_ids: NDArray[Any]) -> NDArray[np.int64]:
    """Place of the class times N plus place of the image, of ids that the ground truth has."""
    images = np.searchsorted(np.sort(truth.image_ids), image_ids)
    return np.searchsorted(truth.category_ids, category_ids) * len(truth.image_ids) + images


def listed_keys(truth: GroundTruth, lists: list[list[int] | None]) -> NDArray[np.int64]:
    """Keys of the pairs of an image and a category id of its list, rising; unknown categories are left out."""
    categories = np.array([category for ids in lists for category in ids or ()], dtype=np.int64)
    owners = np.repeat(truth.image_ids, [len(ids or ()) for ids in lists])
    known = np.isin(categories, truth.category_ids)
    return np.unique(pair_keys(truth, owners[known], categories[known]))


def is_member(keys: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which keys are among ``members``, which rise; with less memory than `np.isin`."""
    if not len(members):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.searchsorted(members, keys)
    places[places == len(members)] = 0
    equal: NDArray[np.bool_] = members[places] == keys
    return equal


def ranks_in_runs(keys: NDArray[Any]) -> NDArray[np.int64]:
    """How many equal keys stand before each, where equal ones stand together: 0, 1, 2, 0, 1, ..."""
    places = np.arange(len(keys))
    if not len(keys):
        return places
    starts = np.concatenate([[True], keys[1:] != keys[:-1]])
    return places - np.maximum.accumulate(np.where(starts, places, 0))


def _in_range(areas: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (areas >= 0) & (areas <= LARGEST)
