"""What a `clis build-...` command was asked for: how to build, which pictures, and from where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clis_core.categories import Categories, Category
from clis_core.data.sources.listing import LISTS
from clis_core.data.sources.member import Source


@dataclass(frozen=True)
class BuildOptions:
    """How to build shards.

    Attributes:
        max_per_class: pictures of a category, the first ones of the source; None takes all.
        workers: threads that check pictures; what comes out is the same for any number.
        max_bad_fraction: stop when more than this part of the members is refused (duplicates do not count).
        min_side: refuse pictures with a shorter side, pixels.
        max_side: make pictures smaller whose long side is longer, pixels; None keeps them as they are.
        shards: number of shards; None makes them about 1 GB.
        seed: of the order of the samples.
    """

    max_per_class: int | None = None
    workers: int = 2
    max_bad_fraction: float = 0.1
    min_side: int = 16
    max_side: int | None = None
    shards: int | None = None
    seed: int = 0

    def facts(self) -> dict[str, Any]:
        """Those that decide about what comes out, as plain json values."""
        return {
            "max_per_class": self.max_per_class,
            "min_side": self.min_side,
            "max_side": self.max_side,
            "shards": self.shards,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Selection:
    """Which members to take, and as what.

    Attributes:
        categories: the classes of the shards.
        category_of: category by the source's label.
        prefix_of: what keys start with, by label: the WordNet id or the class name.
        unmatched: why a category gets no picture, by its id.
        facts: more json fields of a sample, by label.
        names: only members of these names (without extension); None takes all.
        files: texts that lie beside the shards, by file name.
    """

    categories: Categories
    category_of: Mapping[str, Category]
    prefix_of: Mapping[str, str]
    unmatched: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: frozenset[str] | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def source_facts(paths: Sequence[Path], source: Source, texts: Iterable[Path | None]) -> dict[str, Any]:
    """What a build reads, as plain json values: another class in it, or another line of a list, makes another build.

    Args:
        paths: of the source, as they were given.
        source: what lies there.
        texts: other lists that decide about the pictures; None for those that were not given.
    """
    labels = source.labels()
    known = None if labels is None else hashlib.sha256("\n".join(labels).encode()).hexdigest()[:16]
    lists = [path for path in paths if path.suffix.lower() in LISTS] + [path for path in texts if path is not None]
    return {
        "source": [str(path.absolute()) for path in paths],
        "classes": None if labels is None else f"{len(labels)} ({known})",
        "lists": {str(path.absolute()): _hash_of(path) for path in lists if path.is_file()},
    }


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
