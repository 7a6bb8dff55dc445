"""Paths go in, open descriptors come out: as many as the process may well have, opened when they are needed."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path


class OpenFile:
    """A descriptor that is closed with its last user.

    Args:
        path: the file.
        flags: of `os.open`.
    """

    def __init__(self, path: Path, flags: int) -> None:
        self._close = os.close  # it may be needed when the modules are gone
        self.descriptor = -1
        self.descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o644)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            self._close(self.descriptor)


class OpenFiles:
    """Keeps files open, and lets go of one when there are too many.

    Threads may share it without a lock, and processes may inherit it: a file stays open while it is in use, and
    what uses it names the place in the file (`os.pread`) or appends.

    Args:
        flags: of `os.open`.
        most: files to keep open; None takes a quarter of what the process may open, at most 512.
    """

    def __init__(self, flags: int, most: int | None = None) -> None:
        self._flags = flags
        self._most = most or _many()
        self._files: dict[Path, OpenFile] = {}

    def get(self, path: Path) -> OpenFile:
        """The open file; hold on to it while its descriptor is used.

        Raises:
            OSError: it cannot be opened.
        """
        file = self._files.get(path)
        if file is None:
            file = OpenFile(path, self._flags)
            if len(self._files) >= self._most:
                # The newest: for random access as good as any other, for one file after the other the best.
                with contextlib.suppress(KeyError):  # another thread was faster
                    self._files.popitem()
            self._files[path] = file
        return file

    def close(self) -> None:
        """Let go of all."""
        self._files.clear()


def _many() -> int:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 512 if limit == resource.RLIM_INFINITY else max(8, min(512, limit // 4))


def read_at(file: OpenFile, size: int, offset: int) -> bytes:
    """Read ``size`` bytes from a place; fewer only at the end of the file."""
    data = os.pread(file.descriptor, size, offset)
    while len(data) < size and (more := os.pread(file.descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def read_into(file: OpenFile, room: memoryview, offset: int) -> bool:
    """Fill memory with the bytes from a place; False if the file ends before."""
    done = 0
    while done < len(room):
        many = os.preadv(file.descriptor, [room[done:]], offset + done)
        if not many:
            return False
        done += many
    return True
