"""A config in; whether its training fits into memory, how long it takes, and what fits instead, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clis_core.config.run import RunConfig
from clis_core.config.train import TrainConfig
from clis_core.jobs.doctor.checks import Check
from clis_core.jobs.doctor.measure import SAFE, Measured, measure, predicted_memory
from clis_core.report import Reporter

PICTURES = 1_237_737
"""Labelled pictures where no shards are named: those of LVIS's classes in ImageNet-22k (CLIS, sec. IV-A1)."""


@dataclass(frozen=True)
class Suggestion:
    """How a training fits.

    Attributes:
        batch: images a step.
        accumulate: parts that it is cut into.
        lr: learning rate of such a step, linear in the batch.
        iterations: steps that see as many images.
        words: to be typed.
    """

    batch: int
    accumulate: int
    lr: float
    iterations: int
    words: str


def fit(
    config: RunConfig, classes: int, pictures: int, available: int, free_disk: int, reporter: Reporter
) -> list[Check]:
    """Measure real steps of a training on drawn images.

    Args:
        config: of the training.
        classes: C.
        pictures: labelled pictures that it draws from.
        available: bytes of memory that are free.
        free_disk: bytes of disk where the run goes.
        reporter: gets messages.
    """
    part = config.train.batch // config.train.accumulate
    found = measure(config, classes, pictures, part, available, reporter)
    return [*judge(config, classes, found), *checkpoints(config.train, found.state, free_disk)]


def judge(config: RunConfig, classes: int, found: Measured) -> list[Check]:
    """What was measured, in words."""
    train, sizes = config.train, found.sizes
    part = train.batch // train.accumulate
    figures: dict[str, Any] = {
        "preset": config.preset,
        "classes": classes,
        "images": part,
        "available": found.available,
        "checkpoint": found.state,
        "measured": [vars(size) for size in sizes],
    }
    if found.stopped not in ("", "memory", "time", "full"):
        text = f"{config.preset or 'This training'} could not be measured: {found.stopped}"
        return [Check("fit", "warning", text, "clis train --iterations 2 -o FOLDER shows where", figures)]
    if len(sizes) < 2:
        text = f"Not even one image at a time fits into the {found.available / 1e9:.1f} GB that are free."
        return [
            Check("fit", "error", text, "--set train.amp=bf16, a smaller data.long_side, or a small preset", figures)
        ]
    memory = predicted_memory(sizes, part)
    largest = largest_part(found)
    seconds = train.accumulate * sizes[-1].seconds * part / sizes[-1].images
    measured = sizes[-1].images == part
    chosen = suggest(train, largest)
    figures |= {
        "fits": largest >= part,
        "memory": round(memory),
        "exact": measured,
        "seconds_a_step": seconds,
        "seconds": seconds * train.iterations,
        "largest": largest,
        "suggestion": vars(chosen),
    }
    told = " and ".join(str(size.images) for size in sizes[-2:] if size.images)
    how = "measured" if measured else f"told from steps with {told}"
    need = f"{part} images of {classes} classes at a time take {memory / 1e9:.1f} GB ({how})"
    need += f"; {found.available / 1e9:.1f} GB are free"
    if largest < part:
        smaller = _smaller(train, largest)
        hint = f"{chosen.words} (the same batch, in parts), or {smaller.words} (learning rate {smaller.lr:g})"
        return [Check("fit", "error", f"{config.preset or 'This training'} does not fit: {need}.", hint, figures)]
    rate = f"batch {train.batch}, learning rate {chosen.lr:g}"
    took = f"{seconds:.2f} s a step, {_hours(seconds * train.iterations)} for {train.iterations} steps"
    text = f"{config.preset or 'This training'} fits: {need}; {took}, without loading images and evaluation; {rate}."
    return [Check("fit", "fine", text, None, figures)]


def largest_part(found: Measured) -> int:
    """The most images at a time that fit, as far as measured sizes tell; what was measured without failing fits."""
    if len(found.sizes) < 2:
        return 0
    last = found.sizes[-1]
    room = SAFE * found.available - last.memory
    if found.stopped == "full" or room < 0:
        return last.images
    slope = predicted_memory(found.sizes, last.images + 1) - last.memory
    return last.images + int(room / slope) if slope > 0 else max(last.images, 1 << 16)


def suggest(train: TrainConfig, largest: int) -> Suggestion:
    """The batch as it is, cut into the fewest parts that fit."""
    parts = (n for n in range(train.accumulate, train.batch + 1) if train.batch % n == 0)
    accumulate = next((n for n in parts if train.batch // n <= max(1, largest)), train.batch)
    words = f"--set train.accumulate={accumulate}"
    return Suggestion(train.batch, accumulate, _rate(train, train.batch), train.iterations, words)


def checkpoints(train: TrainConfig, size: int, free: int) -> list[Check]:
    """Whether the checkpoints of a run fit on its disk: those that are kept, the best one, and one being written."""
    needed = (train.keep + 2) * size
    figures = {"checkpoint": size, "needed": needed, "free": free}
    text = f"A checkpoint takes {size / 1e6:.0f} MB; up to {train.keep + 2} of them lie in a run"
    if not size:
        return []
    if needed > free:
        text = f"{text}, and {free / 1e6:.0f} MB of disk are free."
        return [Check("disk", "error", text, "--set train.keep=1, make room, or another disk: -o FOLDER", figures)]
    return [Check("disk", "fine", f"{text}.", None, figures)]


def _smaller(train: TrainConfig, largest: int) -> Suggestion:
    """A smaller batch in one part, with the rate that `scaled_rate` gives it, for as many images."""
    batch = max(1, largest)
    iterations = round(train.iterations * train.batch / batch)
    words = f"--batch {batch} --iterations {iterations}"
    if train.accumulate > 1:
        words += " --set train.accumulate=1"
    return Suggestion(batch, 1, _rate(train, batch), iterations, words)


def _rate(train: TrainConfig, batch: int) -> float:
    from clis_core.training.optim import scaled_rate

    return scaled_rate(train.model_copy(update={"batch": batch}))


def _hours(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
