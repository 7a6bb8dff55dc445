"""What was found and fetched is there again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clis_core.data.crawl.backends.backend import Hit
from clis_core.data.crawl.folder import NAME, CrawlFolder
from clis_core.data.crawl.record import KEPT, Record, Task
from clis_core.data.crawl.search import Found
from clis_core.errors import DataError

PLAN = {"per_category": 3, "categories": "x"}
HITS = [Hit("http://a.test/1", "http://a.test", "CC0", "Jane", "Can", 4, 3), Hit("http://a.test/2")]


def found(*hits: Hit) -> list[Found]:
    return [Found(hit, "aerosol can") for hit in hits]


def kept(task: Task, data: bytes) -> Record:
    sha256 = hashlib.sha256(data).hexdigest()
    return Record.of(task, KEPT, status=200, sha256=sha256, size=len(data), height=3, width=4, hash="0" * 16)


def test_hits_and_records_of_an_earlier_process(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert not folder.is_searched(7)
        folder.add_search(7, "openverse", found(*HITS))
        first, second = tasks = folder.tasks(7)
        assert [(t.rank, t.hit, t.query, t.backend) for t in tasks] == [
            (1, HITS[0], "aerosol can", "openverse"),
            (2, HITS[1], "aerosol can", "openverse"),
        ]
        folder.add(kept(first, b"picture"), b"picture")
        folder.add(Record.of(second, "HTTP 404", status=404))
        before = list(folder.records(7))
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert folder.is_searched(7)
        assert folder.tasks(7) == tasks
        assert list(folder.records(7)) == before
        assert all(folder.is_done(task) for task in tasks)
        assert folder.picture(before[0].sha256 or "").read_bytes() == b"picture"
        assert folder.outcomes() == {KEPT: 1, "HTTP 404": 1}
        assert folder.known("http://a.test/1") == before[0]
        assert folder.known("http://a.test/3") is None


def test_a_category_whose_id_is_0(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        folder.add_search(0, "urls", [Found(HITS[0], "")])
        (task,) = folder.tasks(0)
        folder.add(Record.of(task, "HTTP 404", status=404))
        before = list(folder.records(0))
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert list(folder.records(0)) == before
        assert folder.is_done(task)


def test_more_hits_go_behind_those_there_are(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        folder.add_search(7, "google", found(HITS[0]))
        folder.add_search(7, "urls", found(HITS[1]))
        assert [(t.rank, t.backend, t.hit.address) for t in folder.tasks(7)] == [
            (1, "google", "http://a.test/1"),
            (2, "urls", "http://a.test/2"),
        ]


def test_an_outcome_that_may_pass_is_not_the_last_word(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        folder.add_search(7, "google", found(HITS[0]))
        (task,) = folder.tasks(7)
        folder.add(Record.of(task, "time-out", passing=True))
        assert folder.known(task.hit.address) is None
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert not folder.is_done(task)
        folder.add(kept(task, b"x"), b"x")
        assert folder.is_done(task)
        assert [record.outcome for record in folder.records(7)] == [KEPT]
        assert folder.outcomes() == {KEPT: 1}


def test_a_search_without_an_answer(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        folder.add_problem(7, "google", "sent a page that needs JavaScript")
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert not folder.is_searched(7)
        assert folder.problems == {7: "google sent a page that needs JavaScript"}
        folder.add_search(7, "google", [])
        assert folder.is_searched(7)  # nothing was found: that is an answer
        assert folder.problems == {}


def test_a_record_of_the_same_address_for_another_category() -> None:
    record = kept(Task(1, 5, HITS[0], "one", "google"), b"x")
    other = Task(2, 9, Hit(HITS[0].address, title="Other"), "two", "bing")
    moved = record.moved_to(other)
    assert (moved.category, moved.rank, moved.query, moved.backend, moved.title) == (2, 9, "two", "bing", "Other")
    assert (moved.sha256, moved.outcome, moved.licence) == (record.sha256, KEPT, None)


@pytest.mark.parametrize("file", ["searches.jsonl", "records.jsonl"])
def test_killed_within_a_line(tmp_path: Path, file: str) -> None:
    with CrawlFolder(tmp_path, PLAN) as folder:
        folder.add_search(7, "google", found(*HITS))
        folder.add(Record.of(folder.tasks(7)[0], "HTTP 404"))
    path = tmp_path / NAME / file
    path.write_bytes(path.read_bytes()[:-5])
    with CrawlFolder(tmp_path, PLAN) as folder:
        assert folder.is_searched(7) is (file == "records.jsonl")
        assert len(list(folder.records(7))) == (file == "searches.jsonl")


def test_pictures_that_were_not_written_to_their_end(tmp_path: Path) -> None:
    left = tmp_path / NAME / "pictures" / "ab" / ".abcd.1-2.tmp"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"part")
    with CrawlFolder(tmp_path, PLAN):
        assert not left.exists()


def test_another_crawl(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, PLAN):
        pass
    with pytest.raises(DataError, match="differs in min_side, per_category") as error:
        CrawlFolder(tmp_path, {"per_category": 4, "categories": "x", "min_side": 64})
    assert "-o DIR" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("plan.json", "{"),
        ("plan.json", "[]"),
        ("searches.jsonl", '{"hits": []}\n'),
        ("searches.jsonl", '{"category": 1, "backend": "x", "hits": [{"query": "q"}]}\n'),
        ("searches.jsonl", '{"category": 1, "backend": "x", "hits": [{"address": "a", "other": 1}]}\n'),
        ("records.jsonl", '{"category": 1}\n'),
        ("records.jsonl", "no json\n"),
    ],
)
def test_damaged_files(tmp_path: Path, file: str, text: str) -> None:
    with CrawlFolder(tmp_path, PLAN):
        pass
    (tmp_path / NAME / file).write_text(text)
    with pytest.raises(DataError, match="is damaged"):
        CrawlFolder(tmp_path, PLAN)
