"""The losses of RetinaNet and FCOS: feature maps and boxes in, those of classes, boxes and their quality out.

N images, A anchors of an image over all levels, P positives of the batch, C classes. Boxes are xyxy in pixels of the
resized image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from clis_core.batch import ImageBatch, Losses, Target
from clis_core.config.method import DenseTraining
from clis_core.detectors.boxcoding import centres, paired_iou
from clis_core.detectors.dense import DenseDetector, DenseOutput
from clis_core.losses.efl import EqualizedQualityFocal
from clis_core.losses.ranks import share
from clis_core.methods.assign import IGNORED
from clis_core.methods.assign_dense import assign


class Positives(NamedTuple):
    """The anchors that have a box to learn, of all images.

    Attributes:
        place: int64 ``[P]``, into N x A anchors, image after image.
        anchors: ``[P, 4]``.
        codes: ``[P, 4]`` of the network, float32.
        boxes: ``[P, 4]`` that these are decoded to.
        truth: ``[P, 4]``.
    """

    place: Tensor
    anchors: Tensor
    codes: Tensor
    boxes: Tensor
    truth: Tensor


def dense_losses(
    detector: DenseDetector,
    images: ImageBatch,
    features: list[Tensor],
    targets: list[Target],
    config: DenseTraining,
) -> Losses:
    """All losses that boxes give a one-stage detector.

    Args:
        detector: what is taught.
        images: the batch.
        features: its pyramid levels.
        targets: N targets.
        config: which anchors learn what.

    Returns:
        ``class``, ``box`` and, where the head has such an output, ``quality``: sums over all anchors or over the
        positives, divided by the number of positives of the whole batch, of all processes.
    """
    output = detector.output(images.pixels, features)
    rule = config.assign
    matched = [assign(t, output.anchors, output.counts, rule, points=detector.points) for t in targets]
    positives = _positives(detector, output, targets, matched)
    iou = paired_iou(positives.boxes.detach(), positives.truth)  # [P]
    count = share(torch.full((), float(len(iou)), device=iou.device))
    losses = {
        "class": _class_loss(detector, output, targets, matched, positives, iou),
        "box": config.box_weight * _box_loss(detector, positives, config) / count,
    }
    logits = _of_places([level.quality for level in output.levels], positives.place)
    if logits is not None:
        wanted = iou if detector.config.head.quality == "iou" else centerness(positives.anchors, positives.truth)
        loss = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="sum")
        losses["quality"] = config.quality_weight * loss / count
    return losses


def centerness(anchors: Tensor, truth: Tensor) -> Tensor:
    """How central the centres of ``[P, 4]`` anchors lie in ``[P, 4]`` boxes, 0..1 (FCOS, Tian et al. 2019, eq. 3).

    The root of min(l, r) / max(l, r) x min(t, b) / max(t, b); 0 outside.
    """
    point = centres(anchors)
    before, behind = point - truth[:, :2], truth[:, 2:] - point
    ratio = torch.minimum(before, behind).clamp(min=0) / torch.maximum(before, behind).clamp(min=1e-6)
    return ratio.prod(dim=1).sqrt()


def _positives(detector: DenseDetector, output: DenseOutput, targets: list[Target], matched: list[Tensor]) -> Positives:
    index = [(m >= 0).nonzero()[:, 0] for m in matched]
    place = torch.cat([i + image * len(output.anchors) for image, i in enumerate(index)])
    anchors = output.anchors[torch.cat(index)]
    codes = _of_places([level.codes for level in output.levels], place)
    assert codes is not None
    codes = codes.float()
    truth = torch.cat([t.boxes[m[i]] for t, m, i in zip(targets, matched, index, strict=True)])
    return Positives(place, anchors, codes, detector.decode(codes, anchors), truth)


def _of_places(levels: list[Tensor | None], place: Tensor) -> Tensor | None:
    """Rows of the levels' ``[N, A_l, ...]`` at places in N x A; None where there are no levels."""
    there = [level for level in levels if level is not None]
    return torch.cat(there, dim=1).flatten(0, 1)[place] if there else None


def _class_loss(
    detector: DenseDetector,
    output: DenseOutput,
    targets: list[Target],
    matched: list[Tensor],
    positives: Positives,
    iou: Tensor,
) -> Tensor:
    """Of all anchors that are not ignored."""
    loss = detector.head.class_loss
    at = torch.stack(matched)  # [N, A]
    label = torch.zeros_like(at).flatten()
    label[positives.place] = torch.cat([t.labels[m[m >= 0]] for t, m in zip(targets, matched, strict=True)])
    label, use = label.view_as(at), at != IGNORED
    rows, first = [], 0
    for level in output.levels:
        of_level = use[:, first : first + level.logits.shape[1]]
        rows.append((level.logits[of_level], label[:, first : first + level.logits.shape[1]][of_level]))
        first += level.logits.shape[1]
    logits, labels = (torch.cat(parts) for parts in zip(*rows, strict=True))
    if not isinstance(loss, EqualizedQualityFocal):
        return loss(logits, labels)  # type: ignore[no-any-return]
    quality = torch.zeros(at.numel(), device=iou.device).scatter(0, positives.place, iou).view_as(at)
    parts = zip(torch.split(quality, output.counts, dim=1), torch.split(use, output.counts, dim=1), strict=True)
    return loss(logits, labels, torch.cat([q[of_level] for q, of_level in parts]))  # type: ignore[no-any-return]


def _box_loss(detector: DenseDetector, positives: Positives, config: DenseTraining) -> Tensor:
    if config.box == "giou":
        giou: Tensor = generalized_box_iou_loss(positives.boxes, positives.truth, reduction="sum")
        return giou
    goals = detector.encode(positives.truth, positives.anchors)
    return F.l1_loss(positives.codes, goals, reduction="sum")
