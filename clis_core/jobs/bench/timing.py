"""Calls, taken in turn, in; wall and CPU seconds of each, and ratios by the median of pairs, out."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

Seconds = dict[str, list[float]]
"""By name: one figure a round."""


class Timing(NamedTuple):
    """What each call took in each round.

    Attributes:
        wall: seconds by the clock.
        busy: CPU seconds of all threads and of the processes that ended meanwhile, which tell more on a busy machine.
        results: what each call gave last.
    """

    wall: Seconds
    busy: Seconds
    results: dict[str, Any]


def alternate(
    calls: Mapping[str, Callable[[], object]], rounds: int, *, warm_up: int = 1, collect: bool = False
) -> Timing:
    """Time the calls in alternation, so that what else the machine does falls on all of them.

    Args:
        calls: by name.
        rounds: how often each is timed.
        warm_up: how often each is called before, untimed.
        collect: collect garbage before CPU seconds are read, so that worker processes have ended and count.
    """
    timing = Timing({name: [] for name in calls}, {name: [] for name in calls}, {})
    for name, call in calls.items():
        for _ in range(warm_up):
            timing.results[name] = call()
    _finish_device()
    for _ in range(rounds):
        for name, call in calls.items():
            began, worked = time.perf_counter(), busy()
            timing.results[name] = call()
            _finish_device()
            timing.wall[name].append(time.perf_counter() - began)
            if collect:
                gc.collect()
            timing.busy[name].append(busy() - worked)
    return timing


def _finish_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def busy() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def medians(figures: Seconds) -> dict[str, float]:
    """By name, over the rounds."""
    return {name: statistics.median(found) for name, found in figures.items()}


def ratio(figures: Seconds, above: str, below: str) -> float:
    """The median over the rounds of one call's figure by another's."""
    return statistics.median(a / b for a, b in zip(figures[above], figures[below], strict=True))


def machine(device: torch.device) -> dict[str, Any]:
    """Where the figures were seen, for the report: device, threads and the load of the last minute."""
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }
