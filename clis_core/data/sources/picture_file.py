"""The path of a file goes in; its bytes come out, or the problem with it."""

from __future__ import annotations

import stat
from pathlib import Path

from clis_core.data.picture import MAX_BYTES
from clis_core.data.sources import problems


def read_picture_file(path: Path) -> tuple[bytes | None, str | None]:
    """Read a regular file of at most 64 MiB, behind a symbolic link too.

    Returns:
        Its bytes and None, or None and the problem.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return None, problems.NOT_REGULAR
        if found.st_size > MAX_BYTES:
            return None, problems.TOO_LARGE
        with path.open("rb", buffering=0) as file:
            return file.read(found.st_size), None
    except FileNotFoundError:
        return None, problems.MISSING
    except (OSError, ValueError):  # a name with a zero byte is a ValueError
        return None, problems.UNREADABLE


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where there is none that can be read."""
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
