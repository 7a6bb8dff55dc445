"""An LVIS or COCO annotation json goes in; plain arrays come out, or an error that names the record.

N images, A annotations in the file, C classes.
"""

from __future__ import annotations

import mmap
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from clis_core.categories import Categories, Category
from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.errors import DataError

Id = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Side = Annotated[int, Meta(ge=1, le=2**31 - 1)]
_BOM = b"\xef\xbb\xbf"


class ImageFields(Struct, gc=False):
    """What every reader takes of an image; the decoder skips other fields without building them."""

    id: Id
    width: Side
    height: Side
    file_name: str | None = None
    coco_url: str | None = None

    def names(self) -> tuple[str, str]:
        """``file_name``, or what ``coco_url`` says where it has none; and split folder and name by ``coco_url``."""
        url = "/".join((self.coco_url or "").partition("?")[0].split("/")[-2:])
        return (self.file_name or "").replace("\\", "/") or url, url


class CategoryFields(Struct):
    """What every reader takes of a category."""

    id: Id
    name: str
    synset: str | None = None
    frequency: object = None


class AnnotationFields(Struct, gc=False):
    """What every reader takes of an annotation."""

    id: Id
    image_id: Id
    category_id: Id
    bbox: tuple[float, float, float, float]
    iscrowd: int | bool | None = 0


class _Image(ImageFields, gc=False):
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] | None = None


@dataclass(frozen=True)
class Annotations:
    """A json file as arrays, nothing left out yet.

    Attributes:
        categories: the classes, with groups where the file has them.
        is_lvis: whether the images carry ``neg_category_ids``.
        image_ids: int64 ``[N]``, in the order of the file.
        sizes: int32 ``[N, 2]``, (height, width) in pixels.
        names: ``file_name`` of each image, or what its ``coco_url`` says where it has none.
        url_names: split folder and name by ``coco_url`` ("val2017/000000000139.jpg"), "" where it has none.
        image_of: int64 ``[A]``, index of the image that an annotation lies in.
        category_ids: int64 ``[A]``.
        xywh: float64 ``[A, 4]``, left, top, width, height in pixels, as written.
        crowd: bool ``[A]``.
        absent: of each image, category ids known to be absent (``neg_category_ids``); [] where it is silent.
        partial: likewise, category ids of which some boxes may lack (``not_exhaustive_category_ids``).
    """

    categories: Categories
    is_lvis: bool
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    names: list[str]
    url_names: list[str]
    image_of: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    xywh: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    absent: list[list[int]]
    partial: list[list[int]]


def read_json(path: Path) -> Annotations:
    """Read an annotation file once.

    Args:
        path: LVIS v1, LVIS v0.5 or COCO json.

    Raises:
        DataError: the file is missing or no such json, or a record in it is wrong; names file and record.
    """
    images, annotations, categories = _parse(path)
    if not images:
        raise DataError(f"{path}: the list 'images' is empty.", hint="Give the json of a split with images.")
    image_ids = np.fromiter((i.id for i in images), np.int64, len(images))
    _check_unique(path, image_ids, "image")
    _check_unique(path, annotations.ids, "annotation")
    classes = _categories(path, categories)
    image_of = _look_up(path, annotations, annotations.image_ids, image_ids, "image")
    _look_up(path, annotations, annotations.category_ids, np.array(classes.ids), "category")
    names, url_names = _names(path, images)
    return Annotations(
        categories=classes,
        is_lvis=any(i.neg_category_ids is not None for i in images),
        image_ids=image_ids,
        sizes=np.array([(i.height, i.width) for i in images], np.int32),
        names=names,
        url_names=url_names,
        image_of=image_of,
        category_ids=annotations.category_ids,
        xywh=annotations.xywh,
        crowd=annotations.crowd,
        absent=[i.neg_category_ids or [] for i in images],
        partial=[i.not_exhaustive_category_ids or [] for i in images],
    )


_NO_BOX = (0.0, 0.0, 0.0, 0.0)


class _Columns:
    """The annotations of a file, field by field."""

    def __init__(self) -> None:
        self._ids, self._images, self._categories = array("q"), array("q"), array("q")
        self._boxes, self._crowd = array("d"), array("b")

    def file_type(self) -> type[Struct]:
        """The type of a whole file, whose annotations move what they hold into the columns as they are read.

        1.27 M annotations as objects take 480 MB; emptied at once, they and their columns take 190 MB.
        """
        ids, images, categories = self._ids, self._images, self._categories
        boxes, crowd = self._boxes, self._crowd

        class _Annotation(AnnotationFields, gc=False):
            def __post_init__(self) -> None:
                ids.append(self.id)
                images.append(self.image_id)
                categories.append(self.category_id)
                boxes.extend(self.bbox)
                crowd.append(bool(self.iscrowd))
                self.id = self.image_id = self.category_id = 0
                self.bbox = _NO_BOX

        lists = {"images": _Image, "annotations": _Annotation, "categories": CategoryFields}
        return msgspec.defstruct("_File", [(name, list[record]) for name, record in lists.items()])  # type: ignore[valid-type]

    @property
    def ids(self) -> NDArray[np.int64]:
        """int64 ``[A]``."""
        return np.frombuffer(self._ids, np.int64)

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """int64 ``[A]``."""
        return np.frombuffer(self._images, np.int64)

    @property
    def category_ids(self) -> NDArray[np.int64]:
        """int64 ``[A]``."""
        return np.frombuffer(self._categories, np.int64)

    @property
    def xywh(self) -> NDArray[np.float64]:
        """float64 ``[A, 4]``."""
        return np.frombuffer(self._boxes, np.float64).reshape(-1, 4)

    @property
    def crowd(self) -> NDArray[np.bool_]:
        """bool ``[A]``."""
        return np.frombuffer(self._crowd, np.bool_)


def _parse(path: Path) -> tuple[list[_Image], _Columns, list[CategoryFields]]:
    columns = _Columns()
    text = json_text(path)
    file_type = columns.file_type()
    try:
        parsed: Any = msgspec.json.decode(text, type=file_type)
    except FAULTS as error:
        raise explain(path, text, error, file_type) from None
    return parsed.images, columns, parsed.categories


def json_text(path: Path) -> memoryview:
    """The file's bytes behind a byte order mark, mapped so that a 1.1 GB json does not become 1.1 GB of memory."""
    data = _map(path)
    return memoryview(data)[len(_BOM) if data[:3] == _BOM else 0 :]


def _map(path: Path) -> mmap.mmap:
    try:
        if path.is_dir():
            raise DataError(
                f"{path} is a folder, not an annotation json.",
                hint="Name the json file itself, or hand the folder of the data set to --data.",
            )
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise DataError(
            f"Annotation file {path} does not exist.",
            hint="Check the path, or hand the folder of the data set to --data.",
        ) from None
    except OSError as error:
        raise DataError(
            f"Annotation file {path} cannot be read: {error.strerror or error}.",
            hint="Check the path and its permissions.",
        ) from None
    except ValueError:  # mmap refuses an empty file
        raise DataError(f"Annotation file {path} is empty (0 bytes).", hint="Download it again.") from None


def _check_unique(path: Path, ids: NDArray[np.int64], kind: str) -> None:
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(again):
        first, second = order[again[0]], order[again[0] + 1]
        raise DataError(
            f"{path}: {kind} id {ids[second]} occurs twice: {kind}s[{first}] and {kind}s[{second}].",
            hint=f"Give every {kind} its own id.",
        )


def _look_up(
    path: Path, annotations: _Columns, wanted: NDArray[np.int64], known: NDArray[np.int64], kind: str
) -> NDArray[np.int64]:
    """Index in ``known`` of each wanted id: int64 ``[A]``."""
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)
    index: NDArray[np.int64] = order[place].astype(np.int64)
    wrong = np.flatnonzero(known[index] != wanted)
    if len(wrong):
        k = wrong[0]
        raise DataError(
            f"{path}: annotations[{k}] (annotation {annotations.ids[k]}) has {kind}_id {wanted[k]}, "
            f"which no {kind} of the file has ({len(wrong)} such in the file).",
            hint="Leave these annotations out, or add what they refer to.",
        )
    return index


def _categories(path: Path, records: list[CategoryFields]) -> Categories:
    try:
        return Categories(
            Category(c.id, c.name, c.synset, c.frequency if c.frequency in ("r", "c", "f") else None) for c in records
        )
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint or "Give every category its own id.") from None


def _names(path: Path, images: list[_Image]) -> tuple[list[str], list[str]]:
    names, url_names = [], []
    for k, image in enumerate(images):
        name, url = image.names()
        if not name:
            raise DataError(
                f"{path}: images[{k}] (image {image.id}) has neither file_name nor coco_url.",
                hint="Add 'file_name', relative to the folder of the images.",
            )
        names.append(name)
        url_names.append(url)
    return names, url_names
