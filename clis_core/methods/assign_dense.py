"""Which boxes teach which anchors of RetinaNet and which points of FCOS: boxes in, matched indices out.

M ground-truth boxes, A anchors over all levels, A_l of one level. A point is the centre of a square anchor of one
stride. Boxes are xyxy in pixels of the resized image.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor

from clis_core.batch import Target
from clis_core.config.method import Assign, AtssAssign, MaxIouAssign, RangesAssign
from clis_core.detectors.boxcoding import centres, paired_iou
from clis_core.methods.assign import BACKGROUND, match, without_ignored

_INSIDE = 0.01
"""A centre is inside of a box where it is more than so many pixels from every side."""


@torch.no_grad()
def assign(target: Target, anchors: Tensor, counts: list[int], config: Assign, *, points: bool) -> Tensor:
    """The box that each anchor learns.

    Args:
        target: M boxes.
        anchors: ``[A, 4]``, level after level.
        counts: anchors of each level.
        config: the rule.
        points: whether the anchors stand for points.

    Returns:
        int64 ``[A]``: index of the box, or BACKGROUND, or IGNORED.
    """
    match config:
        case MaxIouAssign(positive_iou=positive, negative_iou=negative):
            return match(target.boxes, anchors, positive, negative, best_anchor=True, ignored=target.ignored)
        case AtssAssign(k=k, scale=scale):
            matched = atss(target.boxes, _grown(anchors, scale) if points else anchors, counts, k)
        case RangesAssign(scale=scale, radius=radius):
            matched = ranges(target.boxes, anchors, counts, scale, radius)
    return without_ignored(matched, anchors, target.ignored)


def atss(truth: Tensor, anchors: Tensor, counts: list[int], k: int) -> Tensor:
    """Adaptive training sample selection (Zhang et al. 2020, arXiv 1912.02424, algorithm 1).

    Of each level, a box has the k anchors as candidates whose centres are closest to its own. Those become positive
    that overlap it by the mean plus the standard deviation of all its candidates' overlaps or more, with the centre
    inside of the box. An anchor of several boxes goes to the one that it overlaps most.

    Args:
        truth: ``[M, 4]``.
        anchors: ``[A, 4]``, level after level.
        counts: anchors of each level.
        k: candidates of a level.

    Returns:
        int64 ``[A]``: index of the box, or BACKGROUND.
    """
    if not len(truth):
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    of_anchors, of_truth = centres(anchors), centres(truth)
    chosen = []
    for start, stop in pairwise(accumulate(counts, initial=0)):
        distance = torch.linalg.vector_norm(of_anchors[start:stop, None] - of_truth, dim=2)  # [A_l, M]
        chosen.append(start + distance.topk(min(k, stop - start), dim=0, largest=False).indices)
    index = torch.cat(chosen)  # [K, M]
    iou = paired_iou(anchors[index], truth)  # [K, M]
    enough = iou >= iou.mean(dim=0) + iou.std(dim=0)
    inside = _sides(of_anchors[index], truth).amin(dim=2) > _INSIDE
    best = iou.new_full((len(anchors), len(truth)), -1.0)
    best.scatter_(0, index, torch.where(enough & inside, iou, -1.0))
    value, matched = best.max(dim=1)
    return torch.where(value >= 0, matched, BACKGROUND)


def ranges(truth: Tensor, anchors: Tensor, counts: list[int], scale: float, radius: float) -> Tensor:
    """The rule of FCOS (Tian et al. 2019, sec. 3.2), with centre sampling.

    A point is of a box that it lies in, near its centre, if the farthest side of the box is as far away as the point's
    level is for; of several such boxes, of the smallest.

    Args:
        truth: ``[M, 4]``.
        anchors: ``[A, 4]``, a square of one stride around each point.
        counts: points of each level.
        scale: a level is for sides up to so many strides away, and farther than the level before.
        radius: strides from a box's centre along both axes; 0 for no bound.

    Returns:
        int64 ``[A]``: index of the box, or BACKGROUND.
    """
    if not len(truth):
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    points, stride = centres(anchors), anchors[:, 2] - anchors[:, 0]
    upper = scale * stride
    lower = upper / 2
    lower[: counts[0]] = 0
    upper[len(upper) - counts[-1] :] = torch.inf
    sides = _sides(points[:, None], truth)  # [A, M, 4]
    farthest = sides.amax(dim=2)
    fits = (sides.amin(dim=2) > 0) & (farthest > lower[:, None]) & (farthest <= upper[:, None])
    if radius:
        off = (points[:, None] - centres(truth)).abs().amax(dim=2)
        fits &= off < radius * stride[:, None]
    area = (truth[:, 2:] - truth[:, :2]).prod(dim=1)
    smallest, matched = torch.where(fits, area, torch.inf).min(dim=1)
    return torch.where(smallest.isfinite(), matched, BACKGROUND)


def _sides(points: Tensor, truth: Tensor) -> Tensor:
    """Distances ``[..., M, 4]`` from points ``[..., M or 1, 2]`` to the sides of ``[M, 4]``; negative outside."""
    return torch.cat((points - truth[:, :2], truth[:, 2:] - points), dim=-1)


def _grown(anchors: Tensor, scale: float) -> Tensor:
    """Squares with ``scale`` times the side around the same centres."""
    half = 0.5 * scale * (anchors[:, 2:] - anchors[:, :2])
    return torch.cat((centres(anchors) - half, centres(anchors) + half), dim=1)
