"""Scores of every (region, class) pair in, the detections of an image out: exact, without looking at every pair.

Greedy NMS decides a box by higher-scored boxes alone. So the survivors among the K best-scored pairs are survivors
among all pairs, whatever the rest holds; and if as many survive as are wanted, they are the answer. K grows until
they are. With 1,203 classes and a threshold of 1e-4 nearly every one of a million pairs is a candidate, and K of a
few thousand does.

R regions, C classes, K candidates. Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import nms

from clis_core.batch import Detection

# A box with a side below this is no detection (torchvision's bound).
MIN_SIDE = 1e-2
GROWTH = 4


def select(
    scores: Tensor,
    boxes_of: Callable[[Tensor, Tensor], Tensor],
    *,
    score_threshold: float,
    nms_iou: float,
    detections: int,
    first: int | None = None,
) -> Detection:
    """The best ``detections`` boxes of an image after NMS within each class.

    Ties are ordered by region, then by class, which is the order of a stable sort over all pairs.

    Args:
        scores: ``[R, C]``, one column for each class 1..C.
        boxes_of: from regions int64 ``[K]`` and labels int64 ``[K]`` (1..C) to boxes ``[K, 4]``; asked only for
            the pairs that matter.
        score_threshold: pairs with no higher score are left out.
        nms_iou: overlap above which the lower-scored of two boxes of a class goes.
        detections: how many to keep at most.
        first: the K to begin with; four times ``detections`` if not given.

    Returns:
        The detections, best first; equal to NMS over all candidates.
    """
    flat = scores.reshape(-1)
    classes = scores.shape[1]
    limit = first or 4 * detections
    while True:
        pairs, complete = _best_pairs(flat, limit, score_threshold)
        regions = torch.div(pairs, classes, rounding_mode="floor")
        labels = pairs - regions * classes + 1
        boxes = boxes_of(regions, labels)
        fit = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(dim=1).nonzero()[:, 0]
        boxes, labels, pairs = boxes[fit], labels[fit], pairs[fit]
        keep = _class_nms(boxes, flat[pairs], labels, nms_iou)[:detections]
        if complete or len(keep) == detections:
            return Detection(boxes[keep], labels[keep], flat[pairs[keep]])
        limit *= GROWTH


def select_among(
    scores: Tensor,
    regions: Tensor,
    labels: Tensor,
    boxes_of: Callable[[Tensor, Tensor], Tensor],
    *,
    score_threshold: float,
    nms_iou: float,
    detections: int,
) -> Detection:
    """The same as `select`, of pairs that were chosen before.

    Args:
        scores: of K pairs, ``[K]``.
        regions: int64 ``[K]``.
        labels: int64 ``[K]``, 1..C.
        boxes_of: likewise.
        score_threshold: likewise.
        nms_iou: likewise.
        detections: likewise.
    """
    index = (scores > score_threshold).nonzero()[:, 0]
    for key in (labels, regions):  # the order of ties
        index = index[key[index].sort(stable=True).indices]
    index = index[scores[index].sort(descending=True, stable=True).indices]
    boxes = boxes_of(regions[index], labels[index])
    fit = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(dim=1).nonzero()[:, 0]
    boxes, index = boxes[fit], index[fit]
    keep = _class_nms(boxes, scores[index], labels[index], nms_iou)[:detections]
    return Detection(boxes[keep], labels[index[keep]], scores[index[keep]])


def _best_pairs(flat: Tensor, limit: int, threshold: float) -> tuple[Tensor, bool]:
    """Indices of the ``limit`` best scores above the threshold, best first, ties by index; and whether that is all.

    All scores that tie with the last one come along: a cut through a tie would make the choice arbitrary.
    """
    complete = limit >= len(flat)
    if not complete:
        bound = torch.topk(flat, limit, sorted=False).values.min()
        # The bound is below everything that was taken: then the threshold decides, and nothing is left out.
        complete = bool(bound <= threshold)
    pairs = (flat > threshold if complete else flat >= bound).nonzero()[:, 0]
    return pairs[flat[pairs].sort(descending=True, stable=True).indices], complete


def _class_nms(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float) -> Tensor:
    """Indices of the boxes that survive NMS within their class, in the order given.

    Args:
        boxes: ``[K, 4]``, best first.
        scores: ``[K]``.
        labels: ``[K]``.
        iou: overlap above which the later of two boxes goes.
    """
    # A few thousand boxes and a loop over classes: the CPU is the place for it, wherever the scores came from.
    order = labels.cpu().sort(stable=True)
    boxes_by_class, scores_by_class = boxes.cpu()[order.indices], scores.cpu()[order.indices]
    counts = torch.unique_consecutive(order.values, return_counts=True)[1].tolist()
    kept = []
    start = 0
    for count in counts:
        members = order.indices[start : start + count]
        if count > 1:
            part = slice(start, start + count)
            members = members[nms(boxes_by_class[part], scores_by_class[part], iou)]
        kept.append(members)
        start += count
    if not kept:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    return torch.cat(kept).sort().values.to(boxes.device)
