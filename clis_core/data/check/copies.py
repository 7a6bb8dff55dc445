"""What image files show goes in, one after the other; which are copies of others, and of val's above all, is noted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clis_core.data.check.findings import Findings
from clis_core.data.check.look import Look
from clis_core.data.near_duplicates import NearDuplicates, are_alike


class Copies:
    """Finds copies: val's images first, then whatever else.

    Of val's images it holds 1 kB each; of others, their hash.

    Args:
        findings: gets the copies.
    """

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._val: list[tuple[str, str]] = []  # (file, record)
        self._colours: list[NDArray[np.uint8]] = []
        self._near = NearDuplicates()
        self._by_bytes: dict[str, dict[bytes, tuple[str, str]]] = {"val": {}, "train": {}}
        self._paths: dict[str, str] = {}

    def add_val(self, path: Path, record: str, seen: Look) -> None:
        """Take an image of val."""
        self._note_repeat("val", path, record, seen)
        self._val.append((str(path), record))
        self._colours.append(seen.colours)
        self._near.keep(seen.hash)
        self._paths.setdefault(_real(path), record)

    def add_train(self, path: Path, record: str, seen: Look) -> None:
        """Take an image of train, when val's have been taken."""
        self._note_repeat("train", path, record, seen)
        if _real(path) in self._paths:
            self._findings.add("D504", "train", path, record, f"as {self._paths[_real(path)]}")
        else:
            self._note_leak("D505", "D506", "train", str(path), record, seen)

    def add_picture(self, file: Path, key: str, seen: Look) -> None:
        """Take a picture of the shards, when val's have been taken."""
        self._note_leak("D605", "D606", "shards", str(file), key, seen)

    def _note_repeat(self, where: str, path: Path, record: str, seen: Look) -> None:
        first = self._by_bytes[where].setdefault(seen.sha256, (str(path), record))
        if first != (str(path), record):
            self._findings.add("D306", where, path, record, f"the same bytes as {first[0]} ({first[1]})")

    def _note_leak(self, exact: str, near: str, where: str, file: str, record: str, seen: Look) -> None:
        same = self._by_bytes["val"].get(seen.sha256)
        if same is not None:
            self._findings.add(exact, where, file, record, f"the same bytes as {same[0]} ({same[1]})")
            return
        for index in self._near.find_all(seen.hash):
            if are_alike(seen.colours, self._colours[index]):
                like = self._val[index]
                self._findings.add(near, where, file, record, f"looks like {like[0]} ({like[1]})")
                return


def _real(path: Path) -> str:
    return os.path.realpath(path)
