"""A detector and decoded images in, parts of the detections of a data set on disk.

C classes. Boxes are xyxy in pixels of the image as annotated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import Detection
from clis_core.categories import Categories
from clis_core.data.annotations import AnnotationTable
from clis_core.data.mask_paste import rle_of_mask
from clis_core.detectors.above_floors import detect_above_floors
from clis_core.detectors.build import Detector
from clis_core.detectors.load import Model
from clis_core.evaluation.detections import DetectionBuilder, Detections
from clis_core.evaluation.fixed import PER_CLASS
from clis_core.evaluation.parts import Parts
from clis_core.evaluation.top_scores import TopScores
from clis_core.report import Reporter

Images = Iterable[tuple[list[int], list[Tensor]]]
Both = tuple[Detection, Detection | None]


def batches_of(parts: Parts, mine: Sequence[int], batch: int) -> list[list[int]]:
    """The batches of images, as places in the table, that `predict` takes for some parts; none is in two parts.

    So an image has the same neighbours in its batch however many processes share the work: padding them to one size
    changes the last bits of their features.
    """
    return [
        list(images[start : start + batch])
        for images in (parts.images_of(n) for n in mine)
        for start in range(0, len(images), batch)
    ]


def predict(
    detector: Model,
    categories: Categories,
    table: AnnotationTable,
    parts: Parts,
    mine: Sequence[int],
    there: Sequence[int],
    images: Images,
    *,
    reporter: Reporter,
    stopping: Callable[[], str | None] = lambda: None,
) -> bool:
    """Run a detector over the images of some parts, and write each part when it is complete.

    Args:
        detector: in inference mode.
        categories: the classes that it was trained on.
        table: gives image ids and sizes.
        parts: where they go.
        mine: which parts, rising.
        there: which other parts there are already, rising; those before one of ``mine`` tell which scores are too
            low to be among the best of their class.
        images: the batches of `batches_of`, decoded: places in the table, and uint8 ``[3, h, w]``; an image may have
            been decoded at a smaller size than the table says.
        reporter: gets progress.
        stopping: asked between batches whether to stop.

    Returns:
        Whether all of them are written; False if it was asked to stop.
    """
    run: _Ordinary | _EveryDetection = _Ordinary(detector)
    if parts.every:
        assert isinstance(detector, Detector), "an exported graph gives no detections beyond its cap"
        run = _EveryDetection(detector, categories)
    ids = np.asarray(categories.ids, dtype=np.int64)
    stream, seen = iter(images), iter([*there, len(parts)])
    before = next(seen)
    done, total = 0, sum(len(parts.images_of(n)) for n in mine)
    with torch.inference_mode():
        for part in mine:
            while before < part:
                run.learn(parts, before)
                before = next(seen)
            builders = DetectionBuilder(), DetectionBuilder()
            of_part = len(parts.images_of(part))
            for indices, pixels in _until(stream, of_part):
                if stopping():
                    return False
                for index, image, found in zip(indices, pixels, run(pixels), strict=True):
                    for builder, detection in zip(builders, found, strict=True):
                        if detection is not None:
                            _add(builder, detection, image, index, table, ids)
                done += len(indices)
                reporter.progress("detect", done, total)
            ordinary, every = (builder.build() for builder in builders)
            parts.write(part, ordinary, run.best(every) if parts.every else None)
    return True


class _Ordinary:
    """A detector with its own cap on the detections of an image."""

    def __init__(self, detector: Model) -> None:
        self._detector = detector

    def __call__(self, images: list[Tensor]) -> list[Both]:
        return [(found, None) for found in self._detector(images)]

    def learn(self, parts: Parts, part: int) -> None:
        """There is nothing to learn."""

    def best(self, every: Detections) -> Detections:
        """All of them."""
        return every


class _EveryDetection:
    """A detector that gives, beside its own detections, all that may still be among the best of their class."""

    def __init__(self, detector: Detector, categories: Categories) -> None:
        self._detector = detector
        self._ids = np.asarray(categories.ids, dtype=np.int64)
        self._top = TopScores(len(categories), PER_CLASS)
        self._device = next(detector.parameters()).device

    def __call__(self, images: list[Tensor]) -> list[Both]:
        floors = torch.from_numpy(self._top.floors).to(self._device)
        found = detect_above_floors(self._detector, images, floors)
        for _, every in found:
            self._top.add(every.labels.cpu().numpy() - 1, every.scores.float().cpu().numpy())
        return list(found)

    def learn(self, parts: Parts, part: int) -> None:
        """Take in the scores of a part that was made before."""
        every = Detections.load(parts.every_file(part))
        self._top.add(np.searchsorted(self._ids, every.category_ids), every.scores.astype(np.float32))

    def best(self, every: Detections) -> Detections:
        """Those that are not below their class's floor by now; of those on it earlier ones may be among the best.

        The part's own first detections were made before its last ones were known.
        """
        return every.only(every.scores >= self._top.floors[np.searchsorted(self._ids, every.category_ids)])


def _until(stream: Iterator[tuple[list[int], list[Tensor]]], images: int) -> Iterator[tuple[list[int], list[Tensor]]]:
    """The next batches of a stream, of so many images together."""
    while images > 0:
        for batch in islice(stream, 1):
            images -= len(batch[0])
            yield batch


def _add(
    builder: DetectionBuilder,
    found: Detection,
    image: Tensor,
    index: int,
    table: AnnotationTable,
    ids: NDArray[np.int64],
) -> None:
    height, width = (int(x) for x in table.sizes[index])
    ratio = np.array([width / image.shape[-1], height / image.shape[-2]] * 2, dtype=np.float32)
    boxes: NDArray[np.float32] = found.boxes.float().cpu().numpy() * ratio
    labels = found.labels.cpu().numpy()
    masks = None
    if found.masks is not None:
        small = found.masks.cpu().numpy()
        masks = [rle_of_mask(mask, box, (height, width)) for mask, box in zip(small, boxes, strict=True)]
    builder.add(int(table.image_ids[index]), ids[labels - 1], boxes, found.scores.float().cpu().numpy(), masks)
