"""Steps in, lines of the log and figures of the progress out: means since the last line, and how fast it went."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field


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

    @property
    def loss(self) -> float:
        """The mean of the sum of the losses."""
        return sum(self.losses.values()) / self.steps

    @property
    def seconds(self) -> float:
        """Since it began."""
        return max(time.perf_counter() - self.began, 1e-9)

    def record(self, step: int, rate: float, *, data_wait: float, memory_mb: float) -> dict[str, float]:
        """One line of the log: means of the losses, and how fast it went.

        Args:
            step: steps done.
            rate: learning rate.
            data_wait: part of the time that the slowest process waited for images.
            memory_mb: of the process with the most.
        """
        means = {name: value / self.steps for name, value in self.losses.items()}
        return {
            "step": step,
            "loss": sum(means.values()),
            **means,
            "lr": rate,
            "gradient_norm": self.norm / max(1, self.steps - self.skipped),
            "skipped": self.skipped,
            "images_per_second": self.images / self.seconds,
            "data_wait": data_wait,
            "memory_mb": memory_mb,
        }
