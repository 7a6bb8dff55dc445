"""Tars of one class each go in (``n02084071.tar``, ``zebra.tar``); members come out, labelled by the tar's name."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.names import is_hidden, printable, split_path, tar_stem
from clis_core.data.sources.picture_file import size_of
from clis_core.data.sources.tar_members import member_of, opened_tar
from clis_core.data.sources.tar_walk import EntryKind


class ClassTars:
    """Tars of one class each; the parts are the tars by name.

    A label that is no longer wanted ends its tar.

    Args:
        tars: the files, compressed or not.
    """

    def __init__(self, tars: Sequence[Path]) -> None:
        self.kind = "class tars"
        self._tars = [(printable(tar_stem(path.name) or path.stem), path) for path in sorted(tars)]

    def labels(self) -> list[str]:
        """See `Source`."""
        return sorted({label for label, _ in self._tars})

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`."""
        return max(1, sum(size_of(path) for label, path in self._tars if wanted(label)))

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        for part in range(start.part, len(self._tars)):
            label, path = self._tars[part]
            if wanted(label):
                skipped = start.member if part == start.part else 0
                yield from _members(path, label, wanted, part, skipped)


def _members(path: Path, label: str, wanted: Callable[[str], bool], part: int, skipped: int) -> Iterator[Member]:
    hint = (
        "Get it again, under the same name. To leave the class out, put an empty tar in its place: "
        f"tar -cf {shlex.quote(str(path))} -T /dev/null"
    )
    with opened_tar(path, hint=hint) as walk:
        for number, entry in enumerate(walk):
            _, name = split_path(entry.path)
            if entry.kind is EntryKind.FOLDER or is_hidden(name):
                continue
            if not wanted(label):  # asked of what is passed over as well: asking may end a long way
                return
            if number < skipped:
                continue
            yield member_of(walk, entry, label, name, Position(part, number + 1))
