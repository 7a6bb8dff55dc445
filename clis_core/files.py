"""The one writer: a file appears under its name when it is whole and on disk, or not at all; and the one lock."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".tmp"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside ``path``; rename it when the block ends without an error.

    A crash leaves the old file, and at worst a file that ends in ``.tmp``.

    Args:
        path: the file to make or replace; its folder is made as well.

    Yields:
        The temporary path to write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        # A write that fails names no file; one without a number would lose its words.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
            error.filename2 = None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_stored(archive: zipfile.ZipFile, size: int) -> None:
    """Check that a zip archive is of plain members, as torch and numpy write them: no bomb, which unpacks to gigabytes.

    Args:
        archive: open.
        size: of its file, bytes.

    Raises:
        ValueError: a member is compressed, or they hold more than the file does.
    """
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its members are compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("it unpacks to more than it is")


def write_text(path: Path, text: str) -> None:
    """Make or replace a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Make renames within a folder last; does nothing where folders cannot be opened (Windows)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock file; the system lets go of it when the process ends, however it ends.

    Args:
        path: the file; made in a folder that exists.

    Yields:
        Whether it is held; False: another process holds it. Where a system has no such locks, always True.
    """
    if sys.platform == "win32":  # has no flock
        yield True
        return
    import fcntl

    with path.open("w") as file:
        held = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:  # a file system without locks
            pass
        _LOCKS.add(file.fileno())
        try:
            yield held
        finally:
            _LOCKS.discard(file.fileno())


def _leave_locks() -> None:
    """In a forked child: a loader's worker outlives a killed parent by seconds, and must not hold its locks."""
    for handle in _LOCKS:
        os.close(handle)
    _LOCKS.clear()


_LOCKS: set[int] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)
