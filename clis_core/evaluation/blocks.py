"""A file of detections in; some images of it at a time out, so that memory does not grow with the file.

K detections of a file, k of a block.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from clis_core.errors import DataError
from clis_core.evaluation.detections import FORMAT, VERSION, Detections
from clis_core.evaluation.rles import COLUMNS, Rles

ROWS = 1 << 18
"""Detections that are read at a time."""
_COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "image_ids": ("i", ()),
    "category_ids": ("i", ()),
    "boxes": ("f", (4,)),
    "scores": ("f", ()),
}
"""Arrays by name, with the kind of their numbers and the shape of an entry."""
_SIZES = ("sizes", ("f", (2,)))
_MASK_ROWS = 1 << 13
_LONGEST_MASKS = 1 << 28  # characters of so many masks
_LARGEST_HEADER = 1 << 20
_HINT = "Make it again with clis eval."
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_blocks(path: Path, rows: int = ROWS) -> Iterator[Detections]:
    """Read what `Detections.save` or `Parts.join` wrote, an image's detections always in one block.

    Args:
        path: the file.
        rows: detections that are read at a time; a block has about as many, and never less than an image.

    Raises:
        DataError: the file is missing, damaged or of another format, or the detections of an image do not stand
            together in it.
    """
    ended: set[int] = set()
    left: Detections | None = None
    for piece in _pieces(path, rows):
        here = piece if left is None else _joined(left, piece)
        starts = np.flatnonzero(np.diff(here.image_ids)) + 1
        if not len(starts):
            left = here
            continue
        yield _once(here.only(np.arange(len(here)) < starts[-1]), ended)
        left = here.only(np.arange(len(here)) >= starts[-1])
    if left is not None:
        yield _once(left, ended)


def detections_of_images(path: Path, image_ids: Collection[int], rows: int = ROWS) -> Detections:
    """The detections of some images, with their masks where there are some, in the order of the file.

    Args:
        path: as in `read_blocks`.
        image_ids: which images.
        rows: as in `read_blocks`.

    Raises:
        DataError: as `read_blocks`.
    """
    wanted = np.array(sorted(image_ids), dtype=np.int64)
    kept = [piece.only(np.isin(piece.image_ids, wanted)) for piece in _pieces(path, rows, masks=True)]
    if not kept:
        nothing = np.zeros(0, np.int64)
        none = np.zeros(0, np.float32)
        return Detections(nothing, nothing.astype(np.int32), none.reshape(0, 4), none, source=str(path))
    found = kept[0]
    for piece in kept[1:]:
        found = _joined(found, piece) if len(piece) else found
    return found


def _once(block: Detections, ended: set[int]) -> Detections:
    """The block, if each of its images stands in one place of the file; those before it are in ``ended``."""
    starts = np.append(True, np.diff(block.image_ids) != 0)
    images = block.image_ids[starts].tolist()
    if len(set(images)) < len(images) or ended.intersection(images):
        raise DataError(f"{block.source}: the detections of an image do not stand together.", hint=_HINT)
    ended.update(images)
    return block


def _joined(a: Detections, b: Detections) -> Detections:
    return Detections(
        np.concatenate([a.image_ids, b.image_ids]),
        np.concatenate([a.category_ids, b.category_ids]),
        np.concatenate([a.boxes, b.boxes]),
        np.concatenate([a.scores, b.scores]),
        None if a.sizes is None or b.sizes is None else np.concatenate([a.sizes, b.sizes]),
        None if a.masks is None or b.masks is None else a.masks.joined(b.masks),
        source=a.source,
    )


def _pieces(path: Path, rows: int, *, masks: bool = False) -> Iterator[Detections]:
    """The file from its beginning, ``rows`` detections at a time, whatever images they are of."""
    try:
        with zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
            _check_header(archive, path)
            there = archive.namelist()

            def opened(name: str, form: tuple[str, tuple[int, ...]]) -> _Column:
                return _Column(stack.enter_context(archive.open(f"{name}.npy")), name, *form)

            names = dict([*_COLUMNS.items(), *([_SIZES] if f"{_SIZES[0]}.npy" in there else [])])
            columns = {name: opened(name, form) for name, form in names.items()}
            of_masks = _MaskColumns(opened) if masks and "mask_text.npy" in there else None
            counts = {column.count for column in columns.values()} | ({of_masks.count} if of_masks else set())
            if len(counts) > 1:
                raise ValueError("its arrays are not equally long")
            count = counts.pop()
            rows = min(rows, _MASK_ROWS) if of_masks else rows
            for start in range(0, count, rows):
                few = min(rows, count - start)
                arrays: dict[str, Any] = {name: column.read(few) for name, column in columns.items()}
                yield Detections(**arrays, masks=of_masks.read(few) if of_masks else None, source=str(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.", hint=_HINT) from error
    except _DAMAGE as error:
        raise DataError(f"{path} is no whole file of detections: {error}.", hint=_HINT) from error


def _check_header(archive: zipfile.ZipFile, path: Path) -> None:
    if archive.getinfo("header.npy").file_size > _LARGEST_HEADER:
        raise ValueError("its header is too long")
    with archive.open("header.npy") as file:
        header = json.loads(np.lib.format.read_array(file, allow_pickle=False).tobytes())
    if header["format"] != FORMAT or header["version"] != VERSION:
        raise DataError(
            f"{path} holds {header['format']} version {header['version']}; this clis reads {FORMAT} version {VERSION}.",
            hint=_HINT,
        )


class _MaskColumns:
    """The masks of the file, read from its beginning.

    Args:
        opened: opens a column.
    """

    def __init__(self, opened: Callable[[str, tuple[str, tuple[int, ...]]], _Column]) -> None:
        columns = [opened(name, (kind.kind, entry)) for name, (kind, entry) in COLUMNS.items()]
        self._sizes, self._lengths, self._text = columns
        self.count: int = self._lengths.count
        if self._sizes.count != self.count:
            raise ValueError("its arrays are not equally long")

    def read(self, rows: int) -> Rles:
        """The next masks."""
        sizes, lengths = self._sizes.read(rows), self._lengths.read(rows)
        total = int(lengths.sum(dtype=np.int64))
        if (rows and lengths.min() < 0) or total > _LONGEST_MASKS:
            raise ValueError("its masks have no lengths that can be")
        return Rles(sizes, lengths, self._text.read(total))


class _Column:
    """One array of the file, read from its beginning.

    Args:
        file: the member of the archive.
        name: of the array, for messages.
        kind: what numbers it holds, as numpy's ``dtype.kind``.
        entry: shape of an entry.
    """

    def __init__(self, file: IO[bytes], name: str, kind: str, entry: tuple[int, ...]) -> None:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        fits = len(shape) == 1 + len(entry) and shape[0] >= 0 and shape[1:] == entry
        if dtype.kind != kind or not fits or (by_columns and entry):
            raise ValueError(f"{name} is {dtype} {list(shape)}{', by columns' if by_columns else ''}")
        self.count: int = shape[0]
        self._file = file
        self._dtype = dtype
        self._entry = entry

    def read(self, rows: int) -> NDArray[Any]:
        """The next entries, ``[rows, *entry]``."""
        bytes_of_rows = rows * self._dtype.itemsize * int(np.prod(self._entry))
        data = self._file.read(bytes_of_rows)
        if len(data) < bytes_of_rows:
            raise EOFError("it ends too early")
        return np.frombuffer(data, dtype=self._dtype).reshape(rows, *self._entry)
