"""The loop: a method and its batches in, trained weights, checkpoints and a log out.

Everything random in a step is a function of (seed, step), so that a training that was stopped and resumed ends with
the very weights of one that was not.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from clis_core.batch import Batch, Losses
from clis_core.categories import Categories
from clis_core.config.train import TrainConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.build import Detector
from clis_core.errors import ClisError, Interrupted, TrainingDiverged
from clis_core.report import Reporter
from clis_core.training.checkpoint import TrainState, save, save_best
from clis_core.training.interrupt import StopRequest
from clis_core.training.memory import peak_memory_mb
from clis_core.training.optim import rate_at, set_rate

Metrics = Mapping[str, float | None]
# A detector, the steps behind it, and a look at whether to stop; None if it stopped.
Evaluate = Callable[[Detector, int, Callable[[], str | None]], Metrics | None]
# The scale halves with each overflow and starts at 65,536.
SMALLEST_SCALE = 2.0**-10
PRECISION = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Window:
    """Sums over the steps since the last line of the log."""

    losses: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    images: int = 0
    norm: float = 0.0
    skipped: int = 0
    waited: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def add(self, losses: Mapping[str, float], images: int, norm: float, waited: float) -> None:
        """Count one step."""
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        self.steps += 1
        self.images += images
        if math.isfinite(norm):
            self.norm += norm
        else:
            self.skipped += 1
        self.waited += waited

    def record(self, step: int, rate: float) -> dict[str, float]:
        """One line of the log: means of the losses, and how fast it went."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        means = {name: value / self.steps for name, value in self.losses.items()}
        return {
            "step": step,
            "loss": sum(means.values()),
            **means,
            "lr": rate,
            "gradient_norm": self.norm / max(1, self.steps - self.skipped),
            "skipped": self.skipped,
            "images_per_second": self.images / seconds,
            "data_wait": self.waited / seconds,
            "memory_mb": peak_memory_mb(),
        }


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
) -> Metrics | None:
    """Train from ``state.step`` to the last step.

    Args:
        state: what is trained; changed in place.
        batches: the batches of the steps ``state.step``, ``state.step + 1``, ...
        config: the loop's settings.
        seed: of everything random.
        run: the run folder.
        categories: written into checkpoints.
        reporter: gets records, progress and messages.
        evaluate: measures a detector, and returns None if it was asked to stop; None where there is nothing to
            evaluate on.

    Returns:
        The metrics of the last evaluation, or None.

    Raises:
        TrainingDiverged: a loss or the gradient is not finite.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written first.
    """
    device = next(state.method.parameters()).device
    keeper = Keeper(state, config, run, categories, reporter, evaluate)
    window = Window()
    with StopRequest() as stop:
        if state.pending:
            keeper.evaluate(lambda: stop.name)
            keeper.save()
        state.method.train()
        source = iter(batches)
        while state.step < config.iterations:
            began = time.perf_counter()
            try:
                batch = next(source)
            except ClisError:
                keeper.save()  # an image that cannot be read shall not cost the steps since the last checkpoint
                raise
            waited = time.perf_counter() - began
            step = state.step
            losses, norm = _one_step(state, batch, config, seed, device, run)
            state.step = step + 1
            window.add(losses, len(batch.images), norm, waited)
            _report(window, state.step, config, reporter)
            if state.step % config.log_every == 0 or state.step == config.iterations:
                reporter.record("train", window.record(state.step, rate_at(step, config)))
                window = Window()
            if keeper.after(state.step, lambda: stop.name):
                window = Window()
            if stop.name and state.step < config.iterations:
                raise keeper.stopped(stop.name)
    return keeper.metrics


@dataclass
class Keeper:
    """Saves and evaluates where it is due.

    Attributes:
        metrics: of the last evaluation, or None.
    """

    state: TrainState
    config: TrainConfig
    run: Path
    categories: Categories
    reporter: Reporter
    measure: Evaluate | None
    metrics: Metrics | None = None

    def after(self, step: int, stopping: Callable[[], str | None]) -> bool:
        """Do what is due after ``step`` steps; true if that took long enough to spoil a measured rate."""
        last = step == self.config.iterations
        regular = self.config.eval_every and step % self.config.eval_every == 0
        due_save = last or step % self.config.checkpoint_every == 0
        # Saved as pending first: an evaluation that is cut short is made up for on resuming.
        self.state.pending = self.measure is not None and bool(self.config.eval_at_end if last else regular)
        if due_save:
            self.save()
        if self.state.pending:
            self.evaluate(stopping)
            if due_save:
                self.save()
            return True
        return due_save

    def save(self) -> Path:
        """Write a checkpoint."""
        return save(self.run, self.state, self.categories, self.config.keep)

    def stopped(self, name: str) -> Interrupted:
        """Write a checkpoint; the error that says so."""
        path = self.save()
        return Interrupted(
            f"Stopped by {name} after step {self.state.step}; saved {path}.",
            hint=f"Go on with: clis train --resume -o {self.run}",
        )

    def evaluate(self, stopping: Callable[[], str | None]) -> None:
        """Measure the detector, and keep it as the best one if it is."""
        if self.measure is None:
            self.state.pending = False
            return
        detector: Detector = self.state.averaged.module if self.state.averaged else self.state.method.detector
        detector.eval()
        metrics = self.measure(detector, self.state.step, stopping)
        self.state.method.train()
        if metrics is None:
            raise self.stopped(stopping() or "a signal")
        self.state.pending = False
        self.metrics = metrics
        self.reporter.record("eval", {"step": self.state.step, **metrics})
        value = metrics[self.config.best]
        if value is None:
            self.reporter.warn(f"No {self.config.best} on this data set, so there is no best.pt; set train.best.")
        elif self.state.best is None or value > self.state.best:
            self.state.best = value
            save_best(self.run, self.state, self.categories)


def _one_step(
    state: TrainState, batch: Batch, config: TrainConfig, seed: int, device: torch.device, run: Path
) -> tuple[dict[str, float], float]:
    """One optimiser step; returns the weighted losses and the gradient's norm."""
    torch.manual_seed(_mix(seed, state.step))
    set_rate(state.optimiser, rate_at(state.step, config))
    dtype = PRECISION[config.amp]
    sums: dict[str, float] = {}
    for part in _parts(batch, config.accumulate):
        with torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext():
            losses: Losses = state.method(part.to(device))
        total = torch.stack([v.float() for v in losses.values()]).sum() / config.accumulate
        values = {k: float(v.detach()) / config.accumulate for k, v in losses.items()}
        _check_losses(values, state, part, config, run)
        state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value
    norm = _apply(state, config, batch, run)
    return sums, norm


def _apply(state: TrainState, config: TrainConfig, batch: Batch, run: Path) -> float:
    """Clip, check and apply the gradient; returns its norm before clipping."""
    state.scaler.unscale_(state.optimiser)
    gradients = [p.grad for p in state.method.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if config.amp != "fp16" and not torch.isfinite(norm):
        # fp16 overflows now and then; the scaler then skips the step and lowers its scale.
        raise TrainingDiverged(
            f"Step {state.step}: the gradient is not finite although the losses are. {_images(batch)}",
            hint=_divergence_hint(config, run),
        )
    if config.clip:
        torch.nn.utils.clip_grads_with_norm_(
            [p for p in state.method.parameters() if p.grad is not None], config.clip, norm
        )
    state.scaler.step(state.optimiser)
    state.scaler.update()
    if state.scaler.is_enabled() and state.scaler.get_scale() < SMALLEST_SCALE:
        raise TrainingDiverged(
            f"Step {state.step}: the gradient overflows fp16 at any scale. {_images(batch)}",
            hint=_divergence_hint(config, run),
        )
    state.optimiser.zero_grad(set_to_none=True)
    state.method.after_step()
    if state.averaged is not None:
        state.averaged.update(state.method.detector, state.step)
    return float(norm)


def _parts(batch: Batch, count: int) -> list[Batch]:
    """The batch cut into ``count`` parts of equal size."""
    if count == 1:
        return [batch]
    size = len(batch.images) // count
    return [
        replace(
            batch,
            images=batch.images[i : i + size],
            targets=batch.targets[i : i + size],
            names=batch.names[i : i + size],
            companions=batch.companions[i : i + size],
        )
        for i in range(0, len(batch.images), size)
    ]


def _check_losses(values: Mapping[str, float], state: TrainState, batch: Batch, config: TrainConfig, run: Path) -> None:
    bad = {k: v for k, v in values.items() if not math.isfinite(v)}
    if bad:
        terms = ", ".join(f"{k} = {v}" for k, v in bad.items())
        raise TrainingDiverged(
            f"Step {state.step}: loss not finite: {terms}. {_images(batch)}", hint=_divergence_hint(config, run)
        )


def _images(batch: Batch) -> str:
    return f"Images: {', '.join(batch.names)}."


def _divergence_hint(config: TrainConfig, run: Path) -> str:
    hint = f"Start anew (another -o) with a lower rate, --lr {config.lr / 2:g}, a longer train.warmup, or train.clip=10"
    if config.amp != "off":
        hint += ", or train.amp=off"
    files = checkpoints_of(run)
    return hint + (f". The last checkpoint is from before: {files[-1]}" if files else ".")


def _report(window: Window, step: int, config: TrainConfig, reporter: Reporter) -> None:
    mean = sum(window.losses.values()) / window.steps
    rate = window.images / max(time.perf_counter() - window.began, 1e-9)
    reporter.progress(
        "train",
        step,
        config.iterations,
        {"loss": mean, "img/s": rate, "lr": rate_at(step - 1, config), "MB": peak_memory_mb()},
    )


def _mix(seed: int, step: int) -> int:
    """A 63-bit seed from (seed, step): neighbouring steps get unrelated streams (splitmix64's finaliser)."""
    z = (seed * 0x9E3779B97F4A7C15 + step + 1) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ (z >> 31)) >> 1
