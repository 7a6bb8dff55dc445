"""One large tar goes in, of class tars or of class folders; its members come out, and nothing is unpacked to disk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

from clis_core.data.sources import problems
from clis_core.data.sources.byte_stream import compression_of
from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.names import COMPRESSED_TARS, TAR, UNLABELLED, is_hidden, printable, split_path, tar_stem
from clis_core.data.sources.picture_file import size_of
from clis_core.data.sources.tar_members import first_paths, member_of, opened_tar
from clis_core.data.sources.tar_walk import DamagedTarError, Entry, EntryKind, TarWalk


class TarStream:
    """A tar, tar.gz, tar.bz2 or tar.xz of many classes.

    An entry that is a tar itself is a class tar: its name is the label of all its members. Any other file has the name
    of its parent folder as its label. A part is an entry of the outer tar. Going on from a position passes over what
    lies before it, by seeking where the tar is not compressed, else by reading through. A class tar that is damaged
    ends with a member that says so, and the next entry follows; a label that is no longer wanted ends its class tar.

    Args:
        path: the tar.

    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        of_tars = [name for name in first_paths(path, 1) if name.lower().endswith(TAR)]
        self.kind = "tar of class tars" if of_tars else "tar of class folders"
        self._tells_labels = bool(of_tars) and compression_of(path) is None

    def labels(self) -> list[str] | None:
        """See `Source`; known where an uncompressed tar begins with a class tar."""
        return sorted(self._class_tars) if self._tells_labels else None

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`; the whole file where the labels are not known."""
        if not self._tells_labels:
            return max(1, size_of(self._path))
        return max(1, sum(size for label, size in self._class_tars.items() if wanted(label)))

    @functools.cached_property
    def _class_tars(self) -> dict[str, int]:
        """Bytes by label, from the outer headers alone."""
        sizes: dict[str, int] = {}
        with opened_tar(self._path) as walk:
            for entry in walk:
                label, name = _label_and_name(entry)
                if entry.kind is EntryKind.FOLDER or is_hidden(name):
                    continue
                sizes[label] = sizes.get(label, 0) + entry.size
        return sizes

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        with opened_tar(self._path) as walk:
            for part, entry in enumerate(walk):
                label, name = _label_and_name(entry)
                if entry.kind is EntryKind.FOLDER or is_hidden(name):
                    continue
                # Asked of what is passed over as well: in a compressed file that takes long, and asking may end it.
                if not wanted(label) or part < start.part:
                    continue
                skipped = start.member if part == start.part else 0
                after = Position(part + 1)
                if _is_class_tar(entry, name):
                    yield from _class_tar(walk, entry, label, name, wanted, part, skipped)
                elif name.lower().endswith(COMPRESSED_TARS):
                    yield Member(label, name, None, problems.PACKED_TAR, after)
                elif label == UNLABELLED:
                    yield Member(label, name, None, problems.NO_LABEL, after)
                else:
                    yield member_of(walk, entry, label, name, after)


def _class_tar(
    outer: TarWalk, tar: Entry, label: str, tar_name: str, wanted: Callable[[str], bool], part: int, skipped: int
) -> Iterator[Member]:
    walk = TarWalk(outer.inner(tar))
    try:
        for number, entry in enumerate(walk):
            _, name = split_path(entry.path)
            if entry.kind is EntryKind.FOLDER or is_hidden(name):
                continue
            if not wanted(label):
                return
            if number < skipped:
                continue
            yield member_of(walk, entry, label, name, Position(part, number + 1))
    except DamagedTarError:
        yield Member(label, tar_name, None, problems.DAMAGED_TAR, Position(part + 1))


def _label_and_name(entry: Entry) -> tuple[str, str]:
    folder, name = split_path(entry.path)
    return printable(tar_stem(name) or folder), name


def _is_class_tar(entry: Entry, name: str) -> bool:
    return entry.kind is EntryKind.FILE and name.lower().endswith(TAR)
