"""What a look at one thing has found, and all of them together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from clis_core.errors import ClisError

FORMAT = 1
"""Of the json; raised when a field changes its meaning."""

Level = Literal["fine", "note", "warning", "error"]


@dataclass(frozen=True)
class Check:
    """What was found.

    Attributes:
        area: what was looked at: "versions", "cpu", "memory", "gpu", "disk", "decoder", "data", "shards", "weights",
            "fit", "settings".
        level: "error" would stop a training, "warning" would slow it down or surprise, "note" is good to know.
        text: a sentence.
        hint: what to do; None where there is nothing to be done.
        figures: what was measured, by name; for json.
    """

    area: str
    level: Level
    text: str
    hint: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass
class Findings:
    """Everything that was found.

    Attributes:
        checks: in the order of the areas.
    """

    checks: list[Check] = field(default_factory=list)

    def count(self, level: Level) -> int:
        """Checks of a level."""
        return Counter(check.level for check in self.checks)[level]

    @property
    def ok(self) -> bool:
        """Whether nothing would stop a training."""
        return not self.count("error")

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {"format": FORMAT, "ok": self.ok, "checks": [vars(check) for check in self.checks]}


def of_error(area: str, error: ClisError, level: Level = "error") -> Check:
    """An error on purpose as a check."""
    return Check(area, level, error.message, error.hint)
