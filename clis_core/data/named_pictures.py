"""What a user types goes in: files, folders, patterns, web addresses; the pictures that are meant come out."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"})
"""What is taken from a folder; a file that is named is taken whatever its name."""


class NamedPicture(NamedTuple):
    """A picture that was asked for.

    Attributes:
        name: the path or the address, as messages and results call it.
        path: of a file; None for one of the web.
    """

    name: str
    path: Path | None


class Failure(NamedTuple):
    """Something that was asked for and cannot be had.

    Attributes:
        name: the path, the pattern or the address.
        reason: why not, in words.
    """

    name: str
    reason: str


def split_list(text: str) -> list[str]:
    """The names in a list: one a line, or between zero bytes, as ``find -print0`` writes them."""
    parts = text.split("\0") if "\0" in text else text.splitlines()
    return [part for part in parts if part.strip()]


def find_pictures(words: Iterable[str], leave_out: Path | None = None) -> tuple[list[NamedPicture], list[Failure]]:
    """Find what is meant; each picture once, in the order of the words, that of a folder by name.

    Args:
        words: a file, a folder (with all below it; hidden ones are passed over), a pattern such as ``a/**/*.jpg``, or
            an address that begins with ``http://`` or ``https://``.
        leave_out: a folder that is passed over within other folders, such as that of the results.

    Returns:
        The pictures, and the words that lead to none.
    """
    pictures: dict[str, NamedPicture] = {}
    failures: list[Failure] = []
    outside = leave_out.resolve() if leave_out is not None else None
    for word in words:
        found = list(_meant(word, outside))
        for one in found:
            if isinstance(one, Failure):
                failures.append(one)
            else:
                pictures.setdefault(one.name if one.path is None else os.path.realpath(one.path), one)
    return list(pictures.values()), failures


def _meant(word: str, outside: Path | None) -> Iterator[NamedPicture | Failure]:
    scheme = word.partition("://")[0].lower() if "://" in word else ""
    if scheme in ("http", "https"):
        yield NamedPicture(word, None)
        return
    if scheme:
        yield Failure(word, f"{scheme}:// cannot be read; http:// and https:// can")
        return
    path = Path(word).expanduser()
    if path.is_dir():
        found = [NamedPicture(str(p), p) for p in _below(path, outside)]
        yield from found
        if not found:
            yield Failure(word, f"no pictures in this folder ({', '.join(sorted(SUFFIXES))})")
    elif path.exists() or not glob.has_magic(word):
        yield NamedPicture(word, path)  # that a file is missing is told when it is read
    else:
        matches = (Path(p) for p in sorted(glob.glob(os.path.expanduser(word), recursive=True)))
        files = [NamedPicture(str(p), p) for p in matches if p.is_file()]
        yield from files
        if not files:
            yield Failure(word, "no file matches this pattern")


def _below(folder: Path, outside: Path | None) -> Iterator[Path]:
    """Pictures below a folder by name; links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and (outside is None or Path(place, f).resolve() != outside)
        )
        for file in sorted(files):
            if not file.startswith(".") and os.path.splitext(file)[1].lower() in SUFFIXES:
                yield Path(place, file)
