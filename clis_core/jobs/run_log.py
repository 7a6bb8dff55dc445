"""A run's log in; its records, and the minutes of its training, out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from clis_core.config.load import read_toml
from clis_core.evaluation.records import read_bytes


def read_log(path: Path) -> Sequence[dict[str, Any]]:
    """The records "train" and "eval" of a log, in its order; a line that a kill has cut short is passed over.

    Raises:
        DataError: it cannot be read.
    """
    if not path.is_file():
        return ()
    found = []
    for line in read_bytes(path).splitlines():
        try:
            record = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        known = isinstance(record, dict) and record.get("kind") in ("train", "eval")
        if known and isinstance(record.get("step"), int):
            found.append(record)
    return found


def training_minutes(run: Path, *, after: int = 0) -> float:
    """The minutes that a run's steps took by its log, without starts, checkpoints and evaluations.

    Args:
        run: the run folder.
        after: a step of a line of the log; only what came after it counts.
    """
    batch: int = read_toml(run / "config.toml")["train"]["batch"]
    seconds, before = 0.0, 0
    for record in read_log(run / "log.jsonl"):
        if record["kind"] == "train" and record.get("images_per_second"):
            if record["step"] > after:
                seconds += (record["step"] - before) * batch / record["images_per_second"]
            before = record["step"]
    return seconds / 60
