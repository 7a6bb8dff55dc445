"""A comparison's folder in; what a resumed comparison has to know of its beginning out, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.config.load import leaves
from clis_core.config.resume import is_free
from clis_core.errors import JSON_DAMAGE, ConfigError, DataError
from clis_core.files import write_text
from clis_core.jobs.compare_plan import ComparePlan

FILE = "compare.json"
RESULTS = ("presets", "seeds", "rows", "paper", "reports")
SECONDS_BETWEEN_SAVES = 10.0


@dataclass
class State:
    """What was found out once and counts for all that follows.

    Attributes:
        file: where it is kept.
        asked: budget and settings; a comparison that goes on has to have the same.
        iterations: of each row, where the budget is minutes.
        step_seconds: of each row, that they were worked out from.
        prepared: minutes that regions, mosaics and pre-trainings took, by the name of the step.
        results: rows and what else is known so far.
    """

    file: Path
    asked: Mapping[str, Any]
    iterations: dict[str, int] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    prepared: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file, whole or not at all."""
        write_text(self.file, json.dumps(self.record(), indent=1) + "\n")

    def record(self) -> dict[str, Any]:
        """All of it as plain json values."""
        kept = {"iterations": self.iterations, "step_seconds": self.step_seconds, "prepared_minutes": self.prepared}
        return {"format": 1, "clis": __version__, **self.asked, **kept, **self.results}

    @contextmanager
    def counting(self, name: str, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[], None]]:
        """Count the minutes of a preparation, those before a stop included.

        Args:
            name: of the step.
            clock: seconds that only grow.

        Yields:
            what to call when it begins, and now and then meanwhile, so that a kill costs seconds of the count alone.
        """
        before = self.prepared.get(name, 0.0)
        began: float | None = None
        saved = 0.0

        def count(now: float) -> None:
            if began is not None:
                self.prepared[name] = before + (now - began) / 60
                self.save()

        def tick() -> None:
            nonlocal began, saved
            now = clock()
            if began is None:
                began = saved = now
            elif now - saved >= SECONDS_BETWEEN_SAVES:
                saved = now
                count(now)

        try:
            yield tick
        finally:
            count(clock())


def open_state(plan: ComparePlan) -> State:
    """What a folder knows of a comparison, a new one's if it holds none.

    Raises:
        ConfigError: it holds one with another budget or other settings.
        DataError: its file is damaged.
    """
    settings = {".".join(key): value for key, value in leaves(plan.settings.values)}
    counting = {key: value for key, value in settings.items() if not is_free(key)}
    asked: dict[str, Any] = {"minutes": plan.minutes, "fixed_iterations": plan.iterations, "settings": counting}
    asked = json.loads(json.dumps(asked, default=str))
    state = State(plan.out / FILE, asked)
    if not state.file.is_file():
        return state
    try:
        content = json.loads(state.file.read_text(encoding="utf-8"))
        before = {key: content[key] for key in asked}
        state.results = {key: content[key] for key in RESULTS if key in content}
        state.iterations = {str(row): int(steps) for row, steps in content["iterations"].items()}
        state.step_seconds = {str(row): float(seconds) for row, seconds in content["step_seconds"].items()}
        state.prepared = {str(name): float(minutes) for name, minutes in content["prepared_minutes"].items()}
    except (*JSON_DAMAGE, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{state.file} is not what clis compare writes.", hint="Take another folder: -o FOLDER"
        ) from error
    differing = [f"{key}: {before[key]!r} there, {asked[key]!r} now" for key in asked if before[key] != asked[key]]
    if differing:
        raise ConfigError(
            f"{plan.out} holds a comparison with another budget or other settings:\n" + "\n".join(differing),
            hint="Presets and seeds may be added to it; for all else take another folder: -o FOLDER",
        )
    return state
