"""What a running job tells the outside: `Reporter`, and reporters that stay silent or write JSON lines."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from clis_core.files import write_text


class Reporter(Protocol):
    """Where a job says what it does; nothing in clis_core prints."""

    def info(self, text: str) -> None:
        """Say something that a person should know."""

    def warn(self, text: str) -> None:
        """Say something that a person should look into."""

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Tell how far a task is; ``done == total`` ends it. ``figures`` are shown beside it."""

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Hand on one JSON-able record (``kind`` "train", "eval", ...)."""


class SilentReporter:
    """Drops everything."""

    def info(self, text: str) -> None:
        """Drop it."""

    def warn(self, text: str) -> None:
        """Drop it."""

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Drop it."""

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Drop it."""


class JsonLinesReporter:
    """Appends records, infos and warnings to a file, one JSON object a line; progress is left out.

    Args:
        path: the file; opened for each line, so that a killed job leaves whole lines.
        inner: a reporter that gets everything as well.
    """

    def __init__(self, path: Path, inner: Reporter) -> None:
        self._path = path
        self._inner = inner

    def drop_after(self, step: int, *, evaluated: bool = True) -> None:
        """Take records of later steps out of the file: what a killed process wrote and its successor does again.

        Args:
            step: the last one that is kept.
            evaluated: whether that step's evaluation is kept as well.
        """
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            again = () if evaluated else ("eval",)
            kept = [line for line in lines if _step(line) <= step and (_kind(line) not in again or _step(line) < step)]
            if len(kept) < len(lines):
                write_text(self._path, "".join(line + "\n" for line in kept))

    def info(self, text: str) -> None:
        """Write the text and hand it on."""
        self._write("info", {"text": text})
        self._inner.info(text)

    def warn(self, text: str) -> None:
        """Write the text and hand it on."""
        self._write("warning", {"text": text})
        self._inner.warn(text)

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Hand it on."""
        self._inner.progress(task, done, total, figures)

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write the record and hand it on."""
        self._write(kind, values)
        self._inner.record(kind, values)

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **values}, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _kind(line: str) -> str:
    """The kind of a line of the log that is whole."""
    return str(json.loads(line).get("kind"))


def _step(line: str) -> float:
    """The step of a line of the log; 0 for a line without one, infinity for one that was cut short."""
    try:
        step = json.loads(line).get("step", 0)
    except (ValueError, AttributeError):
        return math.inf
    return float(step)
