"""`clis train --find-batch`: a config in, the same with the largest batch that its GPUs hold out."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from clis_core.config.run import RunConfig
from clis_core.errors import ClisError, ConfigError
from clis_core.jobs.doctor.measure import SAFE, build, is_full, steps
from clis_core.report import Reporter
from clis_core.training.optim import scaled_rate
from clis_core.training.ranks import Ranks

MOST = 1024
"""Images at a time, where memory has no end."""


def find_batch(
    config: RunConfig,
    classes: int,
    images: int,
    pictures: int,
    device: torch.device,
    all_ranks: Ranks,
    reporter: Reporter,
) -> RunConfig:
    """Try real steps on drawn images of the largest size that training sees: 1, 2, 4, ... at a time, then between.

    The batch is what fits into one process, times the processes, times ``train.accumulate``. ``train.lr`` stays: it
    belongs to ``train.lr_batch`` images and is scaled linearly to the batch. The iterations change so that training
    sees as many images. 10 % of the free memory stay free, for real batches come in many shapes.

    Args:
        config: of a new run.
        classes: C.
        images: of the training data, which a step never exceeds.
        pictures: labelled pictures that it draws from.
        device: of this process.
        all_ranks: the processes; each tries its own GPU, and the smallest answer counts.
        reporter: gets messages.

    Raises:
        ConfigError: the device is no GPU, or not a single image fits.
    """
    if device.type != "cuda":
        raise ConfigError(
            f"--find-batch tries what a GPU holds, and this is {device}: here the system's memory is the limit, which "
            "other programs share and which ends a process instead of refusing.",
            hint=f"clis doctor --preset {config.preset or 'NAME'} measures the memory of a step and tells what fits",
        )
    shares = all_ranks.world * config.train.accumulate
    most = max(1, min(MOST, images // shares))
    reporter.info(f"Looking for the largest batch that fits into {torch.cuda.get_device_name(device)}.")
    words = config.model_dump(mode="json"), classes, pictures, str(device), most
    own = _apart(*words)
    found = -round(all_ranks.largest([-own])[0])
    if not found:
        raise all_ranks.of_all(
            ConfigError(
                "Not even one image at a time fits into the GPU.",
                hint="--set train.amp=bf16, a smaller data.long_side, or a small preset",
            )
        )
    return with_batch(config, found * shares, reporter, f"{found} images at a time")


def with_batch(config: RunConfig, batch: int, reporter: Reporter, why: str) -> RunConfig:
    """The config with another batch, and with the iterations that see as many images."""
    old = config.train
    iterations = max(1, round(old.iterations * old.batch / batch))
    new = old.model_copy(update={"batch": batch, "iterations": iterations})
    reporter.info(
        f"Batch {batch} ({why}) in place of {old.batch}: learning rate {scaled_rate(new):g} in place of "
        f"{scaled_rate(old):g}, {iterations} steps in place of {old.iterations} for as many images."
    )
    return config.model_copy(update={"train": new})


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to ``most`` that fits, 0 for none: by doubling, then halving what is between."""
    good, bad = 0, most + 1
    while bad - good > 1:
        doubled = max(1, 2 * good)
        trying = doubled if bad > most and doubled <= most else (good + bad) // 2
        if fits(trying):
            good = trying
        else:
            bad = trying
    return good


def _apart(*words: Any) -> int:
    """What `_largest` answers in a process of its own, whose memory is all free again when it has ended."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(*words, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        said: int | str = ours.recv()
    except EOFError:
        said = "its process was killed"
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(said, str):
        raise ClisError(f"The largest batch could not be found: {said}.", hint="Name one: --batch N")
    return said


def _child(settings: dict[str, Any], classes: int, pictures: int, device: str, most: int, pipe: Connection) -> None:
    """Answer; the loop runs in a thread, where signals do not make it write checkpoints."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process

    def work() -> None:
        try:
            pipe.send(_largest(settings, classes, pictures, device, most))
        except ClisError as error:
            pipe.send(error.message)
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def _largest(settings: dict[str, Any], classes: int, pictures: int, device: str, most: int) -> int:
    """How many images at a time fit."""
    config, place = RunConfig.model_validate(settings), torch.device(device)
    torch.cuda.set_device(place)
    available = torch.cuda.mem_get_info(place)[0]
    state = build(config, classes, pictures, place)

    def fits(images: int) -> bool:
        try:
            return steps(state, config, classes, images, place).memory <= SAFE * available
        except RuntimeError as error:
            if not is_full(error):
                raise
            return False
        finally:
            # What a failed step has left: gradients, and what waits for the queue of keys.
            state.optimiser.zero_grad(set_to_none=True)
            gc.collect()
            torch.cuda.empty_cache()

    return largest(fits, most)
