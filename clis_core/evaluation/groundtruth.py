"""An LVIS or COCO annotation json, or an image list of VOC, in, what an evaluator needs of it out, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.data.segmentation import Rle
from clis_core.data.voc import is_voc, read_voc
from clis_core.errors import DataError
from clis_core.evaluation.metrics import Protocol
from clis_core.evaluation.records import CategoryId, ImageId, read_bytes


class _Image(msgspec.Struct, gc=False):
    id: ImageId
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


class _Category(msgspec.Struct, gc=False):
    id: CategoryId
    name: str = ""
    frequency: Group | None = None
    image_count: Any = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: ImageId
    category_id: CategoryId
    bbox: tuple[float, float, float, float]
    id: int | str | None = None
    area: float | None = None
    iscrowd: int | bool = 0
    ignore: int | bool = 0


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """N images, M boxes, C classes of an annotation file, in its order.

    Attributes:
        path: the file.
        image_ids: int64 ``[N]``.
        negatives: by image, the category ids known to be absent (LVIS), None where the file is silent.
        not_exhaustive: by image, the category ids of which some boxes may lack (LVIS), or None.
        category_ids: int64 ``[C]``, rising.
        names: C class names.
        groups: ``r``, ``c`` or ``f`` by category id, where the file gives a ``frequency``.
        train_images: training images by category id, where the file gives LVIS's ``image_count``.
        box_image_ids: int64 ``[M]``.
        box_category_ids: int64 ``[M]``.
        xywh: float64 ``[M, 4]``, x, y, width, height in pixels, exactly as in the file.
        areas: float64 ``[M]``, square pixels: the mask's where the file gives it, else the box's.
        crowd: bool ``[M]``, a region full of objects (COCO's ``iscrowd``).
        ignored: bool ``[M]``, the ``ignore`` of lvis, or the ``difficult`` of VOC.
        mended: whether annotation ids (to 1, 2, ...) or missing areas had to be replaced.
        notes: what was done to the file's contents.
        voc: whether it is of VOC.
        masks: M masks, of `clis_core.evaluation.mask_truth`; None where boxes alone are judged.
    """

    path: Path
    image_ids: NDArray[np.int64]
    negatives: list[list[int] | None]
    not_exhaustive: list[list[int] | None]
    category_ids: NDArray[np.int64]
    names: list[str]
    groups: dict[int, Group]
    train_images: dict[int, int]
    box_image_ids: NDArray[np.int64]
    box_category_ids: NDArray[np.int64]
    xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    mended: bool
    notes: tuple[str, ...]
    voc: bool = False
    masks: list[Rle] | None = None

    @property
    def protocol(self) -> Protocol:
        """``lvis`` where any image says which classes were looked for, ``voc`` for its lists; else ``coco``."""
        if self.voc:
            return "voc"
        federated = any(x is not None for x in (*self.negatives, *self.not_exhaustive))
        return "lvis" if federated else "coco"

    def category_records(self) -> list[dict[str, Any]]:
        """The categories as json-able records."""
        return [{"id": i, "name": n} for i, n in zip(self.category_ids.tolist(), self.names, strict=True)]


def read_ground_truth(path: Path) -> GroundTruth:
    """Read an annotation file; masks and other fields are passed over.

    Boxes of images or categories that the file does not list are left out, as lvis and pycocotools do.

    Raises:
        DataError: the file is missing or malformed; the message names the record and the field.
    """
    if is_voc(path):
        return _of_voc(path)
    data = read_bytes(path)
    try:
        file = msgspec.json.decode(data, type=_File)
    except FAULTS as error:
        raise explain(path, memoryview(data), error, _File) from None
    if not file.images or not file.categories:
        missing = "categories" if file.images else "images"
        raise DataError(f"{path}: the list '{missing}' is empty.", hint="Give the json of a split with images.")
    _unique(path, "images", [i.id for i in file.images])
    _unique(path, "categories", [c.id for c in file.categories])
    categories = sorted(file.categories, key=lambda c: c.id)
    notes: list[str] = []
    boxes = _listed(file, notes)
    xywh = np.array([b.bbox for b in boxes], dtype=np.float64).reshape(-1, 4)  # [M, 4]
    areas = np.array([np.nan if b.area is None else b.area for b in boxes], dtype=np.float64)
    unknown = np.isnan(areas)
    if unknown.any():
        areas[unknown] = xywh[unknown, 2] * xywh[unknown, 3]
        notes.append(f"{int(unknown.sum())} annotations have no area; theirs is taken to be width times height.")
    bad_ids = not _good_ids([a.id for a in file.annotations])
    if bad_ids:
        notes.append(
            "The annotation ids are not all different whole numbers above 0; they were replaced by 1, 2, ... "
            "(lvis and pycocotools take a match with box 0 for no match)."
        )
    return GroundTruth(
        path=path,
        image_ids=np.array([i.id for i in file.images], dtype=np.int64),
        negatives=[i.neg_category_ids for i in file.images],
        not_exhaustive=[i.not_exhaustive_category_ids for i in file.images],
        category_ids=np.array([c.id for c in categories], dtype=np.int64),
        names=[c.name or f"category {c.id}" for c in categories],
        groups={c.id: c.frequency for c in categories if c.frequency is not None},
        train_images={c.id: c.image_count for c in categories if isinstance(c.image_count, int)},
        box_image_ids=np.array([b.image_id for b in boxes], dtype=np.int64),
        box_category_ids=np.array([b.category_id for b in boxes], dtype=np.int64),
        xywh=xywh,
        areas=areas,
        crowd=np.array([bool(b.iscrowd) for b in boxes], dtype=np.bool_),
        ignored=np.array([bool(b.ignore) for b in boxes], dtype=np.bool_),
        mended=bad_ids or bool(unknown.any()),
        notes=tuple(notes),
    )


def _of_voc(path: Path) -> GroundTruth:
    found = read_voc(path)
    ids = np.arange(1, len(found.names) + 1)
    nothing: list[list[int] | None] = [None] * len(ids)
    return GroundTruth(
        path=path,
        image_ids=ids,
        negatives=nothing,
        not_exhaustive=nothing,
        category_ids=np.array(found.categories.ids),
        names=[c.name for c in found.categories],
        groups={},
        train_images={},
        box_image_ids=ids[found.image_of],
        box_category_ids=found.category_ids,
        xywh=found.xywh,
        areas=found.xywh[:, 2] * found.xywh[:, 3],
        crowd=np.zeros(len(found.xywh), np.bool_),
        ignored=found.difficult,
        mended=False,
        notes=(),
        voc=True,
    )


def _unique(path: Path, table: str, ids: Sequence[int]) -> None:
    seen: set[int] = set()
    for index, i in enumerate(ids):
        if i in seen:
            raise DataError(f"{path}, {table} {index}: the id {i} occurs twice.", hint="Ids must be unique.")
        seen.add(i)


def _listed(file: _File, notes: list[str]) -> list[_Annotation]:
    images, categories = {i.id for i in file.images}, {c.id for c in file.categories}
    boxes = [a for a in file.annotations if a.image_id in images and a.category_id in categories]
    if len(boxes) < len(file.annotations):
        notes.append(
            f"{len(file.annotations) - len(boxes)} annotations belong to images or categories that the file "
            "does not list; they were left out."
        )
    return boxes


def _good_ids(ids: Sequence[int | str | None]) -> bool:
    return all(isinstance(i, int) and i > 0 for i in ids) and len(set(ids)) == len(ids)
