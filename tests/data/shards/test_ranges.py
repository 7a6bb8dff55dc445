"""Pieces of files of a web server: the bytes that a local file has, past what breaks, or an error that says why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from clis_core.data.shards.ranges import Ranges
from clis_core.data.shards.resuming import Access
from clis_core.errors import DataError
from tests.data.shards.server import Site, serving

DATA = bytes(range(256)) * 40
QUICK = Access(timeout=0.5, retries=3, pause=0)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "a.tar").write_bytes(DATA)
    with serving(tmp_path, keeps=True) as site:
        yield site


def ranges(site: Site) -> Ranges:
    return Ranges(site.address.rstrip("/"), QUICK)


def test_the_bytes_are_those_of_the_file_over_one_connection(site: Site) -> None:
    found = ranges(site)
    for offset, size in ((0, 10), (77, 1000), (len(DATA) - 3, 3), (5, 5)):
        assert found.read("a.tar", len(DATA), size, offset) == DATA[offset : offset + size]
    assert site.connections == 1


def test_nothing_is_asked_for_behind_the_end(site: Site) -> None:
    found = ranges(site)
    assert found.read("a.tar", len(DATA), 10, len(DATA)) == b""
    assert found.read("a.tar", len(DATA), 10, len(DATA) - 4) == DATA[-4:]
    assert [asked for _, asked in site.asked] == [f"bytes={len(DATA) - 4}-{len(DATA) - 1}"]


def test_cuts_stalls_and_busy_servers_are_asked_again(site: Site) -> None:
    found = ranges(site)
    site.answers["a.tar"] = [503]
    site.stalls["a.tar"] = [20]
    site.cuts["a.tar"] = [50]
    assert found.read("a.tar", len(DATA), 100, 200) == DATA[200:300]
    assert [asked for _, asked in site.asked] == ["bytes=200-299"] * 4


def test_after_some_tries_it_is_told_where_and_why(site: Site) -> None:
    site.answers["a.tar"] = [503] * 4
    with pytest.raises(DataError, match=r"a.tar: bytes 10 to 30 cannot be read, tried 4 times: .* 503") as caught:
        ranges(site).read("a.tar", len(DATA), 20, 10)
    assert "clis shards fetch" in (caught.value.hint or "")


def test_a_server_without_ranges_is_refused_at_once(site: Site) -> None:
    site.ranges = False
    with pytest.raises(DataError, match="whole files alone"):
        ranges(site).read("a.tar", len(DATA), 20, 10)
    assert len(site.asked) == 1


def test_a_file_that_is_not_there_is_told_at_once(site: Site) -> None:
    with pytest.raises(DataError, match="answers 404"):
        ranges(site).read("other.tar", len(DATA), 20, 10)
    assert len(site.asked) == 1


def test_another_file_of_that_name_is_refused(site: Site) -> None:
    found = ranges(site)
    with pytest.raises(DataError, match="has 10240 bytes there, not 10241"):
        found.read("a.tar", len(DATA) + 1, 20, 10)
    found.read("a.tar", len(DATA), 20, 10)
    site.tag = '"2"'
    with pytest.raises(DataError, match="it has changed there"):
        found.read("a.tar", len(DATA), 20, 10)


def test_a_redirect_to_something_else_than_the_web_is_not_followed(site: Site) -> None:
    site.answers["a.tar"] = [f"file://{site.folder}/a.tar"] * 4
    with pytest.raises(DataError, match="cannot be read"):
        ranges(site).read("a.tar", len(DATA), 20, 10)


def test_a_process_that_was_forked_opens_connections_of_its_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ranges(site)
    found.read("a.tar", len(DATA), 20, 10)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert found.read("a.tar", len(DATA), 20, 10) == DATA[10:30]
    assert site.connections == 2
