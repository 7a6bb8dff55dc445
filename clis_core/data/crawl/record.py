"""A hit and what was got from its address go in; its record comes out: where a picture is from, what became of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from clis_core.data.crawl.backends.backend import Hit

KEPT = "kept"


@dataclass(frozen=True)
class Task:
    """A hit that is to be fetched.

    Attributes:
        category: id of the category.
        rank: its place among the hits of the category, from 1.
        hit: the hit.
        query: the text that it was found for.
        backend: where.
    """

    category: int
    rank: int
    hit: Hit
    query: str
    backend: str


@dataclass(frozen=True)
class Record:
    """What became of a hit.

    Attributes:
        category: id of the category.
        rank: its place among the hits of the category, from 1.
        address: of the picture.
        page: address of the page that shows it, where known.
        query: the text that it was found for; "" for addresses that the user gave.
        backend: where it was found.
        licence: as stated there; None where nothing was stated.
        creator: who is to be named, where known.
        title: its title there.
        time: when it was fetched, UTC, ISO 8601.
        outcome: "kept", or why not.
        detail: more about that.
        passing: whether another try may have another outcome.
        status: of HTTP, where there was a response.
        sha256: of the bytes, where they were kept.
        size: of the bytes.
        height: pixels, upright.
        width: pixels, upright.
        hash: difference hash, 16 hexadecimal digits.
    """

    category: int
    rank: int
    address: str
    page: str | None
    query: str
    backend: str
    licence: str | None
    creator: str | None
    title: str | None
    time: str
    outcome: str
    detail: str = ""
    passing: bool = False
    status: int | None = None
    sha256: str | None = None
    size: int | None = None
    height: int | None = None
    width: int | None = None
    hash: str | None = None

    @classmethod
    def of(cls, task: Task, outcome: str, **more: Any) -> Record:
        """The record of a hit, with the present time."""
        return cls(**_origin(task), outcome=outcome, **more)

    def moved_to(self, task: Task) -> Record:
        """The record of another hit that has the same address."""
        return replace(self, **_origin(task))


def _origin(task: Task) -> dict[str, Any]:
    hit = task.hit
    return {
        "category": task.category,
        "rank": task.rank,
        "address": hit.address,
        "page": hit.page,
        "query": task.query,
        "backend": task.backend,
        "licence": hit.licence,
        "creator": hit.creator,
        "title": hit.title,
        "time": now(),
    }


def now() -> str:
    """The present time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
