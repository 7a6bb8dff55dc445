"""A detector, its exported form and images in; how far they agree out.

Boxes are compared in pixels of the frame, where the graph works.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clis_core.batch import Detection, ImageBatch, RawImage
from clis_core.detectors.export.about import Precision
from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.faster_rcnn import FasterRCNN


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        box: largest difference of a side, pixels of the frame.
        score: largest difference of the score.
        same: least share of the detections that must be the same.
        weighted: the same with every detection counted by its score.
    """

    box: float
    score: float
    same: float
    weighted: float


# In float16 another of two equally good proposals may be taken here and there, and its box is another one.
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(box=0.5, score=1e-3, same=0.99, weighted=0.99),
    "fp16": Tolerance(box=4.0, score=0.05, same=0.9, weighted=0.9),
}


@dataclass(frozen=True)
class Parity:
    """How far a detector and its exported form agree.

    Attributes:
        images: that both have seen.
        detections: of the detector.
        same: share of the detections of either that the other has as well.
        weighted: the same with every detection counted by its score.
        box_gap: largest difference of a side among the same detections, pixels of the frame.
        score_gap: largest difference of a score among them.
        uncertain: images for which the graph's candidates were too few to be certain.
        seconds: median time of an image, by "detector" and "exported".
    """

    images: int
    detections: int
    same: float
    weighted: float
    box_gap: float
    score_gap: float
    uncertain: int
    seconds: dict[str, float]

    def within(self, tolerance: Tolerance) -> bool:
        """Whether enough is the same."""
        return self.same >= tolerance.same and self.weighted >= tolerance.weighted


def compare(
    detector: FasterRCNN,
    exported: ExportedDetector,
    images: Iterable[Tensor],
    tolerance: Tolerance,
    progress: Callable[[int], None] = lambda done: None,
) -> Parity:
    """Run both on the same pixels in the same frames.

    Args:
        detector: in inference mode; it looks at as many pairs as it takes.
        exported: made of it.
        images: uint8 ``[3, h, w]``, of any size.
        tolerance: what counts as the same.
        progress: told the number of images done.
    """
    device = next(detector.parameters()).device
    counts = torch.zeros(4, dtype=torch.float64)  # same ones, all; and both by score
    seconds: dict[str, list[float]] = {"detector": [], "exported": []}
    references, box_gap, score_gap, before = 0, 0.0, 0.0, exported.uncertain
    with torch.inference_mode():
        for done, image in enumerate(images, start=1):
            frames, sizes = exported.place([image])
            batch = framed(detector, frames, sizes)
            reference, took = _timed(detector.detect, device, batch)
            seconds["detector"].append(took)
            found, took = _timed(exported.detect, device, frames, sizes)
            seconds["exported"].append(took)
            here, box, score = _gaps(Detection(*(x.cpu() for x in reference)), found, tolerance)
            counts += here
            references += len(reference.scores)
            box_gap, score_gap = max(box_gap, box), max(score_gap, score)
            progress(done)
    same, total, weight, total_weight = counts.tolist()
    return Parity(
        len(seconds["exported"]),
        references,
        same / total if total else 1.0,
        weight / total_weight if total_weight else 1.0,
        box_gap,
        score_gap,
        exported.uncertain - before,
        {name: statistics.median(values) for name, values in seconds.items() if values},
    )


def framed(detector: FasterRCNN, frames: Tensor, sizes: list[tuple[int, int]]) -> ImageBatch:
    """Images in frames, uint8 ``[N, 3, H, W]``, as the detector takes them."""
    raw = [RawImage(x[:, :h, :w], (h, w)) for x, (h, w) in zip(frames, sizes, strict=True)]
    pixels = detector.preprocess(raw).pixels
    height, width = frames.shape[-2:]
    out = torch.empty((len(raw), 3, height, width), device=pixels.device, memory_format=torch.channels_last).zero_()
    h, w = min(height, pixels.shape[-2]), min(width, pixels.shape[-1])
    out[:, :, :h, :w] = pixels[:, :, :h, :w]
    return ImageBatch(out, sizes)


def _timed(detect: Callable[..., list[Detection]], device: torch.device, *inputs: Any) -> tuple[Detection, float]:
    began = time.perf_counter()
    (result,) = detect(*inputs)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - began


def _gaps(reference: Detection, found: Detection, tolerance: Tolerance) -> tuple[Tensor, float, float]:
    """Of one image: counts of same and all detections, plain and by score, ``[4]``; the largest gaps."""
    box = (reference.boxes[:, None] - found.boxes).abs().amax(dim=2)
    score = (reference.scores[:, None] - found.scores).abs()
    same = (reference.labels[:, None] == found.labels) & (box <= tolerance.box) & (score <= tolerance.score)
    there, here = same.any(dim=1), same.any(dim=0)
    counts = (
        there.sum() + here.sum(),
        torch.tensor(len(there) + len(here)),
        reference.scores[there].sum() + found.scores[here].sum(),
        reference.scores.sum() + found.scores.sum(),
    )
    gaps = (float(box[same].max()), float(score[same].max())) if same.any() else (0.0, 0.0)
    return torch.stack([x.double() for x in counts]), *gaps
