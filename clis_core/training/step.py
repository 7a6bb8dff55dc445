"""One step: a process's images of a batch in, the weights after it out, which are the same in all processes.

Everything random in it is a function of (seed, step) and of each image's own seed, and every mean is over the images of
all processes, so that the step is the same, to rounding, however many processes share the batch.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from clis_core.batch import Batch, Losses
from clis_core.config.train import TrainConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.data.sampling import mixed
from clis_core.errors import TrainingDiverged
from clis_core.losses.ranks import summed, world_size
from clis_core.training.checkpoint import TrainState
from clis_core.training.optim import rate_at, set_rate
from clis_core.training.ranks import Ranks

# The scale halves with each overflow and starts at 65,536.
SMALLEST_SCALE = 2.0**-10
PRECISION = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Step:
    """What takes a training from one step to the next.

    Args:
        state: what is trained; changed in place.
        config: the loop's settings.
        seed: of what is drawn for a step.
        run: the run folder, for messages.
        all_ranks: the processes; each has its own images of a batch.
    """

    def __init__(self, state: TrainState, config: TrainConfig, *, seed: int, run: Path, all_ranks: Ranks) -> None:
        self._state = state
        self._config = config
        self._seed = seed
        self._run = run
        self._all_ranks = all_ranks
        self._device = next(state.method.parameters()).device
        self._learner: nn.Module = state.method
        if all_ranks.world > 1:
            # Methods keep their buffers the same: sending those of the first process would only cost time.
            options: dict[str, Any] = {_sending_buffers(): False, "gradient_as_bucket_view": True}
            self._learner = DistributedDataParallel(state.method, **options)

    def __call__(self, batch: Batch) -> tuple[dict[str, float], float]:
        """One optimiser step.

        Args:
            batch: this process's images: of each accumulated part its share, one part after the other.

        Returns:
            The weighted losses of all processes' images, and the gradient's norm before clipping.

        Raises:
            TrainingDiverged: a loss or the gradient is not finite.
        """
        state, config = self._state, self._config
        set_rate(state.optimiser, rate_at(state.step, config))
        losses = self.gradient(batch)
        norm = self._apply(batch)
        state.optimiser.zero_grad(set_to_none=True)
        state.method.after_step()
        if state.averaged is not None:
            state.averaged.update(state.method.detector, state.step)
        return losses, norm

    def gradient(self, batch: Batch) -> dict[str, float]:
        """The weighted losses of a batch; their gradient is left in the parameters, scaled for fp16."""
        state, config = self._state, self._config
        # The same in all processes: what a class loss draws must be.
        torch.manual_seed(mixed(self._seed, state.step))
        dtype = PRECISION[config.amp]
        sums: dict[str, float] = {}
        parts = _parts(batch, config.accumulate)
        for number, part in enumerate(parts, start=1):
            with self._exchanging(number == len(parts)):
                with torch.autocast(self._device.type, dtype) if dtype else contextlib.nullcontext():
                    losses: Losses = self._learner(part.to(self._device))
                values = _means(losses)
                self._check(values, part)
                total = torch.stack([v.float() for v in losses.values()]).sum() / config.accumulate
                state.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / config.accumulate
        return sums

    def _exchanging(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients go from process to process with the last part alone."""
        if last or not isinstance(self._learner, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._learner.no_sync()

    def _apply(self, batch: Batch) -> float:
        """Clip, check and apply the gradient; returns its norm before clipping."""
        state, config = self._state, self._config
        state.scaler.unscale_(state.optimiser)
        learnt = [p for p in state.method.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in learnt if p.grad is not None])
        if config.amp != "fp16" and not torch.isfinite(norm):
            # fp16 overflows now and then; the scaler then skips the step and lowers its scale.
            raise self._diverged(
                f"Step {state.step}: the gradient is not finite although the losses are. {self._images(batch)}"
            )
        if config.clip:
            torch.nn.utils.clip_grads_with_norm_(learnt, config.clip, norm)
        state.scaler.step(state.optimiser)
        state.scaler.update()
        if state.scaler.is_enabled() and state.scaler.get_scale() < SMALLEST_SCALE:
            raise self._diverged(f"Step {state.step}: the gradient overflows fp16 at any scale. {self._images(batch)}")
        return float(norm)

    def _check(self, values: Mapping[str, float], batch: Batch) -> None:
        bad = {k: v for k, v in values.items() if not math.isfinite(v)}
        if bad:
            terms = ", ".join(f"{k} = {v}" for k, v in bad.items())
            raise self._diverged(f"Step {self._state.step}: loss not finite: {terms}. {self._images(batch)}")

    def _images(self, batch: Batch) -> str:
        """Which images all processes have."""
        names = [name for of_process in self._all_ranks.gathered(batch.names) for name in of_process]
        return f"Images: {', '.join(names)}."

    def _diverged(self, message: str) -> TrainingDiverged:
        """The error; all processes make it at the same point, for they have the same losses and gradients."""
        config = self._config
        hint = f"Start anew (another -o) with a lower rate, --lr {config.lr / 2:g}, a longer train.warmup, "
        hint += "or train.clip=10" + ("" if config.amp == "off" else ", or train.amp=off")
        files = checkpoints_of(self._run)
        hint += f". The last checkpoint is from before: {files[-1]}" if files else "."
        return self._all_ranks.of_all(TrainingDiverged(message, hint=hint))


def _sending_buffers() -> str:
    """DDP's option to send buffers before each forward, under its name in this torch (another one since 2.15)."""
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    return "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"


def _means(losses: Losses) -> dict[str, float]:
    """The losses of all processes' images: each process's are divided by the processes' mean number of rows."""
    values = summed(torch.stack([v.detach().float() for v in losses.values()])) / world_size()
    return dict(zip(losses, values.tolist(), strict=True))


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
