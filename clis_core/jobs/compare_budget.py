"""A budget in; how many steps of a preset's training it is, and what in the schedule follows from that, out."""

from __future__ import annotations

import shutil
from pathlib import Path

from clis_core.config.image_methods import UnbiasedTeacherConfig
from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.jobs.apart import apart
from clis_core.jobs.run_log import training_minutes
from clis_core.jobs.train import train
from clis_core.report import Reporter

WARM, TIMED = 10, 30
"""Steps before the clock runs, and steps that it measures."""


def budget_layer(preset: str, iterations: int) -> Layer:
    """A training of so many steps; warm-up and burn-in keep their parts of it, as all else in a schedule does."""
    own = resolve([preset_layer(preset)])
    part = iterations / own.train.iterations
    values = {"train": {"iterations": iterations, "warmup": round(part * own.train.warmup)}}
    if isinstance(own.method, UnbiasedTeacherConfig):
        values["method"] = {"burn_in": round(part * own.method.burn_in)}
    return Layer("the budget", values)


def iterations_within(minutes: float, seconds: float) -> int:
    """The steps that fit into a number of minutes, at so many seconds each; one at least."""
    return max(1, int(60 * minutes / seconds))


def time_steps(config: RunConfig, run: Path, reporter: Reporter) -> float:
    """Seconds of a step on this machine, on the real data: of the first 30 after 10 of a training that is thrown away.

    Args:
        config: of the training, with the length of its own preset.
        run: a folder for it; what is there goes.
        reporter: gets messages and progress.

    Raises:
        ClisError: it cannot be trained.
    """
    shutil.rmtree(run, ignore_errors=True)
    apart(train, timing_config(config), run, reporter=reporter)
    seconds = 60 * training_minutes(run, after=WARM) / TIMED
    shutil.rmtree(run, ignore_errors=True)
    return seconds


def timing_config(config: RunConfig) -> RunConfig:
    """A training of the steps to time, whose phases have the parts that they have of the whole."""
    whole = config.train.iterations
    steps = {"iterations": WARM + TIMED, "log_every": WARM, "checkpoint_every": WARM + TIMED}
    quiet = {"eval_at_end": False, "eval_every": 0, "tensorboard": False}
    until = (WARM + TIMED * config.pictures.paste.until) / (WARM + TIMED)
    paste = config.pictures.paste.model_copy(update={"until": until})
    method = config.method
    if isinstance(method, UnbiasedTeacherConfig):
        method = method.model_copy(update={"burn_in": WARM + round(TIMED * min(1.0, method.burn_in / whole))})
    return config.model_copy(
        update={
            "train": config.train.model_copy(update=steps | quiet),
            "pictures": config.pictures.model_copy(update={"paste": paste}),
            "method": method,
        }
    )
