"""Faults go in one by one; how many of each kind there are, with the first of them as examples, comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from clis_core.data.check.rules import RULES, Rule

SHOWN = 5
"""Examples that are kept of each finding."""
_LONGEST = 200  # characters of an example's text: names and values come from files of others


@dataclass(frozen=True)
class Example:
    """One fault.

    Attributes:
        file: the file that it is in.
        record: which record there, such as "annotations[3] (annotation 17)"; "" for the file as a whole.
        text: what is wrong.
    """

    file: str
    record: str
    text: str


@dataclass
class Finding:
    """All faults of one kind in one place.

    Attributes:
        rule: the kind.
        where: "train", "val" or "shards".
        count: how many.
        examples: the first ones.
    """

    rule: Rule
    where: str
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def to_record(self) -> dict[str, Any]:
        """For json."""
        head = {"code": self.rule.code, "severity": self.rule.severity, "where": self.where, "count": self.count}
        examples = [vars(example) for example in self.examples]
        return {**head, "title": self.rule.title, "hint": self.rule.hint, "examples": examples}


class Findings:
    """Collects faults.

    Args:
        ignored: codes that are not collected.
    """

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self._ignored = frozenset(ignored)
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, code: str, where: str, file: object, record: str = "", text: str = "") -> None:
        """Note a fault."""
        self.add_many(code, where, 1, [(file, record, text)])

    def add_many(self, code: str, where: str, count: int, examples: Iterable[tuple[object, str, str]]) -> None:
        """Note ``count`` faults; of the examples only as many are taken as are kept."""
        if not count or code in self._ignored:
            return
        found = self._found.setdefault((code, where), Finding(RULES[code], where))
        found.count += count
        for file, record, text in examples:
            if len(found.examples) == SHOWN:
                break
            found.examples.append(Example(str(file), _short(record), _short(text)))

    def result(self) -> list[Finding]:
        """Errors first, then warnings, then notes; by code within these."""
        worst = ("error", "warning", "note")
        return sorted(self._found.values(), key=lambda f: (worst.index(f.rule.severity), f.rule.code, f.where))


def _short(text: str) -> str:
    """A text on one line, cut off where it is very long; control characters of hostile names are spelt out."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
