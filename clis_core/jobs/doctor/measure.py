"""A config in; the memory and time of real training steps on drawn images out, from a process of its own.

A process that is killed for its memory takes nothing with it, and its peak is its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from clis_core.batch import Batch
from clis_core.categories import Categories, Category
from clis_core.config.run import RunConfig
from clis_core.errors import ClisError
from clis_core.report import Reporter, SilentReporter

STEPS = 2
"""Of each size: the first warms up."""
STEPS_OF_GPU = 6
"""They are short, and choose their kernels in the first ones."""
LONG = 10.0
"""Seconds of a first step after which warming up hardly counts."""
MOST_SECONDS = 60.0
"""For the steps of the next size; beyond it the rest is told from the smaller ones."""
SAFE = 0.9
"""Part of the free memory that may be filled."""
_RATE = 1e-12  # the same work, while random weights stay as they are


@dataclass(frozen=True)
class Size:
    """Steps with a number of images at a time.

    Attributes:
        images: in one forward; 0 is before the first step.
        memory: bytes at the peak: of the GPU, or resident.
        seconds: of a step.
    """

    images: int
    memory: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What steps took.

    Attributes:
        sizes: smallest first; that of 0 images is there as soon as the detector is.
        available: bytes of memory that were free before.
        state: bytes of a checkpoint.
        stopped: why the next size was not measured: "" where the last one is what was wanted, "memory" where it would
            not fit, "time" where it would have taken long, "full" where memory ran out; else what went wrong.
    """

    sizes: tuple[Size, ...]
    available: int
    state: int
    stopped: str


def measure(
    config: RunConfig, classes: int, pictures: int, images: int, available: int, reporter: Reporter
) -> Measured:
    """Take steps with 1, 2, 4, ... images at a time, up to ``images``.

    Args:
        config: of a training.
        classes: C.
        pictures: with a class label, of which the queue's length is taken.
        images: that training has in one forward.
        available: bytes of memory that are free, for the CPU; a GPU is asked itself.
        reporter: gets progress.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    words = (config.model_dump(mode="json"), classes, pictures, images, available, theirs)
    process = context.Process(target=_child, args=words, daemon=True)
    process.start()
    theirs.close()
    sizes: list[Size] = []
    free, state, stopped = available, 0, ""
    try:
        while True:
            kind, value = ours.recv()
            if kind == "size":
                sizes.append(Size(*value))
                if value[0]:
                    reporter.info(
                        f"A step with {value[0]} of {images} images: {value[2]:.2f} s, {value[1] / 1e9:.2f} GB"
                    )
            elif kind == "free":
                free = value
            elif kind == "state":
                state = value
            else:
                stopped = value
                break
    except EOFError:  # it died
        process.join(10)
        killed = process.exitcode == -9  # SIGKILL: the system wanted its memory back
        stopped = "full" if killed else f"the process ended with code {process.exitcode}"
    finally:
        process.kill()
        process.join()
        ours.close()
    return Measured(tuple(sizes), free, state, stopped)


def next_size(done: list[Size], wanted: int, available: int) -> tuple[int, str]:
    """How many images to try next, 0 for none, and why none.

    Args:
        done: sizes that were measured, smallest first.
        wanted: the largest of interest.
        available: bytes of memory.
    """
    last = done[-1]
    if last.images >= wanted:
        return 0, ""
    images = min(2 * last.images, wanted) or 1
    if last.images and predicted_memory(done, images) > SAFE * available:
        return 0, "memory"
    if last.images and STEPS * last.seconds * images / last.images > MOST_SECONDS:
        return 0, "time"
    return images, ""


def predicted_memory(done: Sequence[Size], images: int) -> float:
    """Bytes with so many images, by a line through the last two sizes.

    From 0 images to 1 gradients and the optimiser's state come as well, so that a line through these two leads too
    high rather than too low.
    """
    a, b = done[-2:]
    slope = max(0.0, (b.memory - a.memory) / (b.images - a.images))
    return b.memory + slope * (images - b.images)


class _EnoughError(Exception):
    """No more batches are wanted."""


class _Keeping(SilentReporter):
    """Keeps the records of steps."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def record(self, kind: str, values: Any) -> None:
        if kind == "train":
            self.steps.append(dict(values))


def _child(
    settings: dict[str, Any], classes: int, pictures: int, images: int, available: int, pipe: Connection
) -> None:
    """Measure and tell; the loop runs in a thread, where signals do not make it write checkpoints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    config = RunConfig.model_validate(settings)

    def work() -> None:
        try:
            pipe.send(("end", _measure(config, classes, pictures, images, available, pipe)))
        except ClisError as error:
            pipe.send(("end", error.message))
        except Exception as error:
            pipe.send(("end", "full" if is_full(error) else f"{type(error).__name__}: {error}"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def is_full(error: Exception) -> bool:
    """Whether an error says that memory is full, of a GPU or of the machine."""
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error)


def _measure(config: RunConfig, classes: int, pictures: int, images: int, available: int, pipe: Connection) -> str:
    import torch

    from clis_core.jobs.device import open_device

    device = open_device(config.device)
    if device.type == "cuda":
        available = torch.cuda.mem_get_info(device)[0]
    pipe.send(("free", available))
    state = build(config, classes, pictures, device)
    done = [Size(0, _memory(device), 0.0)]
    while True:
        pipe.send(("size", (done[-1].images, done[-1].memory, done[-1].seconds)))
        if len(done) == 2:
            pipe.send(("state", _state_bytes(state)))
        count, why = next_size(done, images, available)
        if not count:
            break
        done.append(steps(state, config, classes, count, device))
    return why


def build(config: RunConfig, classes: int, pictures: int, device: Any) -> Any:
    """Everything that a training holds, with random weights of small scale, that fp16 does not overflow."""
    import torch

    from clis_core.detectors.build import build_detector
    from clis_core.detectors.checkpoint import without_first_weights
    from clis_core.jobs.doctor.drawn import drawn_counts
    from clis_core.jobs.training_state import training_state

    torch.manual_seed(0)
    detector = build_detector(without_first_weights(config.detector), classes, drawn_counts(classes))
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if ".backbone." in name and parameter.ndim == 4 and config.detector.backbone.norm != "group":
                parameter.mul_(0.5)
    eager = config.model_copy(update={"train": config.train.model_copy(update={"compile": False})})
    return training_state(eager, detector, pictures, device)


def steps(state: Any, config: RunConfig, classes: int, images: int, device: Any) -> Size:
    """Some steps of the real loop."""
    import torch

    from clis_core.jobs.doctor.drawn import drawn_batch
    from clis_core.training.loop import train_loop

    batch = drawn_batch(config, classes, images)
    changed = {"lr": _RATE, "batch": images, "accumulate": 1, "log_every": 1, "eval_every": 0}
    train = config.train.model_copy(update={**changed, "checkpoint_every": 10**9, "iterations": 10**9})
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    kept = _Keeping()

    def batches() -> Iterator[Batch]:
        began = time.monotonic()
        for _ in range(STEPS_OF_GPU if device.type == "cuda" else STEPS):
            yield batch
            if time.monotonic() - began > LONG:
                break
        raise _EnoughError

    state.step = 0
    with contextlib.suppress(_EnoughError):
        train_loop(
            state,
            batches(),
            train,
            seed=0,
            run=Path(),
            categories=Categories([Category(id=1, name="drawn")]),
            reporter=kept,
            evaluate=None,
        )
    return Size(images, _memory(device), images / kept.steps[-1]["images_per_second"])


def _memory(device: Any) -> int:
    """Bytes at the peak so far: what torch takes of the GPU, beside its context, or what is resident."""
    import torch

    from clis_core.training.memory import peak_memory_mb

    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return round(peak_memory_mb() * 2**20)


def _state_bytes(state: Any) -> int:
    """Bytes of the tensors of a checkpoint."""
    import torch

    tensors = {id(t): t for t in state.method.state_dict().values()}
    for entry in state.optimiser.state.values():
        tensors |= {id(t): t for t in entry.values() if isinstance(t, torch.Tensor)}
    if state.averaged is not None:
        tensors |= {id(t): t for t in state.averaged.module.state_dict().values()}
    return sum(t.numel() * t.element_size() for t in tensors.values())
