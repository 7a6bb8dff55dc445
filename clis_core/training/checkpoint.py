"""Everything that a training needs to go on, to a file and back; the newest k files are kept.

A checkpoint holds what `clis_core.detectors.checkpoint` needs to run the detector, and beside it the method's own
state, the optimiser and the loss scaler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clis_core.categories import Categories
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import (
    HASH,
    DamagedCheckpointError,
    categories_of,
    content_hash,
    load_state,
    pack,
    read_checkpoint,
)
from clis_core.errors import CheckpointError
from clis_core.files import replacing
from clis_core.methods.build import Method
from clis_core.report import Reporter
from clis_core.training.ema import Averaged

BEST = "best.pt"
START_ANEW = "Start a new run: another -o FOLDER, without --resume."


@dataclass
class TrainState:
    """What a training changes from step to step.

    Attributes:
        method: holds the detector and the method's own state.
        optimiser: its optimiser.
        scaler: loss scaler of fp16.
        averaged: averaged weights of the detector, or None.
        step: steps done.
        best: the best value of the chosen metric so far, or None.
        pending: whether an evaluation of this step is still to be done.
    """

    method: Method
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaged: Averaged | None
    step: int = 0
    best: float | None = None
    pending: bool = False


def save(run: Path, state: TrainState, categories: Categories, keep: int) -> Path:
    """Write a checkpoint of ``state``; afterwards drop all but the newest ``keep``, and put damaged ones aside."""
    detector = state.method.detector
    content = pack(detector, detector.state_dict(), categories, state.step)
    content |= {
        "method": {k: v for k, v in state.method.state_dict().items() if not k.startswith("detector.")},
        "optimiser": state.optimiser.state_dict(),
        "scaler": state.scaler.state_dict(),
        "ema": state.averaged.module.state_dict() if state.averaged else None,
        "best": state.best,
        "pending": state.pending,
    }
    path = name_of(run, state.step)
    _write(path, content)
    files = checkpoints_of(run)
    for damaged in files[files.index(path) + 1 :]:  # else the training would have gone on from it
        damaged.replace(damaged.with_name(f"{damaged.name}.damaged"))
    for old in files[: files.index(path) + 1][:-keep]:
        old.unlink(missing_ok=True)
    return path


def name_of(run: Path, step: int) -> Path:
    """The file of a checkpoint."""
    return run / "checkpoints" / f"step-{step:08d}.pt"


def save_best(run: Path, state: TrainState, categories: Categories) -> Path:
    """Write the detector alone, averaged weights if there are, to the run's ``best.pt``."""
    shipped = state.averaged.module if state.averaged else state.method.detector
    _write(run / BEST, pack(state.method.detector, shipped.state_dict(), categories, state.step))
    return run / BEST


def _write(path: Path, content: dict[str, Any]) -> None:
    try:
        # Through a file object, since torch writes the name of a path into the file: equal content, equal bytes.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save({**content, HASH: content_hash(content)}, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: the checkpoint could not be written: {error}",
            hint="Is the disk full or read-only? Earlier checkpoints are untouched; go on with --resume.",
        ) from error


def restore(run: Path, state: TrainState, categories: Categories, reporter: Reporter) -> Path | None:
    """Bring ``state`` to the newest checkpoint of ``run`` that can be read.

    Args:
        run: the run folder.
        state: what is brought there.
        categories: of the training annotations, with their image counts; they must be those of the checkpoint.
        reporter: hears of checkpoints that are damaged.

    Returns:
        The file, or None where the run has no checkpoint yet.

    Raises:
        CheckpointError: there are checkpoints, but none can be read; or the newest does not fit the model or the data.
    """
    files = checkpoints_of(run)
    for path in reversed(files):
        try:
            content = read_checkpoint(path)
            of_file = categories_of(content, path)
        except DamagedCheckpointError as error:
            reporter.warn(f"{error.message} Trying the one before.")
            continue
        if of_file != categories:
            raise CheckpointError(
                f"{path}: was trained on annotations with other categories, or with other images of them.",
                hint="Go on with the annotations of the run; for other ones start a new run: another -o FOLDER.",
            )
        _fill(state, content, path)
        return path
    if files:
        raise CheckpointError(
            f"{run}: none of the {len(files)} checkpoints can be read.",
            hint="Start anew with another -o FOLDER.",
        )
    return None


def _fill(state: TrainState, content: dict[str, Any], path: Path) -> None:
    missing = {"method", "optimiser", "scaler", "best", "pending"} - content.keys()
    if missing:
        raise CheckpointError(
            f"{path}: holds a detector alone, which is not enough to go on training.",
            hint=START_ANEW,
        )
    load_state(state.method.detector, content["detector"], path)
    own = {k for k in state.method.state_dict() if not k.startswith("detector.")}
    if not isinstance(content["method"], dict) or own != content["method"].keys():
        raise CheckpointError(f"{path}: was written by another method.", hint=START_ANEW)
    try:
        state.method.load_state_dict(content["method"], strict=False)
        state.optimiser.load_state_dict(content["optimiser"])
        state.scaler.load_state_dict(content["scaler"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, IndexError) as error:
        raise CheckpointError(f"{path}: its state does not fit this training: {error}", hint=START_ANEW) from error
    if (state.averaged is None) != (content["ema"] is None):
        raise CheckpointError(f"{path}: train.ema was switched on or off since it was written.", hint=START_ANEW)
    if state.averaged is not None:
        load_state(state.averaged.module, content["ema"], path)
    state.step = int(content["step"])
    state.best = content["best"]
    state.pending = content["pending"]
