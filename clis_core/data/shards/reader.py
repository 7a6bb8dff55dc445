"""A folder of shards goes in; any of its pictures, by number, comes out.

N pictures, numbered through the shards in their order.
"""

from __future__ import annotations

import bisect
import json
import os
import struct
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clis_core.categories import Categories
from clis_core.data.decode import decode
from clis_core.data.shards.index import PARTS, read_index
from clis_core.data.shards.manifest import Manifest, ShardFile, read_manifest
from clis_core.data.shards.open_files import OpenFiles, read_at
from clis_core.data.shards.origin import read_origin
from clis_core.data.shards.ranges import Ranges
from clis_core.errors import DataError

_ENTRY = struct.Struct("<qiqiqii")  # `INDEX`
_BLOCK = 512
_SOI = b"\xff\xd8"  # what a JPEG starts with


class Shards:
    """The pictures of a finished folder of shards, at random.

    A picture is read in two reads from the disk: its entry of the index, and its bytes. Nothing is kept in memory, so
    a loader's worker costs nothing. Threads may share it; a copy for another process is the folder's name. Where the
    tars stayed on a server (`origin`), the bytes are asked for there.

    Args:
        folder: with a manifest.

    Attributes:
        folder: as given.
        manifest: what is in it.

    Raises:
        DataError: the folder is not finished, or a file is missing or has another size than the manifest says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self._shards = self.manifest.shards
        self._ends = list(accumulate(shard.samples for shard in self._shards))
        self._tars = [folder / shard.name for shard in self._shards]
        self._indices = [folder / shard.index_name for shard in self._shards]
        self._entries: dict[int, int] = {}  # where entries start in the index of a shard that has been checked
        self._files = OpenFiles(os.O_RDONLY)
        origin = read_origin(folder)
        self._ranges = Ranges(origin) if origin else None
        self._labels: NDArray[np.int32] | None = None
        for shard in self._shards:
            _check_files(folder, shard, remote=origin is not None)

    def __reduce__(self) -> tuple[type[Shards], tuple[Path]]:
        return Shards, (self.folder.absolute(),)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def categories(self) -> Categories:
        """The classes that a picture may have."""
        return self.manifest.categories

    @property
    def labels(self) -> NDArray[np.int32]:
        """Label 1..C of each picture, int32 ``[N]``, read-only; read from the indices when it is first asked for."""
        if self._labels is None:
            ids = np.array(self.categories.ids)
            found = np.concatenate([self._index(number)["category"] for number in range(len(self._shards))])
            labels = np.searchsorted(ids, found) + 1
            strange = (labels > len(ids)) | (ids[np.minimum(labels, len(ids)) - 1] != found)
            if strange.any():
                number = int(strange.argmax())
                what = f"{self._name(number)} is of category {found[number]}, which the manifest does not have"
                raise self._damaged(self._place(number)[0], what)
            self._labels = labels.astype(np.int32)
            self._labels.flags.writeable = False
        return self._labels

    def shard_of(self, number: int) -> tuple[str, int]:
        """Name of the shard that holds a picture, and the picture's place in it, from 0."""
        shard, position = self._place(number)
        return self._shards[shard].name, position

    def key(self, number: int) -> str:
        """The key of a picture, such as ``n01440764_10026``.

        Raises:
            DataError: there is none where the index says.
        """
        shard, entry = self._entry(number)
        key = self._key(shard, entry[0])
        if key is None:
            raise self._damaged(shard, f"there is no picture at byte {entry[0]}")
        return key

    def size(self, number: int) -> tuple[int, int]:
        """(height, width) of a picture, pixels."""
        _, entry = self._entry(number)
        return entry[5], entry[6]

    def data(self, number: int) -> bytes:
        """The JPEG of a picture.

        Raises:
            DataError: the file ends before it, or something else is there.
        """
        shard, entry = self._entry(number)
        data = self._read(shard, number, entry[1], entry[0])
        if data[:2] != _SOI:
            raise self._damaged(shard, f"{self._name(number)} is no JPEG")
        return data

    def record(self, number: int) -> dict[str, Any]:
        """The json of a picture.

        Raises:
            DataError: it is damaged.
        """
        shard, entry = self._entry(number)
        try:
            record = json.loads(self._read(shard, number, entry[3], entry[2]))
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise self._damaged(shard, f"the json of {self._name(number)} is no object")
        return record

    def image(self, number: int) -> Tensor:
        """A picture, uint8 ``[3, h, w]``, RGB, channels last in memory.

        Raises:
            DataError: it is damaged, or of another size than the index says.
        """
        shard, entry = self._entry(number)
        image = decode(self.data(number), f"{self._tars[shard]}: {self._name(number)}")
        height, width = image.shape[1], image.shape[2]
        if (height, width) != (entry[5], entry[6]):
            said = f"but the index says {entry[6]} x {entry[5]}"
            raise self._damaged(shard, f"{self._name(number)} is {width} x {height} pixels, {said}")
        return image

    def close(self) -> None:
        """Close the files; they are opened again when they are needed."""
        self._files.close()

    def _place(self, number: int) -> tuple[int, int]:
        """Number of the shard, and place in it."""
        if not 0 <= number < len(self):
            raise IndexError(f"picture {number} of {len(self)}")
        shard = bisect.bisect_right(self._ends, number)
        return shard, number - self._ends[shard] + self._shards[shard].samples

    def _entry(self, number: int) -> tuple[int, tuple[int, ...]]:
        """Number of the shard, and the picture's entry of the index.

        Read from the file, not from a memory map: Python's maps keep a descriptor each.
        """
        shard, position = self._place(number)
        start = self._entries.get(shard)
        if start is None:
            self._index(shard)
            start = self._entries[shard]
        data = self._bytes(self._indices[shard], _ENTRY.size, start + position * _ENTRY.size)
        if len(data) < _ENTRY.size:
            raise self._damaged(shard, "its index has become shorter")
        return shard, _ENTRY.unpack(data)

    def _index(self, shard: int) -> NDArray[Any]:
        """The index of a shard, checked."""
        file = self._shards[shard]
        index = read_index(self._indices[shard], file.samples, file.size)
        self._entries[shard] = index.offset  # type: ignore[attr-defined]  # of a memory map, in its file
        return index

    def _key(self, shard: int, offset: int) -> str | None:
        """The key in the header before a picture."""
        header = self._tar_bytes(shard, _BLOCK, offset - _BLOCK)
        name = header[:100].partition(b"\0")[0].decode("ascii", "replace")
        return name.removesuffix(PARTS[0]) if name.endswith(PARTS[0]) else None

    def _name(self, number: int) -> str:
        """What to call a picture in a message."""
        shard, entry = self._entry(number)
        return self._key(shard, entry[0]) or f"picture {self.shard_of(number)[1]}"

    def _read(self, shard: int, number: int, size: int, offset: int) -> bytes:
        data = self._tar_bytes(shard, size, offset)
        if len(data) < size:
            raise self._damaged(shard, f"it ends before {self._name(number)} does")
        return data

    def _tar_bytes(self, shard: int, size: int, offset: int) -> bytes:
        if self._ranges is None:
            return self._bytes(self._tars[shard], size, offset)
        file = self._shards[shard]
        return self._ranges.read(file.name, file.size, size, offset)

    def _bytes(self, path: Path, size: int, offset: int) -> bytes:
        try:
            return read_at(self._files.get(path), size, offset)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read: {error.strerror or error}.", hint="Check the disk and the file's permissions."
            ) from None

    def _damaged(self, shard: int, what: str) -> DataError:
        return DataError(
            f"{self._tars[shard]} is damaged: {what}.", hint=f"See what is left: clis shards verify {self.folder}"
        )


def _check_files(folder: Path, shard: ShardFile, remote: bool) -> None:
    """Check that a shard and its index are there and whole, as far as a look at them tells."""
    path = folder / shard.index_name
    try:
        path.stat()
        if remote:
            return
        path = folder / shard.name
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Copy the whole folder; every shard that manifest.json names is needed, and its index.",
        ) from None
    if size != shard.size:
        raise DataError(
            f"{path} has {size} bytes, but the manifest says {shard.size}.",
            hint="Copy it once more; it was cut short or replaced.",
        )
