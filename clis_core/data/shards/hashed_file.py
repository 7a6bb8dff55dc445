"""Bytes go in, some megabytes at a time; a file of them and its SHA-256 come out: threads hash, write and sync."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from clis_core.data.shards.early_sync import ENOUGH, EarlySync


class HashedFile:
    """A new file; a context manager, which closes it.

    The file is whole when `finish` has returned, and certainly on disk when its writer has called `os.fsync`.

    Args:
        path: the file to make.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._threads = ThreadPoolExecutor(2)
        self._working: list[Future[None]] = []
        self._early = EarlySync()
        self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        self._early.close()
        self._file.close()

    def write(self, data: bytes | memoryview) -> None:
        """Have data written at the end, when those before have been; they must stay as they are until the next call.

        Raises:
            OSError: the disk is full or broken; it may be told by a later call, at the latest by `finish`.
        """
        self._wait()
        self._working = [self._threads.submit(self._digest.update, data), self._threads.submit(self._write, data)]

    def finish(self) -> str:
        """Write what is left.

        Returns:
            The SHA-256 of all bytes, hexadecimal.

        Raises:
            OSError: the disk is full or broken.
        """
        self._wait()
        self._early.wait()
        return self._digest.hexdigest()

    def _wait(self) -> None:
        working, self._working = self._working, []
        for work in working:
            work.result()

    def _write(self, data: bytes | memoryview) -> None:
        done = self._file.write(data)
        while done < len(data):  # the disk is all but full, or a signal came
            done += self._file.write(memoryview(data)[done:])
        self._unsynced += len(data)
        if self._unsynced >= ENOUGH and self._early.begin(self._sync):
            self._unsynced = 0

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
