"""Bytes go in, piece by piece; a file of them and its SHA-256 come out, while threads hash it and bring it to disk."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from clis_core.data.shards.early_sync import ENOUGH, EarlySync

_BATCH = 4 << 20  # bytes that are handed to the thread at a time: the memory is that of two batches


class HashedFile:
    """A new file; a context manager, which closes it.

    The file is whole when `finish` has returned, and certainly on disk when its writer has called `os.fsync`.

    Args:
        path: the file to make.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None
        self._early = EarlySync()
        self._batch: list[bytes] = []
        self._waiting = self._unsynced = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        self._early.close()
        self._file.close()

    def write(self, data: bytes) -> None:
        """Write at the end.

        Raises:
            OSError: the disk is full or broken.
        """
        self._batch.append(data)
        self._waiting += len(data)
        if self._waiting >= _BATCH:
            self._pass_on()

    def finish(self) -> str:
        """Write what is left.

        Returns:
            The SHA-256 of all bytes, hexadecimal.

        Raises:
            OSError: the disk is full or broken.
        """
        self._pass_on()
        self._file.flush()
        self._early.wait()
        if self._hashing is not None:
            self._hashing.result()
        return self._digest.hexdigest()

    def _pass_on(self) -> None:
        """Write a batch while it is hashed."""
        batch, self._batch = self._batch, []
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = self._thread.submit(self._hash, batch)
        for data in batch:
            self._file.write(data)
        self._unsynced += self._waiting
        self._waiting = 0
        if self._unsynced >= ENOUGH:
            self._file.flush()
            if self._early.begin(lambda: os.fsync(self._file.fileno())):
                self._unsynced = 0

    def _hash(self, batch: list[bytes]) -> None:
        for data in batch:
            self._digest.update(data)
