"""A run folder and the command line in, the config to go on or to evaluate with out; no other change is allowed."""

from __future__ import annotations

from pathlib import Path

from clis_core.config.load import Layer, difference, load_config, read_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.errors import CheckpointError, ConfigError

_PLACES = ("device", "data.root", "data.train", "data.val", "data.train_images", "data.val_images", "data.workers")
"""Where the data lie and what runs; never what a run comes to."""

FREE = (
    *_PLACES,
    "pictures.shards",
    "pictures.regions",
    "eval",
    "train.log_every",
    "train.tensorboard",
    "train.checkpoint_every",
    "train.keep",
    "train.eval_every",
    "train.eval_at_end",
)
"""What a run may go on with differently: it changes neither the order of the data nor any weight."""

FREE_IN_EVALUATION = (
    *_PLACES,
    "data.exif",
    "eval",
    "detector.postprocess",
    "detector.short_side",
    "detector.long_side",
    "detector.rpn.before_nms",
    "detector.rpn.proposals",
    "detector.rpn.nms_iou",
)
"""What an evaluation may do differently from the training; no other setting would change its result."""


def resume_config(run: Path, config: Path | None, command: Layer) -> RunConfig:
    """The config of a run to go on with: its own, then a config file, then the command line.

    Raises:
        ConfigError: a key that shapes the training has another value than the run's.
    """
    file = run / "config.toml"
    if not file.is_file():
        raise CheckpointError(
            f"{run} is no run folder: it has no config.toml.",
            hint="Leave --resume away to start a run there.",
        )
    layers = [read_layer(file), *([read_layer(config)] if config else []), command]
    new = resolve(layers)
    check_resume(load_config(file), new, run)
    return new


def eval_config(run: Path, command: Layer) -> RunConfig:
    """The config of a run to evaluate it with: its own, then the command line.

    Raises:
        ConfigError: a key that has no say in an evaluation has another value than the run's.
    """
    own = read_layer(run / "config.toml")
    new = resolve([own, command])
    differing = changed(resolve([own]), new, FREE_IN_EVALUATION)
    if differing:
        raise ConfigError(
            f"{run} was trained with other settings, and evaluating it does not use these:\n" + "\n".join(differing),
            hint=f"An evaluation can set: {', '.join(FREE_IN_EVALUATION)}",
        )
    return new


def check_resume(old: RunConfig, new: RunConfig, run: Path) -> None:
    """Check that nothing changed that shapes the training.

    Raises:
        ConfigError: with each changed key, its old and its new value.
    """
    differing = changed(old, new)
    if differing:
        raise ConfigError(
            f"{run} cannot go on with other settings:\n" + "\n".join(differing),
            hint="Leave them as they were, or start a new run in another folder with -o NAME.",
        )


def check_new_run(run: Path) -> None:
    """Check that training into a folder overwrites nothing.

    Raises:
        CheckpointError: the folder holds a checkpoint.
    """
    if checkpoints_of(run):
        raise CheckpointError(
            f"{run} holds a run already.",
            hint=f"Go on with it: clis train -o {run} --resume; or choose another folder with -o NAME.",
        )


def changed(old: RunConfig, new: RunConfig, free: tuple[str, ...] = FREE) -> list[str]:
    """A line for each key whose value differs and counts."""
    return [
        f"{key}: {before!r} in the run, {after!r} now"
        for key, before, after in difference(old, new)
        if not is_free(key, free)
    ]


def is_free(key: str, free: tuple[str, ...] = FREE) -> bool:
    """Whether a dotted key is one of these, or lies in a table of these."""
    return any(key == name or key.startswith(name + ".") for name in free)
