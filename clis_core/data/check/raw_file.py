"""What could be read of an annotation json of any quality, as arrays.

N images, A annotations and C categories that could be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clis_core.data.annotation_json import CategoryFields, Id, ImageFields

LISTS = {"images": "D101", "annotations": "D102", "categories": "D103"}
"""The lists of a file, and the code of a fault in a record of each."""
FEDERATED = ("neg_category_ids", "not_exhaustive_category_ids")


class ImageRecord(ImageFields, gc=False):
    """An image of the file."""

    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] | None = None


class CategoryRecord(CategoryFields):
    """A category of the file."""

    image_count: object = None
    instance_count: object = None


@dataclass
class RawFile:
    """An annotation json; records with a fault are not in it.

    Attributes:
        path: the file.
        complete: whether every list could be read, so that something missing is missing indeed.
        faulty: by list, ids of its records with a fault, as far as they can be told.
        image_numbers: int64 ``[N]``, which entries of ``images`` these are.
        image_ids: int64 ``[N]``.
        sizes: int64 ``[N, 2]``, (height, width), pixels.
        names: N file names, "" for none.
        url_names: N names by ``coco_url``, "" for none.
        federated: by field of `FEDERATED`: index of the image (int64) and category id (int64) of each entry.
        lacking: by field of `FEDERATED`: bool ``[N]``, whether an image does not have it.
        category_numbers: C entries of ``categories``.
        categories: C records.
        numbers: int64 ``[A]``, which entries of ``annotations`` these are.
        ids: int64 ``[A]``.
        of_image: int64 ``[A]``, image ids.
        of_category: int64 ``[A]``, category ids.
        xywh: float64 ``[A, 4]``, pixels.
        crowd: bool ``[A]``.
        ignored: bool ``[A]``.
        without_area: bool ``[A]``.
    """

    path: Path
    complete: bool = True
    faulty: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in LISTS})
    image_numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    image_ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    sizes: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    names: list[str] = field(default_factory=list)
    url_names: list[str] = field(default_factory=list)
    federated: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
    lacking: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    category_numbers: list[int] = field(default_factory=list)
    categories: list[CategoryRecord] = field(default_factory=list)
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    of_image: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    of_category: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    xywh: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    ignored: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    without_area: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @property
    def is_lvis(self) -> bool:
        """Whether any image has a federated list."""
        return any(not lacking.all() for lacking in self.lacking.values())

    def image(self, index: int) -> str:
        """What to call an image in a finding."""
        return f"images[{self.image_numbers[index]}] (image {self.image_ids[index]})"

    def annotation(self, index: int) -> str:
        """What to call an annotation in a finding."""
        return f"annotations[{self.numbers[index]}] (annotation {self.ids[index]})"

    def category(self, index: int) -> str:
        """What to call a category in a finding."""
        return f"categories[{self.category_numbers[index]}] (category {self.categories[index].id})"
