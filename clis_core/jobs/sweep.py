"""Rows of settings and seeds in, a run for each, and how they came out; goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.config.load import difference, load_config
from clis_core.config.resume import FREE
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.errors import ConfigError
from clis_core.jobs.run_log import read_log, training_minutes
from clis_core.jobs.train import train
from clis_core.report import Reporter

Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """How one run came out.

    Attributes:
        run: its folder.
        seed: of everything random.
        metrics: percent points by name.
        minutes: of training, without evaluation.
        memory_mb: at most.
    """

    run: Path
    seed: int
    metrics: Values
    minutes: float
    memory_mb: float


def run_or_resume(config: RunConfig, run: Path, reporter: Reporter) -> Outcome:
    """Train one run to its end, from where it is; a finished one is read.

    Raises:
        ConfigError: the folder holds a run with other settings.
    """
    if (run / "config.toml").is_file():
        changed = [
            f"{key}: {old!r} there, {new!r} now"
            for key, old, new in difference(load_config(run / "config.toml"), config)
            if not any(key == free or key.startswith(free + ".") for free in FREE)
        ]
        if changed:
            raise ConfigError(
                f"{run} was run with other settings:\n" + "\n".join(changed),
                hint="Take another folder for these: -o FOLDER",
            )
    if not _finished(run, config):
        train(config, run, resume=bool(checkpoints_of(run)), reporter=reporter)
    return read_outcome(run, config.seed)


def read_outcome(run: Path, seed: int) -> Outcome:
    """How a finished run came out, from its log and its last evaluation."""
    metrics = json.loads((run / "eval-val" / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    memory = max(record["memory_mb"] for record in read_log(run / "log.jsonl") if record["kind"] == "train")
    return Outcome(run, seed, metrics, training_minutes(run), memory)


def _finished(run: Path, config: RunConfig) -> bool:
    file = run / "eval-val" / "metrics.json"
    if not file.is_file():
        return False
    step: Any = json.loads(file.read_text(encoding="utf-8")).get("step")
    return bool(step == config.train.iterations)


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Mean and half of the range; None where a value is missing."""
    known = [v for v in values if v is not None]
    if not known or len(known) < len(values):
        return None
    return sum(known) / len(known), (max(known) - min(known)) / 2
