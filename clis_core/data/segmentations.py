"""A table of annotations in; the mask of each of its boxes, read from the json when it is asked for, out.

What is kept is where in the file each segmentation stands: neither polygons nor bitmaps are in memory.

A annotations in the file, M boxes of the table.
"""

from __future__ import annotations

import mmap
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from clis_core.data import annotation_cache
from clis_core.data.annotation_cache import Arrays
from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.data.annotation_json import json_text
from clis_core.data.annotations import AnnotationTable
from clis_core.data.segmentation import Rle, read_segmentation
from clis_core.errors import DataError

_NOTHING = len("[[]]")
"""Characters that a segmentation has at most that holds nothing."""
HINT = (
    "A segmentation is a list of polygons [[x, y, x, y, ...], ...], or run lengths "
    '{"size": [height, width], "counts": ...}; correct it, or leave it out of the record.'
)


class Segmentations:
    """The masks of a table's boxes.

    Pickled, it is the places alone, and the file is mapped anew.

    Args:
        table: the boxes.

    Raises:
        DataError: the json cannot be read.
    """

    def __init__(self, table: AnnotationTable) -> None:
        self.path: Path = table.path
        self._table = table
        arrays, facts = _places(table)
        self._starts: NDArray[np.int64] = arrays["starts"]
        self._lengths: NDArray[np.int64] = arrays["lengths"]
        self._size: int = facts["size"]
        self._text: memoryview | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_text": None}

    def count(self) -> int:
        """How many boxes have one."""
        return int((self._lengths[self._table.places] > 0).sum())

    def of_image(self, image: int) -> list[Rle | None]:
        """The masks of an image's boxes, in their order; None for a box without.

        Raises:
            DataError: a segmentation is wrong, or the json has changed since it was first read.
        """
        height, width = self._table.sizes[image].tolist()
        first, stop = self._table.offsets[image], self._table.offsets[image + 1]
        return [self._read(int(place), (height, width)) for place in self._table.places[first:stop]]

    def _read(self, place: int, size: tuple[int, int]) -> Rle | None:
        start, length = int(self._starts[place]), int(self._lengths[place])
        if not length:
            return None
        if self._text is None:
            self._text = json_text(self.path)
            if len(self._text) != self._size:
                raise DataError(f"{self.path} has changed since it was read.", hint="Run the command again.")
        try:
            return read_segmentation(self._text[start : start + length], size)
        except ValueError as error:
            raise DataError(f"{self.path}: annotations[{place}].segmentation: {error}.", hint=HINT) from None


def _places(table: AnnotationTable) -> tuple[Arrays, dict[str, Any]]:
    """From the cache beside the table's, which is written if it is not there."""
    if table.folder is None:
        return _find(table.path)
    folder = table.folder.with_name(f"{table.folder.name}-masks")
    found = annotation_cache.load(folder)
    if found is None:
        made = _find(table.path)
        found = annotation_cache.load(folder) if annotation_cache.store(folder, *made) else None
        return found or made
    return found


def _find(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Start and length of each annotation's segmentation in the text, int64 ``[A]``; 0 and 0 where there is none."""
    text = json_text(path)
    origin = _address(text)
    starts, lengths = array("q"), array("q")

    class _Annotation(Struct, gc=False):
        segmentation: Raw = Raw(b"")

        def __post_init__(self) -> None:
            length = len(memoryview(self.segmentation))
            there = length > _NOTHING
            starts.append(_address(self.segmentation) - origin if there else 0)
            lengths.append(length if there else 0)
            self.segmentation = Raw(b"")  # it would hold on to the text

    file_type = msgspec.defstruct("_File", [("annotations", list[_Annotation])])
    try:
        msgspec.json.decode(text, type=file_type)
    except FAULTS as error:
        raise explain(path, text, error, file_type) from None
    places = {"starts": np.frombuffer(starts, np.int64), "lengths": np.frombuffer(lengths, np.int64)}
    return places, {"size": len(text)}


def _address(buffer: memoryview | Raw | mmap.mmap) -> int:
    return int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])
