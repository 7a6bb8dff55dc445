"""Two runs of the benchmarks go in; which ratios became worse comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clis_core.errors import ConfigError
from clis_core.jobs.bench_suite import Suite

TOLERANCE = 0.2
"""Ratios of two runs on one idle machine differ by less than this, mostly."""


@dataclass(frozen=True)
class Change:
    """A figure of both runs.

    Attributes:
        name: of the benchmark.
        key: of the figure, with those above it, as in ``small.times``.
        before: in the old run.
        after: in the new one.
        better: what the new one is to the old one, above 1 where it is better; None where it is no number.
        worse: whether that is too little.
    """

    name: str
    key: str
    before: Any
    after: Any
    better: float | None
    worse: bool


def compare(old: Suite, new: Suite, tolerance: float = TOLERANCE) -> list[Change]:
    """Every ratio that both have, and whether both sides still agree.

    Seconds are not compared: they belong to a machine and a day, ratios to a program.

    Args:
        old: before.
        new: after.
        tolerance: part of a ratio that may be lost.

    Raises:
        ConfigError: the two were run at different scales, or the old run has nothing.
    """
    check_comparable(old, old.results, new.scale)
    return [
        change
        for name, before in old.results.items()
        for change in _changes(name, before, new.results.get(name), tolerance, missing=name in new.failed)
    ]


def check_comparable(old: Suite, names: Collection[str], scale: float) -> None:
    """Check that benchmarks that are to be run can be compared, before an hour is spent on them.

    Args:
        old: what to compare with.
        names: of the benchmarks.
        scale: of the work.

    Raises:
        ConfigError: it was run at another scale, or has none of them.
    """
    if old.scale != scale:
        raise ConfigError(
            f"The benchmarks were run at scale {old.scale:g} and {scale:g}.", hint=f"--scale {old.scale:g}"
        )
    if not set(names) & set(old.results):
        raise ConfigError(
            f"The old run has measured nothing of: {', '.join(names)}.",
            hint=f"It has: {', '.join(old.results) or 'nothing; make another with clis bench --all -o FILE'}",
        )


def _changes(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any] | None, tolerance: float, *, missing: bool
) -> Iterator[Change]:
    if after is None:
        if missing:
            yield Change(name, "", "measured", "failed", None, worse=True)
        return
    found: dict[str, Any] = dict(_figures(after))
    for key, value in _figures(before):
        other, last = found.get(key), key.rpartition(".")[2]
        if last in ("equal", "same", "once"):
            yield Change(name, key, value, other, None, worse=value is True and other is not True)
        elif (power := _direction(last)) and _is_positive(value) and _is_positive(other):
            better = (other / value) ** power
            yield Change(name, key, value, other, better, worse=better < 1 - tolerance)


def _direction(key: str) -> int:
    """1 for a ratio, which is better when it is higher, -1 for times, which is worse; 0 for other figures."""
    if key == "ratio" or key.endswith("_ratio") or key.startswith("ratio_"):
        return 1
    return -1 if key == "times" or key.endswith("_times") else 0


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _figures(result: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The figures of a result, by their keys with those above them."""
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _figures(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
