"""The losses of Faster R-CNN: feature maps and boxes in, L_rpn, L_incls, L_loc and L_obj out (CLIS, eq. 2).

N images, A anchors of an image, S sampled anchors or regions, M boxes of an image. Boxes are xyxy in pixels of the
resized image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from clis_core.batch import ImageBatch, Losses, Target
from clis_core.config.method import RoiTraining, RpnTraining
from clis_core.detectors.boxcoding import ROI_WEIGHTS, RPN_WEIGHTS, encode
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.rpn import RpnOutput
from clis_core.losses.ranks import rows_of, share
from clis_core.methods.assign import ANCHORS, REGIONS, drawing, match, sample
from clis_core.methods.mask_loss import mask_loss
from clis_core.methods.mtl_ssl import MtlTasks, SecondStage


def rpn_losses(output: RpnOutput, targets: list[Target], config: RpnTraining) -> Losses:
    """L_rpn: binary cross entropy of sampled anchors, smooth L1 of the objects among them.

    Args:
        output: of the proposal network.
        targets: N targets.
        config: matching and sampling.

    Returns:
        ``rpn_objectness`` and ``rpn_box``, each divided by the number of sampled anchors of the
        batch, that of all processes. Collective under torchrun.
    """
    logits, wanted, offsets, goals = [], [], [], []
    for image, target in enumerate(targets):
        matched = match(
            target.boxes,
            output.anchors,
            config.positive_iou,
            config.negative_iou,
            best_anchor=True,
            ignored=target.ignored,
        )
        draw = drawing(target, ANCHORS, matched.device)
        objects, background = sample(matched, config.samples, config.positive_fraction, draw)
        index = torch.cat((objects, background))
        logits.append(output.logits[image, index])
        wanted.append(torch.arange(len(index), device=index.device) < len(objects))
        offsets.append(output.offsets[image, objects])
        goals.append(encode(target.boxes[matched[objects]], output.anchors[objects], RPN_WEIGHTS))
    all_logits = torch.cat(logits).float()
    count = share(rows_of(all_logits))
    objectness = F.binary_cross_entropy_with_logits(all_logits, torch.cat(wanted).to(all_logits), reduction="sum")
    box = F.smooth_l1_loss(torch.cat(offsets).float(), torch.cat(goals), beta=config.beta, reduction="sum")
    return {"rpn_objectness": objectness / count, "rpn_box": box / count}


class Sampled(NamedTuple):
    """The regions of N images that the second stage learns from, objects first.

    Attributes:
        regions: ``[S, 4]`` of each image.
        labels: int64 ``[S]``, 0 for background.
        boxes: ``[S_objects, 4]``, the boxes that the objects are matched to.
        matched: int64 ``[S_objects]``, which of the image's boxes they are.
    """

    regions: list[Tensor]
    labels: list[Tensor]
    boxes: list[Tensor]
    matched: list[Tensor]


@torch.no_grad()
def sample_regions(proposals: list[Tensor], targets: list[Target], config: RoiTraining) -> Sampled:
    """Choose the regions of each image that the second stage learns from; the boxes themselves are proposals too."""
    sampled = Sampled([], [], [], [])
    for proposed, target in zip(proposals, targets, strict=True):
        candidates = torch.cat((proposed, target.boxes))
        iou = config.positive_iou
        matched = match(target.boxes, candidates, iou, iou, best_anchor=False, ignored=target.ignored)
        draw = drawing(target, REGIONS, matched.device)
        objects, background = sample(matched, config.samples, config.positive_fraction, draw)
        sampled.regions.append(candidates[torch.cat((objects, background))])
        sampled.labels.append(torch.cat((target.labels[matched[objects]], torch.zeros_like(background))))
        sampled.boxes.append(target.boxes[matched[objects]])
        sampled.matched.append(matched[objects])
    return sampled


def region_losses(
    detector: FasterRCNN,
    features: list[Tensor],
    proposals: list[Tensor],
    targets: list[Target],
    config: RoiTraining,
    auxiliary: Callable[[SecondStage], Losses] | None = None,
    *,
    count: bool = True,
) -> Losses:
    """L_incls, L_loc and, where the detector has an objectness output or a mask head, L_obj and L_mask.

    Args:
        detector: what is taught.
        features: pyramid levels.
        proposals: of each image.
        targets: of each image.
        config: how it is taught.
        auxiliary: losses of further tasks that learn from the same regions.
        count: whether the regions enter the class loss's statistics.

    Returns:
        ``class`` (mean over the regions), ``box`` (sum over the objects, divided by the number of regions),
        ``objectness`` (mean over the regions), ``mask`` (see `mask_loss`) and the ``auxiliary`` ones; the regions are
        those of all processes. Collective under torchrun.
    """
    regions, labels, boxes, matched = sample_regions(proposals, targets, config)
    head = detector.head
    pooled = detector.pool_regions(features, regions)
    embedded = head.embed(pooled)
    class_logits = head.fc_cls(embedded.cls)
    label = torch.cat(labels)  # [S]
    objects = (label > 0).nonzero()[:, 0]
    goals = encode(torch.cat(boxes), torch.cat(regions)[objects], ROI_WEIGHTS)
    rows = share(rows_of(label))
    offsets = head.offsets(embedded.loc[objects], label[objects]).float()
    box = F.smooth_l1_loss(offsets, goals, beta=config.beta, reduction="sum") / rows
    losses = {
        "class": head.class_loss(class_logits, label, count=count),
        "box": config.box_weight * box,
    }
    if head.fc_obj is not None:
        logits = head.fc_obj(embedded.loc)[:, 0].float()
        wanted = (label > 0).to(logits)
        objectness = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / rows
        losses["objectness"] = config.objectness_weight * objectness
    if auxiliary is not None:
        losses |= auxiliary(SecondStage(regions, labels, boxes, pooled, class_logits))
    if detector.mask_head is not None:
        of_objects = [r[: len(m)] for r, m in zip(regions, matched, strict=True)]
        mask = mask_loss(detector.mask_head, features[:-1], of_objects, matched, targets)
        losses["mask"] = config.mask_weight * mask
    return losses


def detection_losses(
    detector: FasterRCNN,
    images: ImageBatch,
    features: list[Tensor],
    targets: list[Target],
    rpn: RpnTraining,
    roi: RoiTraining,
    mtl: MtlTasks | None = None,
    *,
    count: bool = True,
) -> Losses:
    """L_d of CLIS, eq. 2: all losses that boxes alone give.

    Args:
        detector: what is taught.
        images: the batch.
        features: its pyramid levels.
        targets: N targets.
        rpn: how the proposal network is taught.
        roi: how the second stage is taught.
        mtl: auxiliary tasks beside it.
        count: whether the regions enter the class loss's statistics.
    """
    output = detector.rpn(images.pixels, features)
    nms_iou = detector.config.rpn.nms_iou
    proposals = detector.rpn.propose(output, images.sizes, rpn.before_nms, rpn.proposals, nms_iou)
    auxiliary = None if mtl is None else partial(mtl, detector, features, images.sizes, targets)
    return {
        **rpn_losses(output, targets, rpn),
        **region_losses(detector, features, proposals, targets, roi, auxiliary, count=count),
    }
