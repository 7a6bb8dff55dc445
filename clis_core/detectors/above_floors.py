"""Images and a floor for each class in; the ordinary detections, and all above the floors without a cap, out.

AP_fixed counts the best 10,000 detections of each class over a whole data set, however many of them are in one image.
Under the ordinary cap of 300 the frequent classes would take the places of the seldom ones, and any larger cap would
do the same to a lesser degree: so there is none. Without floors an image of 1,000 proposals and 1,203 classes then has
some hundred thousand detections. The floors, scores that a class's 10,000th best has reached, keep them few; a
detection below its floor cannot be among the best any more, and cannot suppress one that is.

A one-stage detector has 44,000 places and more in an image, so that of each class no more than its best
``level_candidates`` of each level are looked at: the cap of its NMS, but of each class for itself.

R regions, C classes, K pairs. Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clis_core.batch import Detection, ImageBatch
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.build import Detector
from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.dense_head import LevelOutput
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.postprocess import select, select_among
from clis_core.detectors.preprocess import unscaled

Both = tuple[Detection, Detection]


def detect_above_floors(detector: Detector, images: list[Tensor], floors: Tensor) -> list[Both]:
    """Detect once, and choose twice.

    Args:
        detector: in inference mode.
        images: uint8 ``[3, h, w]`` each.
        floors: ``[C]``, on the detector's device; detections of a class with no more than its floor are left out of
            the second choice, as are those with no more than the config's ``score_threshold``.

    Returns:
        For each image what ``detector(images)`` gives, and all detections above the floors, best first; boxes in
        pixels of the image as it was handed in.
    """
    batch = detector.preprocess.fitted(images, detector.config.short_side, detector.config.long_side)
    match detector:
        case FasterRCNN():
            found = _of_regions(detector, batch, floors)
        case DenseDetector():
            found = _of_anchors(detector, batch, floors)
    ordinary, every = (unscaled(list(part), images, batch.sizes) for part in zip(*found, strict=True))
    return list(zip(ordinary, every, strict=True))


def _of_regions(detector: FasterRCNN, batch: ImageBatch, floors: Tensor) -> list[Both]:
    scored = detector.score(batch)
    counts = [len(p) for p in scored.proposals]
    parts = zip(
        scored.proposals,
        torch.split(scored.scores, counts),
        torch.split(scored.embedded.loc, counts),
        batch.sizes,
        strict=True,
    )
    found, every = zip(*(_choose(detector, *part, floors=floors) for part in parts), strict=True)
    return list(zip(detector.with_masks(scored.features, list(found)), every, strict=True))


def _of_anchors(detector: DenseDetector, batch: ImageBatch, floors: Tensor) -> list[Both]:
    post, scored = detector.config.postprocess, detector.score(batch)
    found = []
    for image, (ordinary, size) in enumerate(zip(detector.select(scored, batch.sizes), batch.sizes, strict=True)):
        scores, anchors, labels, first = [], [], [], 0
        for level in scored.output.levels:
            top, index, kind = _best_of_classes(detector, level, image, floors)
            scores.append(top)
            anchors.append(index + first)
            labels.append(kind)
            first += level.logits.shape[1]
        every = select_among(
            torch.cat(scores),
            torch.cat(anchors),
            torch.cat(labels),
            detector.boxes_of(scored.output, image, size),
            score_threshold=post.score_threshold,
            nms_iou=post.nms_iou,
            detections=sum(len(top) for top in scores) + 1,
        )
        found.append((ordinary, every))
    return found


def _best_of_classes(
    detector: DenseDetector, level: LevelOutput, image: int, floors: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Score, anchor and label ``[K]`` of the best of each class of a level, without those that floors rule out."""
    quality = None if level.quality is None else level.quality[image]
    scores = detector.head.scores(level.logits[image], quality)  # [A_l, C]
    count = min(detector.config.postprocess.level_candidates, len(scores))
    top, anchors = scores.topk(count, dim=0)  # [k, C]
    above = top > floors.clamp(min=detector.config.postprocess.score_threshold)
    row, column = above.nonzero().unbind(dim=1)
    return top[row, column], anchors[row, column], column + 1


def _choose(
    detector: FasterRCNN,
    proposals: Tensor,
    scores: Tensor,
    loc: Tensor,
    size: tuple[int, int],
    *,
    floors: Tensor,
) -> Both:
    head, post = detector.head, detector.config.postprocess
    # By the whole regression whatever the floors: by rows, the last bits of boxes would depend on how many there are.
    full = head.fc_reg(loc).view(len(loc), -1, 4)  # [R, C, 4], or [R, 1, 4] for all classes alike

    def of_all(regions: Tensor, labels: Tensor) -> Tensor:
        offsets: Tensor = full[regions, torch.zeros_like(labels) if head.class_agnostic else labels - 1]
        return offsets

    def choose(scores: Tensor, offsets_of: Callable[[Tensor, Tensor], Tensor], most: int) -> Detection:
        return select(
            scores,
            lambda r, c: clip(decode(offsets_of(r, c).float(), proposals[r], ROI_WEIGHTS), size),
            score_threshold=post.score_threshold,
            nms_iou=post.nms_iou,
            detections=most,
        )

    ordinary = choose(scores, lambda r, c: head.pair_offsets(loc, r, c), post.detections)
    # A score of 0 is never above the threshold.
    return ordinary, choose(scores.masked_fill(scores <= floors, 0), of_all, max(1, scores.numel()))
