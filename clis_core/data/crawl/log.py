"""JSON objects go in, one a line; a process that is killed while it writes leaves whole lines alone."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from clis_core.errors import JSON_DAMAGE, DataError


class JsonLog:
    """A file that is only ever appended to, from several threads.

    A last line that was cut short, by a kill or a full disk, is taken away when the file is opened.

    Args:
        path: the file; it is made if there is none.

    Raises:
        DataError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise DataError(
                f"{path} cannot be written: {error.strerror}.", hint="Choose a folder that you may write to: -o DIR"
            ) from None
        self._end = self._cut()

    def append(self, value: dict[str, Any]) -> int:
        """Write one object; the offset of its line comes out.

        Raises:
            OSError: the disk is full.
            ValueError: the log is closed.
        """
        line = json.dumps(value, allow_nan=False).encode("ascii") + b"\n"
        with self._lock:
            at = self._end
            written = self._file.write(line)
            if written != len(line):
                self._file.truncate(at)
                raise OSError(28, "No space left on device", str(self.path))
            self._end += len(line)
        return at

    def read(self, offset: int) -> dict[str, Any]:
        """The object whose line begins at an offset.

        Raises:
            DataError: the line is damaged.
        """
        with self.path.open("rb") as file:
            file.seek(offset)
            return self._parse(file.readline(), offset)

    def lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Offset and object of every line, in order.

        Raises:
            DataError: a line is damaged.
        """
        at = 0
        with self.path.open("rb") as file:
            for line in file:
                yield at, self._parse(line, at)
                at += len(line)

    def close(self) -> None:
        """Bring it to the disk and close it; later writes fail."""
        with self._lock:
            if not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()

    def __enter__(self) -> JsonLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _cut(self) -> int:
        """Take away what follows the last line break; the size that is left comes out."""
        size = self._file.seek(0, os.SEEK_END)
        at = size
        while at:
            start = max(0, at - (1 << 16))
            self._file.seek(start)
            found = self._file.read(at - start).rfind(b"\n")
            if found >= 0:
                at = start + found + 1
                break
            at = start
        if at < size:
            self._file.truncate(at)
        return at

    def _parse(self, line: bytes, offset: int) -> dict[str, Any]:
        try:
            value = json.loads(line)
        except JSON_DAMAGE:
            value = None
        if not isinstance(value, dict):
            raise DataError(f"{self.path} is damaged at byte {offset}.", hint="Crawl into another folder: -o DIR")
        return value
