"""A config in, what training learns from out: the detection images, the labelled pictures, and the loader of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from clis_core.categories import Categories
from clis_core.config.detector import finds_masks
from clis_core.config.methods import learns_from_pictures, pictures_for
from clis_core.config.run import RunConfig
from clis_core.data.annotations import AnnotationTable
from clis_core.data.companions import PictureSet, open_pictures
from clis_core.data.layout import Split, open_split
from clis_core.data.loader import TrainingLoader
from clis_core.data.regions import shard_hashes
from clis_core.data.sampling import ALONE, Portion
from clis_core.data.segmentations import Segmentations
from clis_core.data.shards.reader import Shards
from clis_core.data.voc import is_voc
from clis_core.errors import ConfigError, DataError
from clis_core.losses.counts import ClassCounts

PICTURES = "pictures.json"
"""In a run folder: which pictures and regions the run learns from."""


def open_training_split(config: RunConfig, cache: Path | None) -> Split:
    """The detection images and their boxes.

    Args:
        config: the whole run.
        cache: folder for arrays, see `load_annotations`.

    Raises:
        ConfigError: no data set is named.
        DataError: it cannot be used, or has not a single box.
    """
    data = open_split(config.data, "train", cache)
    if not len(data.table.boxes):
        raise DataError(
            f"{data.table.path}: not a single usable box to learn from.",
            hint="Its 'annotations' need a 'bbox' [x, y, w, h] with an area, not all of them crowds.",
        )
    return data


def class_counts(table: AnnotationTable) -> ClassCounts:
    """How often each class occurs in the training data."""
    boxes = np.bincount(table.labels, minlength=len(table.categories) + 1)[1:]
    return ClassCounts(torch.tensor(table.image_counts()), torch.tensor(boxes), len(table))


def open_companions(config: RunConfig, categories: Categories) -> PictureSet | None:
    """The pictures that a method learns from beside the boxes; None where it needs none.

    Raises:
        ConfigError: no shards are named, or the method has no use for what the pictures' settings ask for.
        DataError: they cannot be used.
    """
    if not learns_from_pictures(config.method):
        return None
    settings = pictures_for(config.method, config.pictures)
    if not settings.s:
        return None
    if settings.shards is None:
        raise ConfigError(
            f"The method {config.method.kind} learns from pictures with a class label, and no shards of them are "
            "named.",
            hint="clis train --images SHARDS, a folder of clis build-imagenet-subset; or --set pictures.s=0 "
            "--set pictures.t=0 to do without",
        )
    return open_pictures(settings, categories, Shards(settings.shards))


def training_loader(
    config: RunConfig,
    data: Split,
    pictures: PictureSet | None,
    start: int,
    stop: int,
    *,
    pin: bool = False,
    portion: Portion = ALONE,
) -> TrainingLoader:
    """The batches of steps ``start`` to ``stop - 1`` of the training that a config describes.

    Args:
        config: the whole run.
        data: of `open_training_split`.
        pictures: of `open_companions`.
        start: first step.
        stop: the step before which it ends.
        pin: see `TrainingLoader`.
        portion: which images of a step this process has.

    Raises:
        DataError: masks are to be learnt, and there are none.
    """
    return TrainingLoader(
        data,
        config.data,
        config.train.batch,
        config.seed,
        start,
        stop,
        pin=pin,
        pictures=pictures,
        companions=config.pictures,
        iterations=config.train.iterations,
        portion=portion,
        segmentations=_segmentations(data.table) if finds_masks(config.detector) else None,
    )


def _segmentations(table: AnnotationTable) -> Segmentations:
    found = None if is_voc(table.path) else Segmentations(table)
    if found is None or not found.count():
        raise DataError(
            f"{table.path}: not a single box has a segmentation for the mask head to learn from.",
            hint="Train without a mask head: --set detector.mask.enabled=false; or add masks to the annotations.",
        )
    return found


def pictures_record(pictures: PictureSet) -> dict[str, Any]:
    """What tells these pictures and regions from others, wherever they lie."""
    return {"shards": shard_hashes(pictures.shards.manifest), "regions": pictures.regions.fingerprint()}
