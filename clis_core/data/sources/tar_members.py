"""A tar file goes in; its walk and members come out, and its damage as an error that names the file."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from clis_core.data.picture import MAX_BYTES
from clis_core.data.sources import problems
from clis_core.data.sources.byte_stream import UnreadableError, byte_stream
from clis_core.data.sources.member import Member, Position
from clis_core.data.sources.names import is_hidden, printable, split_path
from clis_core.data.sources.tar_walk import DamagedTarError, Entry, EntryKind, TarWalk
from clis_core.errors import DataError

GET_AGAIN = "Get it again, under the same name; a broken download goes on with wget -c or curl -C -."


@contextlib.contextmanager
def opened_tar(path: Path, *, hint: str = GET_AGAIN) -> Iterator[TarWalk]:
    """Open a tar, compressed or not, at its first entry.

    Args:
        path: the tar.
        hint: what to do about damage.

    Raises:
        DataError: it cannot be read, is no tar, or turns out to be cut short or damaged; names the last whole file.
    """
    with byte_stream(path) as stream:
        walk = TarWalk(stream)
        with damage_told(path, walk, hint):
            yield walk


@contextlib.contextmanager
def damage_told(path: Path, walk: TarWalk, hint: str) -> Iterator[None]:
    """Tell damage that is met within the block as an error about the file.

    Raises:
        DataError: the archive is cut short or damaged.
    """
    try:
        yield
    except (DamagedTarError, UnreadableError) as error:
        last = "no file in it is whole" if walk.last is None else f"the last whole file in it is {walk.last!r}"
        if isinstance(error, DamagedTarError) and error.endless:
            hint += f" If it is whole all the same, add the mark: head -c 1024 /dev/zero >> {shlex.quote(str(path))}"
        raise DataError(f"{path}: {error}; {last}.", hint=hint) from None


def member_of(walk: TarWalk, entry: Entry, label: str, name: str, after: Position) -> Member:
    """The entry that a walk stands at as a member; only regular files of at most 64 MiB are read."""
    if entry.kind is not EntryKind.FILE:
        return Member(label, name, None, problems.NOT_REGULAR, after)
    if entry.size > MAX_BYTES:
        return Member(label, name, None, problems.TOO_LARGE, after)
    return Member(label, name, walk.read(entry), None, after)


def first_paths(path: Path, number: int) -> list[str]:
    """Paths of the first entries of a tar that are neither folders nor hidden, to tell what it holds.

    Raises:
        DataError: as `opened_tar`, if the damage lies within these entries.
    """
    paths: list[str] = []
    with opened_tar(path) as walk:
        for entry in walk:
            if entry.kind is not EntryKind.FOLDER and not is_hidden(split_path(entry.path)[1]):
                paths.append(printable(entry.path))
                if len(paths) == number:
                    break
    return paths
