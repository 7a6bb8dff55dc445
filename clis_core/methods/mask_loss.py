"""The loss of the mask head: feature maps, objects and the masks of the boxes that they are matched to in, L_mask out.

N images, R objects (regions that are matched to a box), S cells along a side of a mask. Boxes are xyxy in pixels of the
resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clis_core.batch import Masks, Target
from clis_core.detectors.mask_head import MaskHead
from clis_core.losses.ranks import rows_of, share

COVERED = 0.5
"""Share of a cell that an object covers from which on the cell is the object's (mmdetection's and detectron2's)."""


def mask_loss(
    head: MaskHead, features: list[Tensor], regions: list[Tensor], matched: list[Tensor], targets: list[Target]
) -> Tensor:
    """Binary cross entropy of each object's mask for its own class (He et al. 2017, sec. 3), mean over the cells.

    Objects whose box has no mask, such as instances that CLIS pastes, are left out.

    Args:
        head: what is taught.
        features: pyramid levels, those that are pooled from.
        regions: N tensors ``[R_i, 4]``.
        matched: N tensors int64 ``[R_i]``, which box of the image each region is matched to.
        targets: N targets.

    Returns:
        a scalar; the objects are those of all processes. Collective under torchrun.
    """
    boxes, labels, wanted = [], [], []
    for region, index, target in zip(regions, matched, targets, strict=True):
        masked = _has_mask(target)[index].nonzero()[:, 0]
        boxes.append(region[masked])
        labels.append(target.labels[index[masked]])
        if target.masks is not None:
            wanted.append(mask_targets(target.masks, region[masked], index[masked], head.side))
    logits = head(features, boxes, torch.cat(labels)).float()  # [R, S, S]
    goals = torch.cat(wanted) if wanted else logits.new_zeros((0, head.side, head.side))
    cells = share(rows_of(logits)) * head.side**2
    return F.binary_cross_entropy_with_logits(logits, goals, reduction="sum") / cells


def _has_mask(target: Target) -> Tensor:
    """Which boxes have a mask: bool ``[M]``."""
    shapes = [(0, 0)] * len(target.boxes) if target.masks is None else target.masks.shapes
    return torch.tensor([height > 0 for height, _ in shapes], dtype=torch.bool, device=target.boxes.device)


@torch.no_grad()
def mask_targets(masks: Masks, regions: Tensor, index: Tensor, side: int) -> Tensor:
    """What each cell of each region shall say: float32 ``[R, S, S]``, 1 where an object covers `COVERED` of the cell.

    The shares are exact: rows' overlaps x bitmap x columns' overlaps, which is what RoIAlign comes to with ever more
    samples in a cell.

    Args:
        masks: of the image's boxes.
        regions: ``[R, 4]``.
        index: int64 ``[R]``, the box that each belongs to; it has a mask.
        side: S.
    """
    goals = regions.new_zeros((len(regions), side, side))
    bitmaps = masks.bitmaps()
    with torch.autocast(regions.device.type, enabled=False):
        for box in sorted(set(index.tolist())):
            mine = (index == box).nonzero()[:, 0]
            bitmap, window = bitmaps[box].float(), masks.windows[box]
            rows = _overlaps(regions[mine][:, 1::2], window[1::2], bitmap.shape[0], side)  # [r, S, h]
            columns = _overlaps(regions[mine][:, 0::2], window[0::2], bitmap.shape[1], side)  # [r, S, w]
            goals[mine] = rows @ bitmap @ columns.mT
    return (goals >= COVERED).to(goals)


def _overlaps(ends: Tensor, window: Tensor, pixels: int, side: int) -> Tensor:
    """The share of each of S cells of a line that each of its pixels covers: ``[r, S, pixels]``.

    Args:
        ends: ``[r, 2]``, where the cells begin and end.
        window: ``[2]``, where the pixels do.
        pixels: how many.
        side: S.
    """
    scale = pixels / (window[1] - window[0])
    first, last = ((ends - window[0]) * scale).unbind(dim=1)  # [r], in pixels of the bitmap
    step = ((last - first) / side).clamp(min=1e-6)[:, None]
    low = first[:, None] + step * torch.arange(side, device=ends.device)  # [r, S]
    at = torch.arange(pixels, device=ends.device)
    inside = torch.minimum((low + step)[:, :, None], at + 1) - torch.maximum(low[:, :, None], at)
    return inside.clamp(min=0) / step[:, :, None]
