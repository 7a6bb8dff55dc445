"""Samples go in, in the order of their source; files that hold them by shard, and survive any end, come out.

The folder ``.staging`` of a build holds

- ``plan.json``: what is built, so that nothing else goes on in it;
- ``00000.part``, ``00001.part``, ...: the samples of each shard-to-be, one after the other;
- ``rows``: one `ROW` for each sample, in the order in which they came;
- ``refused.jsonl``;
- ``progress.json``: how long each of these files was at the last checkpoint, and where the source stood then.

What was written after the last checkpoint is cut off when a build goes on, and comes again from its source.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.shards.early_sync import ENOUGH, EarlySync
from clis_core.data.shards.members import json_bytes
from clis_core.data.shards.open_files import OpenFile, OpenFiles
from clis_core.errors import JSON_DAMAGE, DataError
from clis_core.files import TEMPORARY, sync_folder, write_text

STAGING = ".staging"
PLAN = "plan.json"
PROGRESS = "progress.json"
LOCK = ".lock"
ROW = np.dtype(
    [
        ("bucket", "<i4"),  # number of its part
        ("start", "<i8"),  # of the sample in the part, bytes
        ("size", "<i4"),  # of the JPEG, bytes
        ("record_size", "<i4"),  # of the json, bytes
        ("category", "<i8"),  # its id
        ("height", "<i4"),  # pixels
        ("width", "<i4"),
        ("key", "<u8"),  # hash of the key
        ("content", "<u8"),  # hash of picture and category
    ]
)
_SYNCING = 8  # threads that wait for the disk
_BATCH = 4 << 20  # bytes that are handed to the writing thread at a time: the memory is that of two batches
_PIECES = 1024  # that POSIX systems write in one go


class Staging:
    """The files of a build that is not finished.

    Args:
        folder: ``.staging``; it exists.
        buckets: number of parts.

    Attributes:
        sizes: of the parts, bytes, those not yet on disk included.
        cursor: where the source stood at the last checkpoint.
        complete: whether the source has been read to its end.
        refused: members refused, by reason.
        unsaved: bytes of pictures since the last checkpoint.
    """

    def __init__(self, folder: Path, buckets: int) -> None:
        self._folder = folder
        self._parts = OpenFiles(os.O_WRONLY | os.O_CREAT)
        self._rows = bytearray()  # since the last checkpoint, as the lines of refused members
        self._lines = bytearray()
        self._saved = {"rows": 0, "refused.jsonl": 0}
        self._dirty: dict[int, int] = {}  # bytes by part that may not be on disk
        self._early = EarlySync()
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._batch: dict[int, tuple[int, list[bytes]]] = {}  # by part, where its pieces belong
        self._waiting = 0  # their bytes
        self.sizes = [0] * buckets
        self.cursor: Any = None
        self.complete = False
        self.refused: Counter[str] = Counter()
        self.unsaved = 0

    def part(self, bucket: int) -> Path:
        """The samples of a shard-to-be."""
        return self._folder / f"{bucket:05d}.part"

    @property
    def refused_file(self) -> Path:
        """The refused members."""
        return self._folder / "refused.jsonl"

    def start(self, plan: Mapping[str, Any]) -> None:
        """Begin anew, or go on where the last checkpoint was.

        Args:
            plan: what is built, plain json values.

        Raises:
            DataError: another plan was begun here, or the files are damaged.
        """
        for path in self._folder.iterdir():
            if path.name.endswith(TEMPORARY) or (path.name != LOCK and not (self._folder / PLAN).exists()):
                _remove(path)
        if (self._folder / PLAN).exists():
            self._check_plan(plan)
            if (self._folder / PROGRESS).exists():
                self._read_progress()
        else:
            write_text(self._folder / PLAN, json.dumps(plan, indent=1) + "\n")
        if not self.complete:
            self._cut()

    def append(self, bucket: int, pieces: Sequence[bytes]) -> int:
        """Write a sample to the end of a part, now or soon; returns where it starts.

        Raises:
            OSError: the disk is full or broken; it may be told by a later call, at the latest by `checkpoint`.
        """
        start, size = self.sizes[bucket], sum(map(len, pieces))
        self._batch.setdefault(bucket, (start, []))[1].extend(pieces)
        self._waiting += size
        self.sizes[bucket] += size
        self.unsaved += size
        if self._waiting >= _BATCH:
            self._pass_on()
        return start

    def note(self, row: bytes) -> None:
        """Remember a sample's `ROW`."""
        self._rows += row

    def refuse(self, line: Mapping[str, Any], reason: str) -> None:
        """Remember a refused member."""
        self._lines += json_bytes(line) + b"\n"
        self.refused[reason] += 1

    def rows(self) -> NDArray[Any]:
        """The `ROW` of each sample up to the last checkpoint, on disk."""
        count = self._saved["rows"] // ROW.itemsize
        return np.memmap(self._folder / "rows", ROW, "r", shape=(count,)) if count else np.zeros(0, ROW)

    def checkpoint(self, cursor: Any, *, complete: bool = False) -> None:
        """Make everything so far last, together with where the source stands."""
        self._pass_on()
        self._wait()
        self._early.wait()
        with ThreadPoolExecutor(_SYNCING) as pool:
            list(pool.map(self._sync, sorted(self._dirty)))
        self._append("rows", self._rows)
        self._append("refused.jsonl", self._lines)
        sync_folder(self._folder)
        progress = {
            "sizes": self.sizes,
            "saved": self._saved,
            "samples": self._saved["rows"] // ROW.itemsize,
            "refused": dict(self.refused),
            "cursor": cursor,
            "complete": complete,
        }
        write_text(self._folder / PROGRESS, json.dumps(progress) + "\n")
        self.cursor, self.complete, self.unsaved = cursor, complete, 0
        self._dirty.clear()

    def close(self) -> None:
        """Close the parts."""
        self._thread.shutdown()
        self._early.close()
        self._parts.close()

    def _pass_on(self) -> None:
        """Have the batch written, when the one before has been."""
        self._wait()
        batch, self._batch, self._waiting = self._batch, {}, 0
        self._writing = self._thread.submit(self._write, batch)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write(self, batch: Mapping[int, tuple[int, list[bytes]]]) -> None:
        for bucket, (start, pieces) in batch.items():
            file = self._parts.get(self.part(bucket))
            os.lseek(file.descriptor, start, os.SEEK_SET)  # a write that was interrupted may have left something there
            for at in range(0, len(pieces), _PIECES):
                _write_all(file.descriptor, pieces[at : at + _PIECES])
            dirty = self._dirty.get(bucket, 0) + sum(map(len, pieces))
            if dirty >= ENOUGH and self._early.begin(functools.partial(_fsync, file)):
                dirty = 0
            self._dirty[bucket] = dirty

    def _sync(self, bucket: int) -> None:
        file = self._parts.get(self.part(bucket))  # a name, so that it stays open
        os.fsync(file.descriptor)

    def _append(self, name: str, data: bytearray) -> None:
        with (self._folder / name).open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._saved[name] += len(data)
        data.clear()

    def _check_plan(self, plan: Mapping[str, Any]) -> None:
        """Compare with the plan that was begun."""
        out = self._folder.parent
        begun = _load(self._folder / PLAN)
        now = json.loads(json.dumps(plan))
        differing = [key for key in {**begun, **now} if begun.get(key) != now.get(key)]
        if differing:
            shown = "; ".join(f"{key} was {_short(begun.get(key))}, is {_short(now.get(key))}" for key in differing)
            raise DataError(
                f"{out} holds a build that is not finished and was begun otherwise: {shown}.",
                hint="Go on with what it was begun with, or take another folder: -o FOLDER",
            )

    def _read_progress(self) -> None:
        progress = _load(self._folder / PROGRESS)
        try:
            self.sizes = [int(size) for size in progress["sizes"]]
            self._saved = {name: int(progress["saved"][name]) for name in self._saved}
            self.refused = Counter({str(k): int(v) for k, v in progress["refused"].items()})
            self.cursor, self.complete = progress["cursor"], bool(progress["complete"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _damaged(self._folder / PROGRESS) from None

    def _cut(self) -> None:
        """Cut off what came after the last checkpoint."""
        files = {self.part(bucket): size for bucket, size in enumerate(self.sizes)}
        files |= {self._folder / name: size for name, size in self._saved.items()}
        for path, size in files.items():
            there = path.stat().st_size if path.exists() else 0
            if there < size:
                raise _damaged(path)
            if there > size:
                os.truncate(path, size)


def _write_all(descriptor: int, pieces: list[bytes]) -> None:
    size = sum(map(len, pieces))
    done = os.writev(descriptor, pieces)
    if done < size:  # the disk is all but full, or a signal came
        rest = memoryview(b"".join(pieces))
        while done < size:
            done += os.write(descriptor, rest[done:])


def _fsync(file: OpenFile) -> None:
    os.fsync(file.descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except JSON_DAMAGE:
        raise _damaged(path) from None
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> DataError:
    return DataError(f"{path} is damaged or cut short.", hint=f"To begin anew: rm -r {shlex.quote(str(path.parent))}")


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "..."
