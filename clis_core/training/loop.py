"""The loop: a method and its batches in, trained weights, checkpoints and a log out.

Everything random in a step is a function of (seed, step), so that a training that was stopped and resumed ends with
the very weights of one that was not.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from clis_core.batch import Batch
from clis_core.categories import Categories
from clis_core.config.train import TrainConfig
from clis_core.errors import ClisError
from clis_core.report import Reporter
from clis_core.training.checkpoint import TrainState
from clis_core.training.interrupt import StopRequest
from clis_core.training.keeper import Evaluate, Keeper, Metrics
from clis_core.training.memory import peak_memory_mb
from clis_core.training.optim import rate_at
from clis_core.training.ranks import ALONE, Ranks
from clis_core.training.step import Step
from clis_core.training.window import Window

__all__ = ["Evaluate", "Metrics", "train_loop"]


def train_loop(
    state: TrainState,
    batches: Iterable[Batch],
    config: TrainConfig,
    *,
    seed: int,
    run: Path,
    categories: Categories,
    reporter: Reporter,
    evaluate: Evaluate | None,
    all_ranks: Ranks = ALONE,
) -> Metrics | None:
    """Train from ``state.step`` to the last step.

    Args:
        state: what is trained; changed in place, in all processes alike.
        batches: the batches of the steps ``state.step``, ``state.step + 1``, ...; of several processes each has its
            own images of them, as `clis_core.data.sampling.Portion` deals them out.
        config: the loop's settings.
        seed: of everything random.
        run: the run folder.
        categories: written into checkpoints.
        reporter: gets records, progress and messages.
        evaluate: measures a detector, in all processes at once, and returns None in all if any was asked to stop; None
            where there is nothing to evaluate on.
        all_ranks: the processes.

    Returns:
        The metrics of the last evaluation, or None.

    Raises:
        TrainingDiverged: a loss or the gradient is not finite.
        Interrupted: SIGINT or SIGTERM came to any process; a checkpoint was written first.
        LostProcessError: another process has ended.
    """
    with StopRequest() as stop, all_ranks.naming_the_lost():
        keeper = Keeper(
            *(state, config, run, categories, reporter, all_ranks, evaluate),
            stopping=lambda: all_ranks.stopping(stop.name),
        )
        if state.pending:
            keeper.evaluate()
            keeper.save()
        state.method.train()
        take = Step(state, config, seed=seed, run=run, all_ranks=all_ranks)
        window, source = Window(), iter(batches)
        while state.step < config.iterations:
            began = time.perf_counter()
            batch, problem = _next(source)
            waited = time.perf_counter() - began
            try:
                number = all_ranks.agree(signal.Signals[stop.name] if stop.name else 0, problem)
            except ClisError as error:
                keeper.save_after(error)
                raise
            if number:
                raise keeper.stopped(signal.Signals(number).name)
            assert batch is not None
            losses, norm = take(batch)
            state.step += 1
            window.add(losses, len(batch.images) * all_ranks.world, norm, waited)
            _tell(window, state.step, config, reporter)
            if state.step % config.log_every == 0 or state.step == config.iterations:
                reporter.record("train", _line(window, state.step, config, all_ranks))
                window = Window()
            if keeper.after(state.step):
                window = Window()
    return keeper.metrics


def _next(source: Iterator[Batch]) -> tuple[Batch | None, ClisError | None]:
    """The next batch, or why there is none."""
    try:
        return next(source), None
    except ClisError as error:
        return None, error


def _line(window: Window, step: int, config: TrainConfig, all_ranks: Ranks) -> dict[str, float]:
    """A line of the log, the same in all processes but for the time."""
    wait, memory = all_ranks.largest([window.waited / window.seconds, peak_memory_mb()])
    return window.record(step, rate_at(step - 1, config), data_wait=wait, memory_mb=memory)


def _tell(window: Window, step: int, config: TrainConfig, reporter: Reporter) -> None:
    rate = window.images / window.seconds
    figures = {"loss": window.loss, "img/s": rate, "lr": rate_at(step - 1, config), "MB": peak_memory_mb()}
    reporter.progress("train", step, config.iterations, figures)
