"""Which boxes teach which anchors and proposals: overlaps in, matched indices and a random sample out.

M ground-truth boxes, A anchors or proposals. Boxes are xyxy in pixels of the resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

from clis_core.batch import Target
from clis_core.data.sampling import mixed

BACKGROUND = -1
IGNORED = -2
_LIES = 0.5  # of a box's area
ANCHORS, REGIONS = 0, 1
"""Streams of random numbers of an image."""


@torch.no_grad()
def match(
    truth: Tensor,
    boxes: Tensor,
    positive_iou: float,
    negative_iou: float,
    *,
    best_anchor: bool,
    ignored: Tensor | None = None,
) -> Tensor:
    """Match boxes to the ground truth by their overlap (Ren et al. 2015, sec. 3.1.2).

    Args:
        truth: ground-truth boxes ``[M, 4]``.
        boxes: ``[A, 4]``.
        positive_iou: from this IoU on, a box belongs to the ground truth that it overlaps most.
        negative_iou: below this it is background; between the two it is ignored.
        best_anchor: whether a ground truth also takes the boxes that overlap it most of all boxes, however little.
        ignored: ``[G, 4]``; background that lies on one of these by half of its area or more is ignored.

    Returns:
        int64 ``[A]``: index of the ground truth, or BACKGROUND, or IGNORED.
    """
    matched = _matched(truth, boxes, positive_iou, negative_iou, best_anchor)
    return without_ignored(matched, boxes, ignored)


def without_ignored(matched: Tensor, boxes: Tensor, ignored: Tensor | None) -> Tensor:
    """Take background that lies on an ignored box by half of its area or more out of the background, in place.

    Args:
        matched: int64 ``[A]`` of `match`.
        boxes: ``[A, 4]``.
        ignored: ``[G, 4]``, or None.
    """
    if ignored is not None and len(ignored):
        low, high = torch.max(boxes[:, None, :2], ignored[:, :2]), torch.min(boxes[:, None, 2:], ignored[:, 2:])
        inside = (high - low).clamp(min=0).prod(dim=2)  # [A, G]
        area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        lies = (inside >= _LIES * area[:, None]).any(dim=1)
        matched[lies & (matched == BACKGROUND)] = IGNORED
    return matched


def _matched(truth: Tensor, boxes: Tensor, positive_iou: float, negative_iou: float, best_anchor: bool) -> Tensor:
    if not len(truth):
        return torch.full((len(boxes),), BACKGROUND, device=boxes.device)
    iou = box_iou(truth, boxes)  # [M, A]
    value, index = iou.max(dim=0)
    matched = torch.where(value >= positive_iou, index, IGNORED)
    matched[value < negative_iou] = BACKGROUND
    if best_anchor:
        best = iou.max(dim=1).values
        taken = ((iou == best[:, None]) & (best[:, None] > 0)).nonzero()[:, 1]
        matched[taken] = index[taken]
    return matched


def drawing(target: Target, stream: int, device: torch.device) -> torch.Generator | None:
    """The random numbers of an image, whatever stands beside it in its batch; None where it has no seed.

    Args:
        target: of the image.
        stream: `ANCHORS` or `REGIONS`.
        device: where the numbers are needed.
    """
    if target.seed is None:
        return None
    return torch.Generator(device).manual_seed(2 * target.seed + stream)


def seed_within(seed: int | None, number: int) -> int | None:
    """The seed of the n-th thing that belongs to an image of this seed; None where it has none."""
    return None if seed is None else mixed(seed, number) >> 1


@torch.no_grad()
def sample(
    matched: Tensor, count: int, positive_fraction: float, draw: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw a balanced sample of matched boxes, without replacement.

    Args:
        matched: int64 ``[A]`` of `match`.
        count: how many to draw at most.
        positive_fraction: how many of them may be objects; background fills the rest.
        draw: of `drawing`; None takes torch's global random numbers.

    Returns:
        Indices of the drawn objects and of the drawn background, int64 each.
    """
    objects = (matched >= 0).nonzero()[:, 0]
    background = (matched == BACKGROUND).nonzero()[:, 0]
    objects = _draw(objects, int(count * positive_fraction), draw)
    return objects, _draw(background, count - len(objects), draw)


def _draw(index: Tensor, count: int, draw: torch.Generator | None) -> Tensor:
    if len(index) <= count:
        return index
    return index[torch.randperm(len(index), device=index.device, generator=draw)[:count]]
