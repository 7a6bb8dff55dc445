"""A training's state and its step in, checkpoints and evaluations where they are due out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clis_core.categories import Categories
from clis_core.config.train import TrainConfig
from clis_core.detectors.build import Detector
from clis_core.errors import ClisError, Interrupted
from clis_core.report import Reporter
from clis_core.training.checkpoint import TrainState, name_of, save, save_best
from clis_core.training.ranks import LostProcessError, Ranks

Metrics = Mapping[str, float | None]
# A detector, the steps behind it, and a look at whether to stop; None if it stopped.
Evaluate = Callable[[Detector, int, Callable[[], str | None]], Metrics | None]


@dataclass
class Keeper:
    """Saves and evaluates where it is due; the first process alone writes.

    Attributes:
        stopping: asked whether a signal came; gives its name.
        metrics: of the last evaluation, or None.
    """

    state: TrainState
    config: TrainConfig
    run: Path
    categories: Categories
    reporter: Reporter
    all_ranks: Ranks
    measure: Evaluate | None
    stopping: Callable[[], str | None]
    metrics: Metrics | None = None

    def after(self, step: int) -> bool:
        """Do what is due after ``step`` steps; true if that took long enough to spoil a measured rate."""
        last = step == self.config.iterations
        regular = self.config.eval_every and step % self.config.eval_every == 0
        due_save = last or step % self.config.checkpoint_every == 0
        # Saved as pending first: an evaluation that is cut short is made up for on resuming.
        self.state.pending = self.measure is not None and bool(self.config.eval_at_end if last else regular)
        if due_save:
            self.save()
        if self.state.pending:
            self.evaluate()
            if due_save:
                self.save()
            return True
        return due_save

    def save(self) -> None:
        """Write a checkpoint."""
        self.all_ranks.on_first(self._save)

    def save_after(self, error: ClisError) -> None:
        """Write a checkpoint because of an error between two steps, which shall not cost those since the last one."""
        if not isinstance(error, LostProcessError):
            self.save()
        elif self.all_ranks.first:  # without the others
            self._save()

    def stopped(self, name: str) -> Interrupted:
        """Write a checkpoint; the error that says so."""
        self.save()
        path = name_of(self.run, self.state.step)
        return self.all_ranks.of_all(
            Interrupted(
                f"Stopped by {name} after step {self.state.step}; saved {path}.",
                hint=f"Go on with: clis train --resume -o {self.run}",
            )
        )

    def evaluate(self) -> None:
        """Measure the detector, and keep it as the best one if it is."""
        if self.measure is None:
            self.state.pending = False
            return
        detector: Detector = self.state.averaged.module if self.state.averaged else self.state.method.detector
        detector.eval()
        metrics = self.measure(detector, self.state.step, self.stopping)
        self.state.method.train()
        if metrics is None:
            raise self.stopped(self.stopping() or "a signal")
        self.state.pending = False
        self.metrics = metrics
        self.reporter.record("eval", {"step": self.state.step, **metrics})
        value = metrics.get(self.config.best)
        if value is None:
            self.reporter.warn(f"No {self.config.best} on this data set, so there is no best.pt; set train.best.")
        elif self.state.best is None or value > self.state.best:
            self.state.best = value
            self.all_ranks.on_first(self._save_best)

    def _save(self) -> None:
        save(self.run, self.state, self.categories, self.config.keep)

    def _save_best(self) -> None:
        save_best(self.run, self.state, self.categories)
