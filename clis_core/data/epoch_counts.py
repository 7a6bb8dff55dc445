"""A training loader and an epoch go in; how often that epoch shows each class comes out.

N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import GROUP_NAMES, Categories
from clis_core.data.annotations import AnnotationTable
from clis_core.data.companions import PictureSet
from clis_core.data.loader import TrainingLoader

COLUMNS = ("images", "instances", "images_drawn", "instances_drawn", "pictures", "pictures_drawn", "pasted")
_TOLD = 1000  # images of the epoch between two words of progress


@dataclass(frozen=True)
class EpochCounts:
    """What an epoch shows of each class.

    Attributes:
        epoch: from 0.
        images: in the data set.
        images_drawn: in the epoch, repeated ones as often as they come.
        categories: the classes.
        by_class: by name of `COLUMNS`, int64 ``[C]``: images with the class and its boxes, in the data set and in the
            epoch; its pictures in the shards, in the mosaics of the epoch, and pasted. Without pictures, the first
            four alone.
    """

    epoch: int
    images: int
    images_drawn: int
    categories: Categories
    by_class: dict[str, NDArray[np.int64]]

    def groups(self) -> dict[str, dict[str, int]]:
        """The same by rare, common, frequent and all classes: their number, and sums over them."""
        members = {word: [k - 1 for k in self.categories.labels_in_group(g)] for g, word in GROUP_NAMES.items()}  # type: ignore[arg-type]
        members["all"] = list(range(len(self.categories)))
        return {
            word: {"classes": len(which), **{name: int(counts[which].sum()) for name, counts in self.by_class.items()}}
            for word, which in members.items()
        }

    def to_record(self) -> dict[str, Any]:
        """For json."""
        classes = [
            {"id": c.id, "name": c.name, "group": c.group, **{name: int(n[k]) for name, n in self.by_class.items()}}
            for k, c in enumerate(self.categories)
        ]
        head = {"epoch": self.epoch, "images": self.images, "images_drawn": self.images_drawn}
        return {**head, "groups": self.groups(), "classes": classes}


def count_epoch(
    loader: TrainingLoader,
    table: AnnotationTable,
    pictures: PictureSet | None,
    epoch: int,
    progress: Callable[[int, int], None],
) -> EpochCounts:
    """Count what an epoch shows.

    Args:
        loader: of the training.
        table: its boxes, with training counts.
        pictures: its pictures.
        epoch: from 0.
        progress: is told how many of how many images are done.
    """
    times, count = loader.order.times(epoch), len(table.categories)
    image_of = np.repeat(np.arange(len(table)), np.diff(table.offsets))  # [M]
    pairs = np.unique(image_of * count + table.labels - 1)  # an image counts once for a class
    by_class = {
        "images": table.image_counts().astype(np.int64),
        "instances": np.bincount(table.labels - 1, minlength=count).astype(np.int64),
        "images_drawn": _sums(pairs % count, times[pairs // count], count),
        "instances_drawn": _sums(table.labels - 1, times[image_of], count),
    }
    if pictures is not None and loader.companions is not None:
        shown, pasted = np.zeros(count, np.int64), np.zeros(count, np.int64)
        places = loader.order.places(epoch)
        for done, place in enumerate(places, start=1):
            chosen, picked = loader.companions.choose(place)
            labels = pictures.labels[chosen] - 1
            np.add.at(shown, labels, 1)
            np.add.at(pasted, labels[picked], 1)
            if done % _TOLD == 0 or done == len(places):
                progress(done, len(places))
        by_class["pictures"] = np.bincount(pictures.labels - 1, minlength=count).astype(np.int64)
        by_class |= {"pictures_drawn": shown, "pasted": pasted}
    return EpochCounts(epoch, len(table), int(times.sum()), table.categories, by_class)


def _sums(which: NDArray[Any], weights: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Whole sums of weights by class."""
    sums = np.zeros(count, np.int64)
    np.add.at(sums, which, weights)
    return sums
