"""The folder of a build goes in; it is left to others, tidied up, or what went wrong with it is said."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from clis_core.data.shards.manifest import MANIFEST
from clis_core.data.shards.staging import STAGING
from clis_core.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEFT = re.compile(r"\.(\d{5,}\.(tar|index\.npy)|(manifest|matching)\.json|refused\.jsonl)\.[0-9a-f-]+\.tmp")
_TAKEN = re.compile(r".*\.(tar|index\.npy)|refused\.jsonl")


def is_finished(out: Path) -> bool:
    """Whether a folder holds finished shards."""
    return (out / MANIFEST).is_file()


def finished_already(out: Path) -> DataError:
    """What to say where shards would be built into finished ones."""
    return DataError(
        f"{out} is already finished; finished shards never change.",
        hint="To build others, take another folder: -o FOLDER",
    )


def check_own(out: Path) -> None:
    """Check that a folder is new to shards, or that of a build that was begun.

    Raises:
        DataError: it holds tars of others.
    """
    if out.exists() and not (out / STAGING).exists():
        taken = sorted(path.name for path in out.iterdir() if _TAKEN.fullmatch(path.name))
        if taken:
            more = len(taken) - 1
            raise DataError(
                f"{out} holds files that are not of this build: {taken[0]}{f' and {more} more' if more else ''}.",
                hint="Take an empty folder: -o FOLDER",
            )


def tidy(out: Path) -> None:
    """Remove the half-written files of a build that was killed."""
    for path in out.iterdir():
        if _LEFT.fullmatch(path.name):
            path.unlink()


@contextlib.contextmanager
def writing(out: Path, kept: str) -> Iterator[None]:
    """Say what to do when a folder cannot be written.

    Args:
        out: the folder.
        kept: a sentence that says what is kept.

    Raises:
        DataError: an OSError came: the disk is full, or something else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DataError(
                f"The disk of {out} is full ({error.strerror}). {kept}",
                hint="Make room and run the same command again: it goes on.",
            ) from None
        raise DataError(
            f"{out} cannot be written: {error.strerror or error}. {kept}",
            hint="Check the folder and its permissions, then run the same command again: it goes on.",
        ) from None
