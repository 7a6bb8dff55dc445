"""Pictures of shards in, the pixels and the pseudo boxes that `gen_mosaics` stitches together out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import Detection
from clis_core.categories import Categories
from clis_core.data.companions import PictureSet
from clis_core.data.mosaic import resize_uint8
from clis_core.data.pseudo_boxes import BoxRule, PseudoBoxes, detected_boxes
from clis_core.data.shards.pixels import decode_picture
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.errors import DataError
from clis_core.jobs.device import open_device


@dataclass(frozen=True)
class MosaicOptions:
    """How to make mosaics.

    Attributes:
        boxes: where the boxes come from; see `detected_boxes`. "fixed" has six in each picture, "regions" that of
            ``clis gen-regions``.
        regions: folder of the regions; None takes the one beside the shards.
        threshold: score of a detection that is trusted.
        max_side: long side of a picture, at most, before it goes into its mosaic (pixels).
        seed: of the order of the pictures.
        batch: pictures that the detector takes at a time.
        workers: processes that decode.
        device: see `open_device`.
    """

    boxes: BoxRule = "own-label"
    regions: Path | None = None
    threshold: float = 0.5
    max_side: int = 640
    seed: int = 0
    batch: int = 8
    workers: int = 1
    device: str = ""


class MosaicPictures:
    """Indices of a batch to its pictures, decoded and no larger than they shall be."""

    def __init__(self, pictures: PictureSet, max_side: int) -> None:
        self._pictures, self._max_side = pictures, max_side

    def __call__(self, indices: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        """Pixels uint8 ``[3, h, w]``, with the index, of one picture after the other."""
        for index in indices:
            number = int(self._pictures.numbers[index])
            height, width = self._pictures.shards.size(number)
            scale = min(1.0, self._max_side / max(height, width))
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            pixels = decode_picture(self._pictures.shards, number, min(size))
            yield resize_uint8(pixels, size), index


class PseudoBoxFinder:
    """Boxes of pictures by a detector.

    Args:
        checkpoint: of the detector.
        categories: it has to know these classes, in this order.
        options: rule, threshold and device.

    Attributes:
        sha256: of its weights.

    Raises:
        CheckpointError: it cannot be read.
        DataError: it knows other classes.
    """

    def __init__(self, checkpoint: Path, categories: Categories, options: MosaicOptions) -> None:
        shipped = detector_from_checkpoint(checkpoint, open_device(options.device))
        if [(c.id, c.name) for c in shipped.categories] != [(c.id, c.name) for c in categories]:
            raise DataError(
                f"{checkpoint}: the detector knows other classes than the training json has.",
                hint="Take a run that was trained on it: --detector RUN",
            )
        self._detector: Detector = shipped.detector
        self._options = options
        self.sha256 = fingerprint(shipped.detector.state_dict())

    @torch.no_grad()
    def find(self, images: Sequence[Tensor], labels: Sequence[int]) -> list[PseudoBoxes]:
        """What is taken for true boxes in each picture."""
        detector, options = self._detector, self._options
        found = []
        device = next(detector.parameters()).device
        seen: list[Detection] = detector([image.to(device) for image in images])
        for detections, image, label in zip(seen, images, labels, strict=True):
            frame = torch.tensor([image.shape[-1], image.shape[-2]] * 2, dtype=torch.float32)
            boxes: NDArray[np.float32] = (detections.boxes.cpu() / frame).clamp(0, 1).numpy()
            kinds, scores = detections.labels.cpu().numpy(), detections.scores.cpu().numpy()
            found.append(detected_boxes(options.boxes, boxes, kinds, scores, label, options.threshold))
        return found
