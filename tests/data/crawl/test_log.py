"""Lines that were written are there again, whatever became of the last one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.data.crawl.log import JsonLog
from clis_core.errors import DataError

VALUES = [{"n": n, "text": "é\n\u2028\udcff"} for n in range(5)]


def test_lines_come_back_at_their_offsets(tmp_path: Path) -> None:
    with JsonLog(tmp_path / "a.jsonl") as log:
        offsets = [log.append(value) for value in VALUES]
        assert [log.read(at) for at in offsets] == VALUES
    with JsonLog(tmp_path / "a.jsonl") as log:
        assert list(log.lines()) == list(zip(offsets, VALUES, strict=True))


@given(st.integers(min_value=0))
def test_a_file_that_was_cut_anywhere_keeps_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    with JsonLog(path) as log:
        for value in VALUES:
            log.append(value)
    data = path.read_bytes()
    path.write_bytes(data[: cut % (len(data) + 1)])
    whole = path.read_bytes().count(b"\n")
    with JsonLog(path) as log:
        assert [value for _, value in log.lines()] == VALUES[:whole]
        log.append({"n": -1})
    with JsonLog(path) as log:
        assert [value for _, value in log.lines()] == [*VALUES[:whole], {"n": -1}]


def test_a_long_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": "' + b"x" * 300_000)
    with JsonLog(path) as log:
        assert [value for _, value in log.lines()] == [{"n": 1}]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with JsonLog(tmp_path / "a.jsonl") as log:
        threads = [threading.Thread(target=lambda: [log.append(v) for v in VALUES * 40]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(log.lines())) == 4 * 40 * len(VALUES)


def test_a_damaged_line_in_the_middle_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"n": 1}\n{"n"\n{"n": 2}\n')
    with JsonLog(tmp_path / "a.jsonl") as log, pytest.raises(DataError, match=r"a\.jsonl is damaged at byte 9"):
        list(log.lines())


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "a.jsonl")
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.append({})


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        JsonLog(tmp_path / "none" / "a.jsonl")
