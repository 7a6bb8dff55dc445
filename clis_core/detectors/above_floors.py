"""Images and a floor for each class in; the ordinary detections, and all above the floors without a cap, out.

AP_fixed counts the best 10,000 detections of each class over a whole data set, however many of them are in one image.
Under the ordinary cap of 300 the frequent classes would take the places of the seldom ones, and any larger cap would
do the same to a lesser degree: so there is none. Without floors an image of 1,000 proposals and 1,203 classes then has
some hundred thousand detections. The floors, scores that a class's 10,000th best has reached, keep them few; a
detection below its floor cannot be among the best any more, and cannot suppress one that is.

R regions, C classes, K pairs. Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clis_core.batch import Detection, RawImage, fit_size
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.postprocess import select


def detect_above_floors(
    detector: FasterRCNN, images: list[Tensor], floors: Tensor
) -> list[tuple[Detection, Detection]]:
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
    config = detector.config
    sizes = [(x.shape[-2], x.shape[-1]) for x in images]
    batch = detector.preprocess(
        [
            RawImage(x, fit_size(*size, config.short_side, config.long_side))
            for x, size in zip(images, sizes, strict=True)
        ]
    )
    features = detector.encoder(batch.pixels)
    proposals = detector.rpn.propose(
        detector.rpn(batch.pixels, features),
        batch.sizes,
        config.rpn.before_nms,
        config.rpn.proposals,
        config.rpn.nms_iou,
    )
    embedded = detector.head.embed(detector.pool_regions(features, proposals))
    counts = [len(p) for p in proposals]
    parts = zip(
        proposals,
        torch.split(detector.head.scores(embedded), counts),
        torch.split(embedded.loc, counts),
        batch.sizes,
        sizes,
        strict=True,
    )
    return [_choose(detector, *part, floors=floors) for part in parts]


def _choose(
    detector: FasterRCNN,
    proposals: Tensor,
    scores: Tensor,
    loc: Tensor,
    resized: tuple[int, int],
    original: tuple[int, int],
    *,
    floors: Tensor,
) -> tuple[Detection, Detection]:
    head, post = detector.head, detector.config.postprocess
    # By the whole regression whatever the floors: by rows, the last bits of boxes would depend on how many there are.
    full = head.fc_reg(loc).view(len(loc), -1, 4)  # [R, C, 4], or [R, 1, 4] for all classes alike

    def of_all(regions: Tensor, labels: Tensor) -> Tensor:
        offsets: Tensor = full[regions, torch.zeros_like(labels) if head.class_agnostic else labels - 1]
        return offsets

    def choose(scores: Tensor, offsets_of: Callable[[Tensor, Tensor], Tensor], most: int) -> Detection:
        found = select(
            scores,
            lambda r, c: clip(decode(offsets_of(r, c).float(), proposals[r], ROI_WEIGHTS), resized),
            score_threshold=post.score_threshold,
            nms_iou=post.nms_iou,
            detections=most,
        )
        ratio = (original[1] / resized[1], original[0] / resized[0])
        scale = torch.tensor([*ratio, *ratio], dtype=torch.float32, device=found.boxes.device)
        return found._replace(boxes=clip(found.boxes * scale, original))

    ordinary = choose(scores, lambda r, c: head.pair_offsets(loc, r, c), post.detections)
    # A score of 0 is never above the threshold.
    return ordinary, choose(scores.masked_fill(scores <= floors, 0), of_all, max(1, scores.numel()))
