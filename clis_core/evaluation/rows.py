"""Ground truth and detections in; checked, and in the form that the engines take, out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.errors import DataError
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth


def check_detections(detections: Detections, truth: GroundTruth) -> list[str]:
    """Refuse detections that an engine would turn into a number without a word.

    Returns:
        Notes on what the engines will leave out.

    Raises:
        DataError: a score or a box is not finite, an image is not in the ground truth, or no category is.
    """
    xywh, images, categories = detections.xywh(), detections.image_ids, detections.category_ids

    def name(wrong: Any) -> str:
        first = int(np.argmax(wrong))
        place = f"image {images[first]}, category {categories[first]}"
        return f"Detection {first} of {detections.source} ({place})"

    for what, values in (("score", detections.scores[:, None]), ("box", xywh)):
        wrong = ~np.isfinite(values).all(axis=1)
        if wrong.any():
            raise DataError(
                f"{name(wrong)}: the {what} is not a finite number ({int(wrong.sum())} such detections).",
                hint="A model whose training diverged gives such numbers; leave them out, or train it again.",
            )
    strange = ~np.isin(images, truth.image_ids)
    if strange.any():
        raise DataError(
            f"{name(strange)}: {truth.path} has no such image ({int(strange.sum())} such detections).",
            hint="Give the annotation file of the split that the detections were made on.",
        )
    notes = [] if len(detections) else [f"There are no detections (of {detections.source})."]
    unknown = ~np.isin(categories, truth.category_ids)
    if len(detections) and unknown.all():
        raise DataError(
            f"{name(unknown)}: {truth.path} has none of the categories of the detections.",
            hint="category_id must be the id in the annotation file, not the place of the class in a list.",
        )
    if unknown.any():
        notes.append(
            f"{name(unknown)}: {truth.path} has no such category; {int(unknown.sum())} such detections count "
            "for nothing, though they take up places among the best of their image."
        )
    negative = (xywh[:, 2:] < 0).any(axis=1)
    if negative.any():
        notes.append(
            f"{name(negative)}: the width or the height is negative ({int(negative.sum())} such detections). "
            "Is the bbox x, y, width, height?"
        )
    return notes


def result_rows(detections: Detections, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The detections ``which`` (bool ``[K]``) as pycocotools and hotcoco take them.

    Returns:
        ``[k, 7]``: image id, x, y, width, height, score, category id.
    """
    rows = np.empty((int(which.sum()), 7))
    rows[:, 0] = detections.image_ids[which]
    rows[:, 1:5] = detections.xywh(which)
    rows[:, 5] = detections.scores[which]
    rows[:, 6] = detections.category_ids[which]
    return rows


def mask_records(detections: Detections, which: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """The masks ``which`` (bool ``[K]``) as a results list without boxes, so that areas are those of masks."""
    found = detections.only(which)
    assert found.masks is not None, "a detector of boxes was asked for masks"
    columns = found.image_ids.tolist(), found.category_ids.tolist(), found.masks.records(), found.scores.tolist()
    names = ("image_id", "category_id", "segmentation", "score")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def top_per_image(image_ids: NDArray[np.int64], scores: NDArray[np.floating[Any]], cap: int) -> NDArray[np.bool_]:
    """Which detections are among the best of their image; of equal scores the earlier are the better.

    Args:
        image_ids: ``[K]``.
        scores: ``[K]``.
        cap: how many of an image.

    Returns:
        bool ``[K]``.
    """
    if len(image_ids) <= cap or np.unique(image_ids, return_counts=True)[1].max() <= cap:
        return np.ones(len(image_ids), dtype=np.bool_)
    order = np.lexsort((-scores, image_ids))  # stable: equal scores keep their order
    places = np.arange(len(order))
    changes = np.diff(image_ids[order], prepend=-1) != 0
    rank = places - np.maximum.accumulate(np.where(changes, places, 0))
    kept = np.empty(len(order), dtype=np.bool_)
    kept[order] = rank < cap
    return kept


def hotcoco_truth(truth: GroundTruth, which: NDArray[np.bool_] | slice = slice(None)) -> Any:
    """``hotcoco.COCO`` of the objects ``which`` (a bool ``[M]``; all without it), with their masks if it has any."""
    from hotcoco import COCO

    images: list[dict[str, Any]] = []
    for i, negative, inexhaustive in zip(truth.image_ids.tolist(), truth.negatives, truth.not_exhaustive, strict=True):
        lists = {"neg_category_ids": negative, "not_exhaustive_category_ids": inexhaustive}
        images.append({"id": i} | {name: ids for name, ids in lists.items() if ids is not None})
    masks = None
    if truth.masks is not None:
        masks = [truth.masks[n] for n in np.arange(len(truth.masks))[which].tolist()]
    return COCO.from_arrays(
        images,
        truth.category_records(),
        truth.box_image_ids[which],
        truth.box_category_ids[which],
        truth.xywh[which],
        area=truth.areas[which],
        iscrowd=truth.crowd[which],
        segmentation=masks,
    )


def check_masks(detections: Detections) -> None:
    """Refuse masks that pycocotools would read beyond their end.

    Raises:
        DataError: a mask is not whole.
    """
    wrong = None if detections.masks is None else detections.masks.first_wrong()
    if wrong is not None:
        raise DataError(
            f"The mask of detection {wrong} of {detections.source} is damaged: its run lengths are not those of an "
            "image of its size.",
            hint="Make the detections again: clis eval RUN",
        )
