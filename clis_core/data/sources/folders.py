"""A folder for each class goes in; its files come out, labelled by the folder's name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.names import is_hidden, printable
from clis_core.data.sources.picture_file import read_picture_file, size_of
from clis_core.errors import DataError

IMAGENET_21K_P = ("imagenet21k_train", "imagenet21k_val", "imagenet21k_small_classes")
_SPLITS = ("train", "val")
_SPLITS_AND_TEST = frozenset({*_SPLITS, "test"})


class ClassFolders:
    """Folders of one class each; the parts are the labels in their order.

    A class's files are all those below its folder, by name. Files beside the class folders, and hidden ones, are not
    read. In the layouts of ImageNet-21K-P (``imagenet21k_train/``, ``imagenet21k_val/``,
    ``imagenet21k_small_classes/``) and ImageNet-1k (``train/``, ``val/``, beside at most ``test/``), a label's files
    come from each of these folders in turn; `kind` says which there are.

    Links: a class folder may be a symbolic link, and so may a file if a regular file is behind it. Linked folders
    within a class folder are not followed: each is a member that is no regular file.

    A label that is no longer wanted ends its part.

    Args:
        folder: the folder that holds the class folders.

    Raises:
        DataError: it cannot be read or holds no class folders.
    """

    def __init__(self, folder: Path) -> None:
        roots, self.kind = _layout(folder)
        self._folders: dict[str, list[str]] = {}
        for root in roots:
            for name in _subfolders(root):
                self._folders.setdefault(printable(name), []).append(os.path.join(root, name))
        if not self._folders:
            raise DataError(
                f"{folder} holds no folder, so no class.",
                hint=f"Put the pictures of a class into a folder of its name: {folder}/zebra/1.jpg",
            )
        self._labels = sorted(self._folders)

    def labels(self) -> list[str]:
        """See `Source`."""
        return list(self._labels)

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`."""
        return max(1, sum(size_of(Path(f)) for label in self._labels if wanted(label) for f in self._files(label)))

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        for part in range(start.part, len(self._labels)):
            label = self._labels[part]
            skipped = start.member if part == start.part else 0
            if not wanted(label):
                continue
            for number, file in enumerate(self._files(label)):
                if number < skipped:
                    continue
                if not wanted(label):
                    break
                data, problem = read_picture_file(Path(file))
                yield Member(label, printable(os.path.basename(file)), data, problem, Position(part, number + 1))

    def _files(self, label: str) -> Iterator[str]:
        for folder in self._folders[label]:
            yield from _walk(folder)


def _layout(folder: Path) -> tuple[Sequence[Path], str]:
    """The folders that hold class folders, and what to call them."""
    names = _subfolders(folder)
    found = [name for name in IMAGENET_21K_P if name in names]
    if found:
        missing = [name for name in IMAGENET_21K_P if name not in names]
        return [folder / name for name in found], f"ImageNet-21K-P folders ({_told(found, missing)})"
    if set(names) <= _SPLITS_AND_TEST:  # or else these are classes: LVIS and COCO have one called train
        found = [name for name in _SPLITS if name in names and _subfolders(folder / name)]
        if found:
            missing = [name for name in names if name not in found]
            return [folder / name for name in found], f"class folders ({_told(found, missing)})"
    if len(names) == 1 and set(IMAGENET_21K_P) & set(_subfolders(folder / names[0])):
        raise DataError(
            f"{folder} holds one folder, {names[0]}, and the classes lie deeper.",
            hint=f"Give that folder: {folder / names[0]}",
        )
    return [folder], "class folders"


def _told(found: Sequence[str], missing: Sequence[str]) -> str:
    return ", ".join(found) + (f"; without {', '.join(missing)}" if missing else "")


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _listed(os.fspath(folder)) if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _walk(folder: str) -> Iterator[str]:
    """Paths of the files below a folder by name: those of a folder, then those of its folders."""
    waiting = [folder]  # no recursion: folders may be nested deeper than Python's calls may be
    while waiting:
        entries = _listed(waiting.pop())
        folders = {entry.path for entry in entries if entry.is_dir(follow_symlinks=False)}
        waiting += sorted(folders, reverse=True)
        yield from (entry.path for entry in entries if entry.path not in folders)


def _listed(folder: str) -> list[os.DirEntry[str]]:
    """What a folder holds, by name, without hidden files."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not is_hidden(e.name)), key=lambda e: e.name)
    except OSError as error:
        raise DataError(
            f"Folder {folder} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from None
