"""Checking members in threads: their order, how far it reads ahead, and what it leaves behind."""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from clis_core.data.picture import Picture
from clis_core.data.sources.member import Member, Position
from clis_core.jobs import check_pictures
from clis_core.jobs.check_pictures import CHUNK, Checked, checked
from tests.jobs.building import drawn


def members(count: int, data: bytes | None = None) -> Iterator[Member]:
    for number in range(count):
        jpeg = drawn(seed=number) if data is None else data
        yield Member("n", f"{number}.jpg", jpeg, None, Position(0, number + 1))


def run(some: Iterator[Member], workers: int = 2, **options: Any) -> list[Checked]:
    return [one for chunk in checked(some, workers=workers, min_side=1, max_side=None, **options) for one in chunk]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_members_keep_their_order(workers: int) -> None:
    found = run(members(100), workers)
    assert [one.after for one in found] == [Position(0, number + 1) for number in range(100)]
    for number, one in enumerate(found):
        assert one.picture is not None
        assert one.picture.data == drawn(seed=number)
        assert one.sha256 == hashlib.sha256(one.picture.data).hexdigest()
        assert one.size == len(one.picture.data)


def test_refused_members_say_why() -> None:
    some = [
        Member("n", "a", None, "no regular file", Position(0, 1)),
        Member("n", "b", b"", None, Position(0, 2)),
        Member("n", "c", b"<html>", None, Position(0, 3)),
    ]
    found = run(iter(some))
    assert [(one.picture, one.reason) for one in found] == [
        (None, "no regular file"),
        (None, "empty"),
        (None, "a web page or text"),
    ]
    assert found[2].detail == "<html>"


@pytest.mark.parametrize(("size", "most"), [(100, 6 * CHUNK), (3_000_000, 12), (5_000_000, 6)])
def test_it_reads_little_ahead(size: int, most: int) -> None:
    """By the number of small members, by the bytes of large ones."""
    pulled = 0

    def counted() -> Iterator[Member]:
        nonlocal pulled
        for member in members(1000, b"\0" * size):
            pulled += 1
            yield member

    chunks = checked(counted(), workers=2, min_side=1, max_side=None)
    next(chunks)
    assert pulled <= most
    chunks.close()


def test_who_stops_leaves_no_threads() -> None:
    before = threading.active_count()
    chunks = checked(members(1000), workers=3, min_side=1, max_side=None)
    next(chunks)
    chunks.close()
    assert threading.active_count() == before


def test_warnings_are_set_aside_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(data: bytes, name: str, **sides: Any) -> Picture:
        with warnings.catch_warnings(action="ignore"):  # as readers of pictures do
            pass
        warnings.warn("odd metadata", stacklevel=1)
        return Picture(data, 1, 1, ())

    monkeypatch.setattr(check_pictures, "check_picture", odd)
    before = list(warnings.filters)
    assert len(run(members(200), workers=4)) == 200
    assert warnings.filters == before
