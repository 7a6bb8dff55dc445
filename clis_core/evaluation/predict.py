"""A detector and decoded images in, the detections of a data set out.

Boxes are xyxy in pixels of the image as annotated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.categories import Categories
from clis_core.data.annotations import AnnotationTable
from clis_core.detectors.build import Detector
from clis_core.evaluation.detections import DetectionBuilder, Detections
from clis_core.report import Reporter


def predict(
    detector: Detector,
    categories: Categories,
    table: AnnotationTable,
    images: Iterable[tuple[list[int], list[Tensor]]],
    *,
    reporter: Reporter,
    stopping: Callable[[], str | None] = lambda: None,
) -> Detections | None:
    """Run a detector over the images of an annotation table.

    Args:
        detector: in inference mode.
        categories: the classes that it was trained on.
        table: gives image ids and sizes.
        images: batches of indices into the table and decoded images, uint8 ``[3, h, w]``; an image may have been
            decoded at a smaller size than the table says.
        reporter: gets progress.
        stopping: asked between batches whether to stop.

    Returns:
        All detections, with the ids of the data set; None if it was asked to stop.
    """
    ids = np.asarray(categories.ids, dtype=np.int64)
    builder = DetectionBuilder()
    done, total = 0, len(table)
    with torch.inference_mode():
        for indices, pixels in images:
            if stopping():
                return None
            for index, image, found in zip(indices, pixels, detector(pixels), strict=True):
                height, width = (int(x) for x in table.sizes[index])
                ratio = np.array([width / image.shape[-1], height / image.shape[-2]] * 2, dtype=np.float32)
                boxes: NDArray[np.float32] = found.boxes.float().cpu().numpy() * ratio
                labels = found.labels.cpu().numpy()
                builder.add(int(table.image_ids[index]), ids[labels - 1], boxes, found.scores.float().cpu().numpy())
            done += len(indices)
            reporter.progress("detect", done, total)
    return builder.build()
