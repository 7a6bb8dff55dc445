"""An exported file that runs, with the face of a detector: images of any size in, detections out."""

from __future__ import annotations

import torch
from torch import Tensor

from clis_core.batch import Detection
from clis_core.categories import Categories
from clis_core.config.detector import DetectorConfig
from clis_core.detectors.export.about import About
from clis_core.detectors.fixed import FixedDetections, Run, TorchKernels
from clis_core.detectors.preprocess import resize, unscaled


def place(about: About, images: list[Tensor]) -> tuple[Tensor, list[tuple[int, int]]]:
    """Images resized and put into frames.

    Args:
        about: gives sizes and frame.
        images: uint8 ``[3, h, w]`` each.

    Returns:
        uint8 ``[N, 3, H, W]``, and the (height, width) of each image in its frame.
    """
    sizes = [about.fit(int(x.shape[-2]), int(x.shape[-1])) for x in images]
    frames = torch.zeros(len(images), 3, *about.frame_for(sizes), dtype=torch.uint8)
    for frame, image, (height, width) in zip(frames, images, sizes, strict=True):
        frame[:, :height, :width] = resize(image.cpu(), (height, width))
    return frames, sizes


class ExportedDetector:
    """A detector that runs outside of this package.

    Args:
        run: images and sizes to detections in the frame, see `FixedDetector.forward`.
        about: what the file says of itself.
        device: where it runs; the CPU if not given.

    Attributes:
        about: likewise.
        device: likewise.
        images: how many images it has seen.
        uncertain: of how many of them the candidates of the graph were too few to be certain.
    """

    def __init__(self, run: Run, about: About, device: torch.device | None = None) -> None:
        self._run = run
        self.about = about
        self.device = device or torch.device("cpu")
        self.images = 0
        self.uncertain = 0

    @property
    def config(self) -> DetectorConfig:
        """The detector's, as it was exported."""
        return self.about.config

    @property
    def categories(self) -> Categories:
        """Label i is ``categories[i - 1]``."""
        return self.about.categories

    def __call__(self, images: list[Tensor]) -> list[Detection]:
        """Detect.

        Args:
            images: uint8 ``[3, h, w]`` each, RGB, of any size.

        Returns:
            One `Detection` for each image, boxes in pixels of the image as it was handed in.
        """
        step = self.about.batch or max(1, len(images))
        return [found for start in range(0, len(images), step) for found in self._some(images[start : start + step])]

    def detect(self, frames: Tensor, sizes: list[tuple[int, int]]) -> list[Detection]:
        """Detections in pixels of the frame.

        Args:
            frames: uint8 ``[N, 3, H, W]``; N is no more than the graph takes at a time.
            sizes: (height, width) of each image in its frame.
        """
        missing = (self.about.batch or 0) - len(sizes)
        if missing > 0:  # the graph takes no fewer: the first one stands in
            frames = torch.cat((frames, frames[:1].expand(missing, -1, -1, -1)))
        result = self._run(frames, torch.tensor(sizes + sizes[:1] * max(0, missing)))
        self.images += len(sizes)
        self.uncertain += int((~result.certain[: len(sizes)]).sum())
        return [self._detection(result, index) for index in range(len(sizes))]

    def _some(self, images: list[Tensor]) -> list[Detection]:
        frames, sizes = place(self.about, images)
        return unscaled(self.detect(frames, sizes), images, sizes)

    def _detection(self, result: FixedDetections, index: int) -> Detection:
        boxes, labels, scores = (x[index] for x in result[:3])
        keep = scores > 0
        if not self.about.nms:
            post = self.config.postprocess
            one = slice(index, index + 1)
            keep = TorchKernels().keep_by_class(
                result.boxes[one], keep[None], result.labels[one], len(self.categories), post.nms_iou
            )[0]
        masks = None if result.masks is None else result.masks[index]
        return Detection(boxes, labels, scores, masks).only(keep.nonzero()[: self.config.postprocess.detections, 0])
