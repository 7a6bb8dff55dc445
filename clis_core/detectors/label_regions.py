"""Pictures whose class is known go in; the region of each where that class is most likely comes out.

N pictures, R regions of a picture, C classes. Boxes are xyxy in pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from clis_core.batch import ImageBatch, RawImage, fit_size
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.faster_rcnn import FasterRCNN

Rule = Literal["rank-first", "max-score", "max-size"]

FIRST = 32
"""Regions whose objectness is looked at first."""
SMALLEST = 2.0
"""A box with a shorter side, in pixels of the resized picture, shows nothing."""


class LabelRegion(NamedTuple):
    """Where a picture's class is.

    Attributes:
        box: float32 ``[4]``, relative to the picture, 0..1; None where there is nothing sensible.
        score: of the picture's class in that region, 0..1.
        rank: of that class among all classes there, 1 is the best.
    """

    box: Tensor | None
    score: float
    rank: int


@torch.no_grad()
def label_regions(
    detector: FasterRCNN, images: list[Tensor], labels: list[int], rule: Rule = "rank-first"
) -> list[LabelRegion]:
    """One region for each picture.

    "rank-first" is CLIS, sec. IV-A3: of all regions, the one with the highest score of the picture's own class,
    whatever the other classes' scores; no threshold, no NMS, no limit on the number. "max-score" is the region with the
    highest score of any class, "max-size" the largest proposal (Zhou et al. 2022, Detic, sec. 3.2).

    Args:
        detector: in inference mode.
        images: uint8 ``[3, h, w]``.
        labels: 1..C, one for each image.
        rule: which region.
    """
    short, long = detector.config.short_side, detector.config.long_side
    batch = detector.preprocess([RawImage(x, fit_size(x.shape[-2], x.shape[-1], short, long)) for x in images])
    features = detector.encoder(batch.pixels)
    rpn = detector.config.rpn
    output = detector.rpn(batch.pixels, features)
    proposals = detector.rpn.propose(output, batch.sizes, rpn.before_nms, rpn.proposals, rpn.nms_iou)
    pooled = detector.pool_regions(features, proposals)
    probabilities = detector.head.class_loss.scores(detector.head.fc_cls(detector.head.cls_2fc(pooled)))  # [R, C]
    counts = [len(p) for p in proposals]
    parts = zip(proposals, torch.split(pooled, counts), torch.split(probabilities, counts), labels, strict=True)
    return [
        _best(detector, boxes, of_image, scores, label, batch, number, rule)
        for number, (boxes, of_image, scores, label) in enumerate(parts)
    ]


def _best(
    detector: FasterRCNN,
    proposals: Tensor,
    pooled: Tensor,
    probabilities: Tensor,
    label: int,
    batch: ImageBatch,
    number: int,
    rule: Rule,
) -> LabelRegion:
    """The region of one picture."""
    if not len(proposals):
        return LabelRegion(None, 0.0, 0)
    kind = label
    match rule:
        case "rank-first":
            region, score = _argmax(detector, pooled, probabilities[:, label - 1])
        case "max-score":
            best, kinds = probabilities.max(dim=1)
            region, _ = _argmax(detector, pooled, best)
            kind = int(kinds[region]) + 1
            score = _score(detector, pooled, probabilities[:, label - 1], region)
        case "max-size":
            sides = proposals[:, 2:] - proposals[:, :2]
            region = int(sides.prod(dim=1).argmax())
            score = _score(detector, pooled, probabilities[:, label - 1], region)
    box = proposals[region]
    if rule != "max-size":
        offsets = detector.head.offsets(_localise(detector, pooled[region : region + 1]), _one(kind, pooled)).float()
        box = decode(offsets, box[None], ROI_WEIGHTS)[0]
    box = clip(box[None], batch.sizes[number])[0]
    rank = 1 + int((probabilities[region] > probabilities[region, label - 1]).sum())
    if float((box[2:] - box[:2]).min()) < SMALLEST:
        return LabelRegion(None, score, rank)
    height, width = batch.sizes[number]
    relative = box / torch.tensor([width, height, width, height], dtype=box.dtype, device=box.device)
    return LabelRegion(relative.clamp(0, 1).cpu(), score, rank)


def _argmax(detector: FasterRCNN, pooled: Tensor, scores: Tensor) -> tuple[int, float]:
    """The best region by score times objectness, and that product.

    Objectness is at most 1, so that regions below the best product found so far need not be looked at.
    """
    head = detector.head
    if head.fc_obj is None:
        region = int(scores.argmax())
        return region, float(scores[region])
    order = scores.argsort(descending=True)
    count = min(FIRST, len(order))
    while True:
        chosen = order[:count]
        products = scores[chosen] * head.fc_obj(_localise(detector, pooled[chosen]))[:, 0].float().sigmoid()
        best = int(products.argmax())
        if count == len(order) or products[best] >= scores[order[count]]:
            return int(chosen[best]), float(products[best])
        count = min(4 * count, len(order))


def _score(detector: FasterRCNN, pooled: Tensor, scores: Tensor, region: int) -> float:
    score = float(scores[region])
    if detector.head.fc_obj is not None:
        score *= float(detector.head.fc_obj(_localise(detector, pooled[region : region + 1]))[0, 0].float().sigmoid())
    return score


def _localise(detector: FasterRCNN, pooled: Tensor) -> Tensor:
    """The localisation side's ``[R, D]``."""
    branch = detector.head.loc_2fc or detector.head.cls_2fc
    return branch(pooled)  # type: ignore[no-any-return]


def _one(label: int, like: Tensor) -> Tensor:
    return torch.tensor([label], device=like.device)
