"""Rows of settings and seeds in, a run for each, and how they came out; goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.config.load import load_config
from clis_core.config.resume import changed
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.errors import ConfigError
from clis_core.jobs.apart import apart
from clis_core.jobs.run_log import read_log, training_minutes
from clis_core.jobs.train import train
from clis_core.report import Reporter
from clis_core.training.checkpoint import name_of

Values = Mapping[str, float | None]
EVALUATION = Path("eval-val", "metrics.json")


@dataclass(frozen=True)
class Outcome:
    """How one run came out.

    Attributes:
        run: its folder.
        seed: of everything random.
        metrics: percent points by name; empty where the run is not evaluated.
        minutes: of training, without evaluation.
        memory_mb: at most.
    """

    run: Path
    seed: int
    metrics: Values
    minutes: float
    memory_mb: float


def run_or_resume(config: RunConfig, run: Path, reporter: Reporter) -> Outcome:
    """Train one run to its end, from where it is, in a process of its own; a finished one is read.

    Raises:
        ConfigError: the folder holds a run with other settings.
        Interrupted: SIGINT or SIGTERM.
    """
    if (run / "config.toml").is_file():
        differing = changed(load_config(run / "config.toml"), config)
        if differing:
            raise ConfigError(
                f"{run} was run with other settings:\n" + "\n".join(differing),
                hint="Take another folder for these: -o FOLDER",
            )
    if not _finished(run, config):
        apart(train, config, run, resume=bool(checkpoints_of(run)), reporter=reporter)
    return read_outcome(run, config)


def read_outcome(run: Path, config: RunConfig) -> Outcome:
    """How a finished run came out, from its log and its last evaluation."""
    metrics = _evaluation(run)["metrics"] if config.train.eval_at_end else {}
    memory = max(record["memory_mb"] for record in read_log(run / "log.jsonl") if record["kind"] == "train")
    return Outcome(run, config.seed, metrics, training_minutes(run), memory)


def _finished(run: Path, config: RunConfig) -> bool:
    last = config.train.iterations
    if not config.train.eval_at_end:
        return name_of(run, last).is_file()
    return (run / EVALUATION).is_file() and bool(_evaluation(run).get("step") == last)


def _evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / EVALUATION).read_text(encoding="utf-8"))
    return found


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Mean and half of the range; None where a value is missing."""
    known = [v for v in values if v is not None]
    if not known or len(known) < len(values):
        return None
    return sum(known) / len(known), (max(known) - min(known)) / 2
