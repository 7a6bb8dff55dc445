"""Fetching a large file over a bad line: what came is kept, what changed is not mixed, what is wrong is refused."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clis_core.data.download import transfer
from clis_core.data.download.answers import Remote
from clis_core.data.download.part_file import have_of
from clis_core.data.download.transfer import WrongBytesError, fetch, look, open_session
from clis_core.errors import DataError
from clis_core.report import SilentReporter
from tests.data.download.web import QUICK, Web, serving

NAME = "big.zip"
DATA = bytes(range(256)) * 40_000  # ten megabytes: some pieces
SHA = hashlib.sha256(DATA).hexdigest()
HALF = len(DATA) // 2


@pytest.fixture
def web() -> Iterator[Web]:
    with serving({NAME: DATA}) as site:
        yield site


def get(web: Web, path: Path, *, sha256: str | None = SHA, reporter: SilentReporter | None = None) -> None:
    with open_session() as session:
        remote = look(session, web.address + NAME, QUICK)
        fetch(session, remote, path, sha256=sha256, patience=QUICK, reporter=reporter or SilentReporter())


def test_a_whole_file_and_nothing_else(web: Web, tmp_path: Path) -> None:
    get(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_size_and_tag_come_from_head(web: Web) -> None:
    with open_session() as session:
        assert look(session, web.address + NAME, QUICK) == Remote(web.address + NAME, len(DATA), '"1"')
        web.head = False
        assert look(session, web.address + NAME, QUICK) == Remote(web.address + NAME, len(DATA), '"1"')
    assert [(method, asked) for method, _, asked, _ in web.asked][-1] == ("GET", "bytes=0-0")


@pytest.mark.parametrize("sha256", [SHA, None])
def test_a_cut_connection_goes_on_where_it_was(web: Web, tmp_path: Path, sha256: str | None) -> None:
    web.cuts[NAME] = [HALF, 1000]
    get(web, tmp_path / NAME, sha256=sha256)
    assert (tmp_path / NAME).read_bytes() == DATA
    assert web.ranges_asked(NAME) == [None, f"bytes={HALF}-", f"bytes={HALF + 1000}-"]
    assert [tag for *_, tag in web.asked][-1] == '"1"'


def test_a_later_process_goes_on(web: Web, tmp_path: Path) -> None:
    web.cuts[NAME] = [HALF]
    web.answers[NAME] = []
    web.cuts[NAME] += [0, 0, 0, 0]
    with pytest.raises(DataError, match=f"{HALF} bytes of it are kept") as caught:
        get(web, tmp_path / NAME)
    assert caught.value.hint
    assert have_of(tmp_path / NAME) == HALF
    web.cuts.clear()
    get(web, tmp_path / NAME)
    assert web.ranges_asked(NAME)[-1] == f"bytes={HALF}-"
    assert (tmp_path / NAME).read_bytes() == DATA


@pytest.mark.parametrize("sha256", [True, False])
def test_a_file_that_changed_begins_anew(web: Web, tmp_path: Path, sha256: bool) -> None:
    web.cuts[NAME] = [HALF, 0, 0, 0, 0]
    with pytest.raises(DataError):
        get(web, tmp_path / NAME)
    web.cuts.clear()
    other = bytes(len(DATA))
    web.files[NAME], web.tag = other, '"2"'
    get(web, tmp_path / NAME, sha256=hashlib.sha256(other).hexdigest() if sha256 else None)
    assert (tmp_path / NAME).read_bytes() == other


def test_a_changed_file_is_seen_where_the_server_ignores_if_range(web: Web, tmp_path: Path) -> None:
    web.cuts[NAME] = [HALF, 0, 0, 0, 0]
    with pytest.raises(DataError):
        get(web, tmp_path / NAME, sha256=None)
    web.cuts.clear()
    web.files[NAME], web.tag = bytes(len(DATA)), '"2"'
    rest = {"Content-Range": f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}", "Content-Length": "0", "ETag": '"2"'}
    web.answers[NAME] = [(206, rest)]
    get(web, tmp_path / NAME, sha256=None)
    assert (tmp_path / NAME).read_bytes() == bytes(len(DATA))


def test_without_tag_and_checksum_nothing_is_mixed(web: Web, tmp_path: Path) -> None:
    web.tag = ""
    web.cuts[NAME] = [HALF]
    get(web, tmp_path / NAME, sha256=None)
    assert web.ranges_asked(NAME) == [None, None]
    web.cuts[NAME] = [HALF]
    get(web, tmp_path / "again.zip")
    assert web.ranges_asked(NAME)[2:] == [None, f"bytes={HALF}-"]


def test_a_weak_tag_is_none(web: Web, tmp_path: Path) -> None:
    web.tag = 'W/"1"'
    web.cuts[NAME] = [HALF]
    get(web, tmp_path / NAME, sha256=None)
    assert web.ranges_asked(NAME) == [None, None]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_server_without_ranges_gives_all_again(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    web.cuts[NAME] = [HALF]
    get(web, tmp_path / NAME)
    assert web.ranges_asked(NAME) == [None, f"bytes={HALF}-"]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_server_without_ranges_that_always_cuts_is_given_up(web: Web, tmp_path: Path) -> None:
    web.ranges = False
    web.cuts[NAME] = [HALF] * 50
    with pytest.raises(DataError, match="cut"):
        get(web, tmp_path / NAME)
    assert len(web.ranges_asked(NAME)) <= QUICK.attempts + 1


def test_a_range_of_other_bytes_begins_anew(web: Web, tmp_path: Path) -> None:
    web.cuts[NAME] = [HALF]
    wrong = {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}", "Content-Length": "0", "ETag": '"1"'}
    web.answers[NAME] = []
    with open_session() as session:
        remote = look(session, web.address + NAME, QUICK)
        part = tmp_path / f"{NAME}.part"
        part.write_bytes(DATA[:HALF])
        Path(f"{part}.json").write_text(f'{{"address": "{remote.address}", "tag": "\\"1\\"", "size": {len(DATA)}}}')
        web.cuts.clear()
        web.answers[NAME] = [(206, wrong)]
        fetch(session, remote, tmp_path / NAME, sha256=SHA, patience=QUICK, reporter=SilentReporter())
    assert web.ranges_asked(NAME) == [f"bytes={HALF}-", None]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_busy_servers_are_asked_again(web: Web, tmp_path: Path) -> None:
    web.heads[NAME] = [503]
    web.answers[NAME] = [(503, {"Retry-After": "1"}), (429, {})]
    get(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_how_long_a_server_wants_to_be_left_alone_is_heeded_up_to_a_limit(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer.time, "sleep", waits.append)
    web.answers[NAME] = [(503, {"Retry-After": "7"}), (503, {"Retry-After": "9999"}), (503, {})]
    patience = replace(QUICK, attempts=5, backoff=1.0, most_wait=20.0)
    with open_session() as session:
        remote = look(session, web.address + NAME, patience)
        fetch(session, remote, tmp_path / NAME, sha256=SHA, patience=patience, reporter=SilentReporter())
    assert waits == [7.0, 20.0, 4.0]


def test_a_server_that_stays_busy_is_given_up(web: Web, tmp_path: Path) -> None:
    web.answers[NAME] = [(503, {})] * 50
    with pytest.raises(DataError, match="answers 503") as caught:
        get(web, tmp_path / NAME)
    assert caught.value.hint
    assert len(web.ranges_asked(NAME)) == QUICK.attempts


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_not_there_is_told_at_once(web: Web, tmp_path: Path, status: int) -> None:
    web.heads[NAME] = [status]
    with pytest.raises(DataError, match=f"answers {status}"):
        get(web, tmp_path / NAME)
    assert len(web.asked) == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with open_session() as session, pytest.raises(DataError, match="failed or was cut"):
        look(session, "http://127.0.0.1:9/x.zip", QUICK)
    with open_session() as session, pytest.raises(DataError, match="is no address"):
        look(session, "no-address/x.zip", QUICK)


def test_wrong_bytes_are_thrown_away(web: Web, tmp_path: Path) -> None:
    web.files[NAME] = DATA[:-1] + b"x"
    with pytest.raises(WrongBytesError, match="sha256"):
        get(web, tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_there_are_is_no_end(web: Web, tmp_path: Path) -> None:
    with open_session() as session:
        remote = Remote(web.address + NAME, len(DATA) - 5, '"1"')
        web.lengths = False
        with pytest.raises(DataError, match=f"more came than the {len(DATA) - 5} bytes"):
            fetch(session, remote, tmp_path / NAME, sha256=SHA, patience=QUICK, reporter=SilentReporter())
    assert not (tmp_path / NAME).exists()


def test_a_file_that_changed_between_two_requests_is_told(web: Web, tmp_path: Path) -> None:
    with open_session() as session:
        remote = look(session, web.address + NAME, QUICK)
        web.files[NAME] = DATA + b"more"
        with pytest.raises(DataError, match="has changed"):
            fetch(session, remote, tmp_path / NAME, sha256=SHA, patience=QUICK, reporter=SilentReporter())


def test_a_server_that_states_no_length(web: Web, tmp_path: Path) -> None:
    web.lengths = False
    get(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_stream_without_end_is_given_up(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.lengths = False
    monkeypatch.setattr(transfer, "MOST_UNSTATED", HALF)
    with pytest.raises(DataError, match="no end after"):
        get(web, tmp_path / NAME)
    assert have_of(tmp_path / NAME) == 0


def test_a_whole_part_is_not_asked_for_again(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.replace
    with monkeypatch.context() as patch:

        def killed(path: Path, target: Path) -> Path:
            if str(path).endswith(".part"):
                raise KeyboardInterrupt
            return real(path, target)

        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            get(web, tmp_path / NAME)
    count = len(web.ranges_asked(NAME))
    get(web, tmp_path / NAME)
    assert len(web.ranges_asked(NAME)) == count
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_full_disk_keeps_what_came(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        if os.readlink(f"/proc/self/fd/{handle}").endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="The disk is full") as caught:
            get(web, tmp_path / NAME)
    assert "-o DIR" in str(caught.value.hint)
    assert have_of(tmp_path / NAME) == len(DATA)
    get(web, tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == DATA


def test_memory_does_not_grow_with_the_file(web: Web, tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    web.cuts[NAME] = [HALF]
    web.files = {NAME: memoryview(DATA)}  # type: ignore[dict-item]  # slices of the server's side cost nothing
    tracemalloc.start()
    try:
        get(web, tmp_path / NAME)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(DATA) * 0.6


def test_progress_tells_megabytes_and_ends_once(web: Web, tmp_path: Path) -> None:
    class Listening(SilentReporter):
        said: list[tuple[str, int, int | None]] = []  # noqa: RUF012

        def progress(self, task: str, done: int, total: int | None, figures: object = None) -> None:
            self.said.append((task, done, total))

    listener = Listening()
    get(web, tmp_path / NAME, reporter=listener)
    fetched = [(done, total) for task, done, total in listener.said if task == f"{NAME} MB"]
    assert fetched[-1] == (11, 11)
    assert sum(done == total for done, total in fetched) == 1
