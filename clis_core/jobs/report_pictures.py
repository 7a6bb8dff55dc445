"""Chosen examples in, their images made small and all boxes with their verdicts out."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from clis_core.config.data import DataConfig
from clis_core.data.annotations import load_annotations
from clis_core.data.decode import read_image
from clis_core.data.images import ImageFiles
from clis_core.data.layout import find_images
from clis_core.errors import DataError
from clis_core.evaluation.blocks import detections_of_images
from clis_core.evaluation.examples import Example, Shown, Truth, shown_of, truths_of
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import Objects
from clis_core.evaluation.mistakes import KINDS, NONE
from clis_core.evaluation.outcomes import Outcome, verdicts_on
from clis_core.evaluation.rows import check_masks
from clis_core.jobs.report_runs import Split
from clis_core.page.content import Picture
from clis_core.report import Reporter

LONG_SIDE = 480
"""Pixels of a picture on the page, at most."""
QUALITY = 72
"""Of its JPEG."""


class PictureMaker:
    """Makes pictures of the images of one split.

    Args:
        truth: the ground truth.
        objects: of `objects_of`.
        config: where the images are.
        split: which of them.
        score_cut: least score of a detection that is shown.

    Raises:
        DataError: images are missing.
    """

    def __init__(
        self, truth: GroundTruth, objects: Objects, config: DataConfig, split: Split, score_cut: float
    ) -> None:
        self._truth = truth
        self._objects = objects
        self._score_cut = score_cut
        self._exif = config.exif
        self._files = _image_files(truth, config, split)
        table = self._files.table
        self._index = {image_id: n for n, image_id in enumerate(table.image_ids.tolist())}

    def make(
        self,
        examples: Sequence[Example],
        files: Mapping[int, Path | None],
        outcomes: Mapping[int, Outcome],
        runs: int,
        reporter: Reporter,
    ) -> list[Picture]:
        """The pictures of the examples.

        Args:
            examples: in their order.
            files: detections by place of the run.
            outcomes: by place of the run.
            runs: how many there are on the page.
            reporter: gets progress.

        Raises:
            DataError: an image cannot be read.
        """
        image_ids = np.sort(self._truth.image_ids)
        wanted = [int(image_ids[example.image]) for example in examples]
        shown: dict[int, list[list[Shown]]] = {}
        for n, path in files.items():
            assert path is not None
            detections = detections_of_images(path, wanted)
            check_masks(detections)
            verdicts = verdicts_on(self._truth, self._objects, detections, self._score_cut)
            shown[n] = [shown_of(self._truth, verdicts, example, self._score_cut) for example in examples]
        pictures = []
        for k, (example, image_id) in enumerate(zip(examples, wanted, strict=True)):
            truths = truths_of(self._objects, example.image)
            jpeg, size, scale = self._jpeg(image_id)
            fates = [_fates(truths, outcomes[n]) if n in outcomes else None for n in range(runs)]
            boxes = [shown[n][k] if n in shown else None for n in range(runs)]
            pictures.append(Picture(example, image_id, jpeg, size, scale, truths, fates, boxes))
            reporter.progress("pictures", k + 1, len(examples))
        return pictures

    def _jpeg(self, image_id: int) -> tuple[bytes, tuple[int, int], float]:
        index = self._index[image_id]
        height, width = self._files.table.sizes[index].tolist()
        pixels = read_image(self._files.path(index), exif=self._exif, at_least=LONG_SIDE, size=(height, width))
        scale = min(1.0, LONG_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        file = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=QUALITY, optimize=True)
        return file.getvalue(), size, scale


def _fates(truths: Sequence[Truth], outcome: Outcome) -> list[str]:
    fates = []
    for one in truths:
        kind = int(outcome.covered[one.place])
        if one.ignored:
            fates.append("ignored")
        elif outcome.found[one.place]:
            fates.append("found")
        else:
            fates.append("Miss" if kind == NONE else KINDS[kind])
    return fates


def _image_files(truth: GroundTruth, config: DataConfig, split: Split) -> ImageFiles:
    explicit = config.val_images if split == "val" else config.train_images
    table = load_annotations(truth.path, None)
    try:
        return find_images(table, explicit, truth.path, config.root, split)
    except DataError as error:
        raise DataError(
            error.message, hint="Say where the data set lies: --data DIR; or leave pictures out: --pictures 0"
        ) from None
