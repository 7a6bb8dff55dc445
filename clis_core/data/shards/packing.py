"""The parts of a complete staging go in; shards in random order, with their indices, come out.

Every step may be the last one of a process: what a step has made is noted before what it was made of is deleted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.shards.hashed_file import HashedFile
from clis_core.data.shards.manifest import INDEX, ShardFile
from clis_core.data.shards.members import BLOCK, end_of
from clis_core.data.shards.open_files import OpenFile, read_into
from clis_core.data.shards.staging import Staging
from clis_core.errors import JSON_DAMAGE, DataError
from clis_core.files import replacing, write_text

ORDER = 2
"""Stream of random numbers of a seed: the order of the samples in a shard."""
_BATCH = 4 << 20  # bytes to read and to write in one go; two such are in memory


def pack(staging: Staging, folder: Path, out: Path, seed: int) -> Iterator[ShardFile]:
    """Write the shards, one after the other, and delete the parts.

    Args:
        staging: complete, all of it on disk.
        folder: of the staging, where finished shards are noted.
        out: folder of the shards.
        seed: of the order.

    Yields:
        Each shard when it is finished; those that an earlier process finished as well.

    Raises:
        DataError: a part or a finished shard is damaged.
    """
    rows = staging.rows()
    counts = np.bincount(rows["bucket"], minlength=len(staging.sizes))
    by_bucket = np.split(np.argsort(rows["bucket"], kind="stable"), np.cumsum(counts)[:-1])
    for number, bucket in enumerate(np.flatnonzero(counts).tolist()):
        note, part = folder / f"{number:05d}.json", staging.part(bucket)
        if note.exists():
            shard = _read_note(note)
            _check_there(out / shard.name, shard, folder)
        else:
            mine = by_bucket[bucket]
            random = np.random.Generator(np.random.Philox(key=(seed, ORDER), counter=(0, 0, 0, bucket)))
            shard = _write_shard(part, rows[random.permutation(mine)], out / f"{number:05d}.tar")
            write_text(note, json.dumps(vars(shard)) + "\n")
        part.unlink(missing_ok=True)
        yield shard


def _read_note(note: Path) -> ShardFile:
    try:
        return ShardFile(**json.loads(note.read_text(encoding="utf-8")))
    except (*JSON_DAMAGE, TypeError):
        raise DataError(
            f"{note} is damaged or cut short.", hint=f"To begin anew: rm -r {shlex.quote(str(note.parent))}"
        ) from None


def _check_there(path: Path, shard: ShardFile, folder: Path) -> None:
    """Check that a shard which an earlier process finished is still there."""
    if not path.is_file() or path.stat().st_size != shard.size or not path.with_name(shard.index_name).is_file():
        raise DataError(
            f"{path} was finished, but has been removed or changed since.",
            hint=f"To begin anew: rm -r {shlex.quote(str(folder))}",
        )


def _write_shard(part: Path, rows: NDArray[Any], path: Path) -> ShardFile:
    """Copy samples of a part in the order of their rows; makes the tar and its index."""
    index, sizes = _index(rows)
    size = int(sizes.sum())
    source = OpenFile(part, os.O_RDONLY)
    if hasattr(os, "posix_fadvise"):  # the reads below are in random order, which disks dislike
        os.posix_fadvise(source.descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
    with replacing(path) as temporary, HashedFile(temporary) as file:
        batches = _batches(sizes)
        most = max(int(sizes[batch].sum()) for batch in batches)
        rooms = itertools.cycle([memoryview(bytearray(most)) for _ in range(2)])  # one is filled, one written
        for batch, room in zip(batches, rooms, strict=False):
            file.write(_read(source, rows["start"][batch].tolist(), sizes[batch].tolist(), room, part))
        file.write(end_of(size))
        sha256 = file.finish()
    shard = ShardFile(path.name, len(rows), size + len(end_of(size)), sha256, "")
    with replacing(path.with_name(shard.index_name)) as temporary:
        with temporary.open("wb") as file:
            np.save(file, index, allow_pickle=False)
        index_digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    return ShardFile(shard.name, shard.samples, shard.size, shard.sha256, index_digest)


def _batches(sizes: NDArray[np.int64]) -> list[slice]:
    """Ranges of samples of about `_BATCH` bytes."""
    numbers = (np.cumsum(sizes) - sizes) // _BATCH
    firsts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(sizes)]
    return [slice(first, last) for first, last in itertools.pairwise(firsts)]


def _read(source: OpenFile, starts: list[int], sizes: list[int], room: memoryview, part: Path) -> memoryview:
    """Pieces of a part, one behind the other, in the memory given."""
    at = 0
    for start, many in zip(starts, sizes, strict=True):
        if not read_into(source, room[at : at + many], start):
            raise DataError(
                f"{part} is shorter than it was when it was written.",
                hint=f"To begin anew: rm -r {shlex.quote(str(part.parent))}",
            )
        at += many
    return room[:at]


def _index(rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """`INDEX` entries of samples that follow each other in a tar, and the bytes that each takes."""
    jpegs, records = (-(-rows[name].astype(np.int64) // BLOCK) * BLOCK for name in ("size", "record_size"))
    sizes = jpegs + records + 4 * BLOCK
    starts = np.cumsum(sizes) - sizes
    index = np.zeros(len(rows), INDEX)
    index["offset"] = starts + BLOCK
    index["record"] = starts + BLOCK + jpegs + BLOCK
    for name in ("size", "record_size", "category", "height", "width"):
        index[name] = rows[name]
    return index, sizes
