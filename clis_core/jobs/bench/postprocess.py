"""Post-processing of one image against torchvision's NMS over all candidates: seconds and equality out."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from clis_core.batch import Detection
from clis_core.detectors.postprocess import MIN_SIDE, select

REGIONS, CLASSES, THRESHOLD, IOU, DETECTIONS = 1000, 1203, 1e-4, 0.5, 300
ROUNDS, OURS_PER_ROUND = 3, 5


def dense_case(regions: int, classes: int, device: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores ``[R, C]``, all above the threshold, and class-specific boxes ``[R, C, 4]`` around a few objects."""
    generator = torch.Generator().manual_seed(seed)
    objects = torch.rand(50, 2, generator=generator) * 700 + 50  # centres, pixels
    centre = objects[torch.randint(50, (regions,), generator=generator)]
    centre = centre + torch.randn(regions, 2, generator=generator) * 8
    half = torch.rand(regions, 2, generator=generator) * 60 + 15
    region = torch.cat((centre - half, centre + half), dim=1)
    boxes = region[:, None] + torch.randn(regions, classes, 4, generator=generator) * 2
    scores = torch.rand(regions, classes, generator=generator) * (1 - 2 * THRESHOLD) + 2 * THRESHOLD
    return scores.to(device), boxes.to(device)


def torchvision_way(scores: Tensor, boxes: Tensor, *, in_order: bool = False) -> Detection:
    """What torchvision's RoIHeads does: threshold, small boxes out, NMS within each class, the best.

    Args:
        scores: ``[R, C]``.
        boxes: ``[R, C, 4]``.
        in_order: put survivors of equal score into a defined order; torchvision's last sort leaves it open.
    """
    flat_boxes, flat_scores = boxes.reshape(-1, 4), scores.reshape(-1)
    labels = torch.arange(1, scores.shape[1] + 1, device=scores.device).repeat(len(scores))
    keep = (flat_scores > THRESHOLD).nonzero()[:, 0]
    flat_boxes, flat_scores, labels = flat_boxes[keep], flat_scores[keep], labels[keep]
    keep = ((flat_boxes[:, 2:] - flat_boxes[:, :2]) >= MIN_SIDE).all(dim=1).nonzero()[:, 0]
    flat_boxes, flat_scores, labels = flat_boxes[keep], flat_scores[keep], labels[keep]
    keep = batched_nms(flat_boxes, flat_scores, labels, IOU)
    if in_order:
        keep = keep.sort().values
        keep = keep[flat_scores[keep].sort(descending=True, stable=True).indices]
    keep = keep[:DETECTIONS]
    return Detection(flat_boxes[keep], labels[keep], flat_scores[keep])


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure 1,000 regions x 1,203 classes, all above the threshold.

    Args:
        scale: multiplies the number of regions.

    Returns:
        ``ours`` and ``peer`` in seconds (medians, interleaved), their ``ratio``, and whether the results are equal.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    regions = max(1, round(REGIONS * scale))
    scores, boxes = dense_case(regions, CLASSES, device)

    def ours() -> Detection:
        return select(
            scores,
            lambda r, c: boxes[r, c - 1],
            score_threshold=THRESHOLD,
            nms_iou=IOU,
            detections=DETECTIONS,
        )

    def timed(call: Any) -> tuple[float, Detection]:
        began = time.perf_counter()
        result = call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began, result

    ours()  # the first call loads kernels
    mine, theirs = [], []
    for _ in range(ROUNDS):
        mine += [timed(ours)[0] for _ in range(OURS_PER_ROUND)]
        theirs.append(timed(lambda: torchvision_way(scores, boxes))[0])
    result, reference = ours(), torchvision_way(scores, boxes, in_order=True)
    equal = all(torch.equal(a, b) for a, b in zip(result[:3], reference[:3], strict=True))
    return {
        "name": "postprocess",
        "ours": statistics.median(mine),
        "peer": statistics.median(theirs),
        "ratio": statistics.median(theirs) / statistics.median(mine),
        "equal": equal,
        "unit": "seconds an image",
        "peer_name": "torchvision.ops.batched_nms over all candidates",
        "regions": regions,
        "classes": CLASSES,
        "candidates": regions * CLASSES,
        "detections": len(result.scores),
        "device": device,
        "threads": torch.get_num_threads(),
    }
