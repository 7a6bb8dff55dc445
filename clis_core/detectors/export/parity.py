"""A detector, its exported form and images in; how far they agree out.

First the detector says what it finds, and how many candidates that took; these are the references, and from them the
number of candidates of the graph is chosen. Boxes are compared in pixels of the frame, where the graph works.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from clis_core.batch import Detection, ImageBatch, RawImage
from clis_core.detectors.build import Detector
from clis_core.detectors.export.about import About, Precision
from clis_core.detectors.export.model import ExportedDetector, place
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.fixed import candidates_needed


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        box: largest difference of a side, pixels of the frame.
        score: largest difference of the score.
        mask: largest mean difference of a mask's probabilities.
        same: least share of the detections that must be the same.
        weighted: the same with every detection counted by its score.
    """

    box: float
    score: float
    mask: float
    same: float
    weighted: float


# In float16 another of two equally good proposals may be taken here and there, and its box is another one.
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(box=0.5, score=1e-3, mask=0.01, same=0.99, weighted=0.99),
    "fp16": Tolerance(box=4.0, score=0.05, mask=0.05, same=0.9, weighted=0.9),
}


class Reference(NamedTuple):
    """What the detector finds in one image.

    Attributes:
        found: its exact detections, in pixels of the frame.
        needed: how many of the best pairs of region and class decided about them.
        seconds: that it took.
    """

    found: Detection
    needed: int
    seconds: float


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
        mask_gap: largest mean difference of a mask's probabilities among them; 0 without masks.
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
    mask_gap: float = 0.0

    def within(self, tolerance: Tolerance) -> bool:
        """Whether enough is the same."""
        return self.same >= tolerance.same and self.weighted >= tolerance.weighted


def refer(
    detector: Detector,
    about: About,
    images: Iterable[Tensor],
    progress: Callable[[int], None] = lambda done: None,
) -> list[Reference]:
    """Run a detector on images in the frames of its exported form.

    Args:
        detector: in inference mode; it looks at as many pairs as it takes.
        about: gives the frames.
        images: uint8 ``[3, h, w]``, of any size.
        progress: told the number of images done.
    """
    device = next(detector.parameters()).device
    references = []
    with torch.inference_mode():
        for done, image in enumerate(images, start=1):
            batch = framed(detector, *place(about, [image]))
            began = time.perf_counter()
            (found,), scores = _scored(detector, batch)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - began
            needed = candidates_needed(scores, found, detector.config.postprocess)
            references.append(Reference(found.to("cpu"), needed, seconds))
            progress(done)
    return references


def compare(
    references: list[Reference],
    exported: ExportedDetector,
    images: Iterable[Tensor],
    tolerance: Tolerance,
    progress: Callable[[int], None] = lambda done: None,
) -> Parity:
    """Run the exported form on the same images.

    Args:
        references: of `refer`.
        exported: made of the same detector.
        images: the same, in the same order.
        tolerance: what counts as the same.
        progress: told the number of images done.
    """
    counts = torch.zeros(4, dtype=torch.float64)  # same ones, all; and both by score
    seconds, largest, before = [], torch.zeros(3), exported.uncertain
    for done, (image, reference) in enumerate(zip(images, references, strict=True), start=1):
        frames, sizes = place(exported.about, [image])
        began = time.perf_counter()
        (found,) = exported.detect(frames, sizes)
        seconds.append(time.perf_counter() - began)
        here, gaps = _gaps(reference.found, found, tolerance)
        counts += here
        largest = torch.maximum(largest, gaps)
        progress(done)
    same, total, weight, total_weight = counts.tolist()
    box_gap, score_gap, mask_gap = largest.tolist()
    return Parity(
        len(references),
        sum(len(r.found.scores) for r in references),
        same / total if total else 1.0,
        weight / total_weight if total_weight else 1.0,
        box_gap,
        score_gap,
        exported.uncertain - before,
        {"detector": statistics.median(r.seconds for r in references), "exported": statistics.median(seconds)}
        if references
        else {},
        mask_gap,
    )


def _scored(detector: Detector, batch: ImageBatch) -> tuple[list[Detection], Tensor]:
    """Detections, and the scores of all pairs that they were chosen among."""
    if isinstance(detector, FasterRCNN):
        regions = detector.score(batch)
        return detector.select(regions, batch.sizes), regions.scores
    anchors = detector.score(batch)
    return detector.select(anchors, batch.sizes), anchors.scores


def framed(detector: Detector, frames: Tensor, sizes: list[tuple[int, int]]) -> ImageBatch:
    """Images in frames, uint8 ``[N, 3, H, W]``, as the detector takes them."""
    raw = [RawImage(x[:, :h, :w], (h, w)) for x, (h, w) in zip(frames, sizes, strict=True)]
    pixels = detector.preprocess(raw).pixels
    height, width = frames.shape[-2:]
    out = torch.empty((len(raw), 3, height, width), device=pixels.device, memory_format=torch.channels_last).zero_()
    h, w = min(height, pixels.shape[-2]), min(width, pixels.shape[-1])
    out[:, :, :h, :w] = pixels[:, :, :h, :w]
    return ImageBatch(out, sizes)


def _gaps(reference: Detection, found: Detection, tolerance: Tolerance) -> tuple[Tensor, Tensor]:
    """Of one image: counts of same and all detections, plain and by score; the largest gaps of box, score, mask."""
    box = (reference.boxes[:, None] - found.boxes).abs().amax(dim=2)
    score = (reference.scores[:, None] - found.scores).abs()
    mask = torch.zeros_like(box)
    if reference.masks is not None:
        assert found.masks is not None, "the file has no masks"
        mask = torch.cdist(reference.masks.flatten(1), found.masks.flatten(1), p=1) / reference.masks.shape[-1] ** 2
    same = (reference.labels[:, None] == found.labels) & (box <= tolerance.box) & (score <= tolerance.score)
    same &= mask <= tolerance.mask
    there, here = same.any(dim=1), same.any(dim=0)
    counts = (
        there.sum() + here.sum(),
        torch.tensor(len(there) + len(here)),
        reference.scores[there].sum() + found.scores[here].sum(),
        reference.scores.sum() + found.scores.sum(),
    )
    gaps = [x[same].max() if same.any() else x.new_zeros(()) for x in (box, score, mask)]
    return torch.stack([x.double() for x in counts]), torch.stack(gaps)
