"""A path from an archive or a list goes in; a base name and a label that can be shown and stored come out."""

from __future__ import annotations

import re

UNLABELLED = ""
"""The label of a member whose source does not say what it shows."""
PICTURES = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"})
"""Extensions of pictures in WebDataset shards, in lower case."""
TAR = ".tar"
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
# Control characters, line separators and what is no Unicode: they would garble a terminal, or stop a writer.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with its control characters and undecodable bytes written as escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def split_path(path: str) -> tuple[str, str]:
    """Label and name by a path: the names of its last folder and of the file, never a path.

    Returns:
        The label, `UNLABELLED` where there is no folder or it is ``..``; the base name, behind a backslash too.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")] or [""]
    name = parts[-1].rpartition("\\")[2]
    folder = parts[-2] if len(parts) > 1 else UNLABELLED
    return UNLABELLED if folder == ".." else printable(folder), printable(name)


def is_hidden(name: str) -> bool:
    """Whether a file is the file system's own: ``.DS_Store``, ``._picture.jpg``, ``Thumbs.db``."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def tar_stem(name: str) -> str | None:
    """A tar's name without its extension; None where it is no tar by its name."""
    for suffix in (TAR, *COMPRESSED_TARS):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return None
