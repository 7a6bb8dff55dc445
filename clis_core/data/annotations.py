"""An annotation json of LVIS or COCO, or a list of VOC, goes in; one compact table of arrays comes out.

The arrays of a json are memory-mapped from a cache.

N images, M boxes, C classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Categories
from clis_core.data import annotation_cache
from clis_core.data.annotation_cache import Arrays
from clis_core.data.annotation_json import Annotations, read_json
from clis_core.data.voc import is_voc, read_voc
from clis_core.errors import DataError


class Dropped(NamedTuple):
    """Annotations that are not in the table.

    Attributes:
        crowd: those that mark a crowd (``iscrowd``), and difficult ones of VOC.
        degenerate: boxes without width or height, not finite, or outside their image.
    """

    crowd: int
    degenerate: int


class AnnotationTable:
    """The boxes of a data set, as arrays that must not be written to.

    Pickled, a cached table is a path: a worker maps the same file again, and it costs no memory.

    Attributes:
        path: the json file; of VOC, the image list.
        categories: the classes; groups are those that the file gives.
        is_lvis: whether the images carry ``neg_category_ids``.
        dropped: what was left out.
        folder: where the arrays are cached; None keeps them in memory.
        image_ids: int64 ``[N]``, in the order of the file.
        sizes: int32 ``[N, 2]``, (height, width) in pixels.
        boxes: float32 ``[M, 4]``, xyxy, pixels of the image as annotated, clipped to it.
        labels: int32 ``[M]``, 1..C in the order of ``categories``.
        offsets: int64 ``[N + 1]``; image i has the boxes offsets[i] to offsets[i + 1].
        places: int64 ``[M]``, where in the file's list of annotations each box stands.
    """

    def __init__(
        self, path: Path, arrays: Arrays, facts: dict[str, Any], folder: Path | None, categories: Categories
    ) -> None:
        self.path = path
        self.folder = folder
        self.categories = categories
        self.is_lvis: bool = facts["is_lvis"]
        self.dropped = Dropped(*facts["dropped"])
        self.image_ids: NDArray[np.int64] = arrays["image_ids"]
        self.sizes: NDArray[np.int32] = arrays["sizes"]
        self.boxes: NDArray[np.float32] = arrays["boxes"]
        self.labels: NDArray[np.int32] = arrays["labels"]
        self.offsets: NDArray[np.int64] = arrays["offsets"]
        self.places: NDArray[np.int64] = arrays["places"]
        self._arrays = arrays
        self._facts = facts
        for values in arrays.values():
            values.flags.writeable = False

    def __len__(self) -> int:
        return len(self.image_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.folder is not None:
            return _reopen, (self.path, self.folder, self.categories)
        return AnnotationTable, (self.path, self._arrays, self._facts, None, self.categories)

    def with_categories(self, categories: Categories) -> AnnotationTable:
        """The same table with counts and groups filled into its categories."""
        return AnnotationTable(self.path, self._arrays, self._facts, self.folder, categories)

    def file_name(self, index: int) -> str:
        """Name of an image in the json, or by its address (see `url_name`) where the json has none."""
        return self._text("names", index)

    def url_name(self, index: int) -> str:
        """Split folder and name of an image by its ``coco_url`` ("val2017/000000000139.jpg"), or ""."""
        return self._text("url_names", index)

    def file_names(self) -> list[str]:
        """`file_name` of every image."""
        return self._texts("names")

    def url_names(self) -> list[str]:
        """`url_name` of every image."""
        return self._texts("url_names")

    def target(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Boxes (float32 ``[m, 4]``, xyxy px) and labels (int32 ``[m]``) of an image, read-only."""
        start, stop = self.offsets[index], self.offsets[index + 1]
        return self.boxes[start:stop], self.labels[start:stop]

    def verified(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
        """Labels known to be absent from an image, and those of which boxes may lack; None where nothing lacks."""
        if not self.is_lvis:
            return None
        absent, partial = (self._part(kind, index) for kind in ("absent", "partial"))
        return absent, partial

    def image_counts(self) -> NDArray[np.int64]:
        """Number of images that hold each class: int64 ``[C]``, by label - 1, read-only."""
        counts: NDArray[np.int64] = self._arrays["image_counts"]
        return counts

    def _text(self, kind: str, index: int) -> str:
        return self._part(kind, index).tobytes().decode()

    def _part(self, kind: str, index: int) -> NDArray[Any]:
        """An image's part of what is stored of all images, one after the other."""
        ends = self._arrays[f"{kind}_ends"]
        start = ends[index - 1] if index else 0
        return self._arrays[kind][start : ends[index]]

    def _texts(self, kind: str) -> list[str]:
        text, ends = self._arrays[kind].tobytes(), self._arrays[f"{kind}_ends"].tolist()
        return [text[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]


def load_annotations(path: Path, cache: Path | None) -> AnnotationTable:
    """Read an annotation json, once: the next time its arrays are mapped from the cache.

    Args:
        path: LVIS v1, LVIS v0.5 or COCO json; or an image list of VOC, see `clis_core.data.voc`.
        cache: folder for the arrays, by content of the json; None reads the json and stores nothing. A cache
            that is damaged is written anew; one that cannot be written is done without.

    Raises:
        DataError: the file is missing or not such a json, or a record in it is wrong; names file and record.
    """
    if is_voc(path):  # thousands of small files, that are read in less time than checked for changes
        return _table(path, *_tabulate(_of_voc(path)), None)
    if cache is not None:
        try:
            folder = cache / annotation_cache.content_hash(path, cache)
        except OSError:  # a json that cannot be read, for which read_json has words, or no room for a cache
            return load_annotations(path, None)
        found = annotation_cache.load(folder)
        if found is None and annotation_cache.store(folder, *_tabulate(read_json(path))):
            found = annotation_cache.load(folder)
        if found is not None:
            return _table(path, *found, folder)
    return _table(path, *_tabulate(read_json(path)), None)


def _of_voc(path: Path) -> Annotations:
    found = read_voc(path)
    nothing: list[list[int]] = [[] for _ in found.names]
    return Annotations(
        categories=found.categories,
        is_lvis=False,
        image_ids=np.arange(1, len(found.names) + 1),
        sizes=found.sizes,
        names=found.names,
        url_names=[""] * len(found.names),
        image_of=found.image_of,
        category_ids=found.category_ids,
        xywh=found.xywh,
        crowd=found.difficult,
        absent=nothing,
        partial=nothing,
    )


def _table(path: Path, arrays: Arrays, facts: dict[str, Any], folder: Path | None) -> AnnotationTable:
    return AnnotationTable(path, arrays, facts, folder, Categories.from_records(facts["categories"]))


def _reopen(path: Path, folder: Path, categories: Categories) -> AnnotationTable:
    found = annotation_cache.load(folder)
    if found is None:
        gone = f"{folder}, the cache of {path}, has gone or is damaged."
        raise DataError(gone, hint="Run the command again.")
    return AnnotationTable(path, *found, folder, categories)


def _tabulate(read: Annotations) -> tuple[Arrays, dict[str, Any]]:
    """Leave out what cannot be learnt from, order the rest by image."""
    sides = read.sizes[read.image_of][:, ::-1]  # [A, 2], (width, height)
    with np.errstate(over="ignore", invalid="ignore"):
        corners = np.concatenate([read.xywh[:, :2], read.xywh[:, :2] + read.xywh[:, 2:]], axis=1)
        boxes = np.clip(corners, 0, np.tile(sides, 2)).astype(np.float32)  # [A, 4]
        good = np.isfinite(corners).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    keep = np.flatnonzero(good & ~read.crowd)
    keep = keep[np.argsort(read.image_of[keep], kind="stable")]
    counts = np.bincount(read.image_of[keep], minlength=len(read.image_ids))
    ids = np.array(read.categories.ids)
    labels = (np.searchsorted(ids, read.category_ids[keep]) + 1).astype(np.int32)
    pairs = np.unique(read.image_of[keep] * len(ids) + labels - 1)  # an image counts once for a class
    arrays: Arrays = {
        "image_ids": read.image_ids,
        "sizes": read.sizes,
        "boxes": boxes[keep],
        "labels": labels,
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "places": keep,
        "image_counts": np.bincount(pairs % len(ids), minlength=len(ids)),
    }
    for kind, texts in (("names", read.names), ("url_names", read.url_names)):
        encoded = [t.encode() for t in texts]
        arrays[kind] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"{kind}_ends"] = np.cumsum([len(t) for t in encoded], dtype=np.int64)
    for kind, lists in (("absent", read.absent), ("partial", read.partial)):
        label_of = {category: label for label, category in enumerate(read.categories.ids, start=1)}
        # Subsets of LVIS keep ids of categories that they have left out.
        found = [[label_of[i] for i in of_image if i in label_of] for of_image in lists]
        arrays[kind] = np.array([label for of_image in found for label in of_image], np.int32)
        arrays[f"{kind}_ends"] = np.cumsum([len(of_image) for of_image in found], dtype=np.int64)
    facts = {
        "categories": read.categories.to_records(),
        "is_lvis": read.is_lvis,
        "dropped": [int(read.crowd.sum()), int((~good & ~read.crowd).sum())],
    }
    return arrays, facts
