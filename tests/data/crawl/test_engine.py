"""Whole crawls against a web that behaves well, badly, and not at all."""

from __future__ import annotations

import errno
import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clis_core.categories import Category
from clis_core.data.crawl.backends.backend import Backend, Blocked, Hit
from clis_core.data.crawl.backends.flickr import Flickr
from clis_core.data.crawl.backends.google import Google
from clis_core.data.crawl.backends.openverse import Openverse
from clis_core.data.crawl.engine import PictureCrawler
from clis_core.data.crawl.fetch import StoppedError
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.queries import Query
from clis_core.data.crawl.record import KEPT, Record
from clis_core.data.crawl.search import AddressList
from clis_core.data.crawl.shared import CrawlOptions, Shared
from clis_core.errors import DataError
from clis_core.report import SilentReporter
from tests.data.crawl.test_backends import SHELL, google_script, openverse_result
from tests.data.crawl.web import FAST, Call, FakeWeb, encode, jpeg, photo

QUERIES = [Query(Category(n, f"thing_{n}"), f"thing {n} that is a thing", f"thing {n}") for n in range(1, 8)]


class Said(SilentReporter):
    """Keeps the warnings and the last figures."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.last: Any = None

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, *values: Any) -> None:
        self.last = values


def options(web: FakeWeb, **more: Any) -> CrawlOptions:
    for place in (Google, Openverse, Flickr):
        place.delay = 0.0
    return CrawlOptions(limits=FAST, adapters=web.adapters(), threads=4, **more)


def crawl(
    web: FakeWeb,
    out: Path,
    place: Backend | AddressList,
    count: int = 1,
    *,
    stopped: Any = lambda: None,
    how: CrawlOptions | None = None,
) -> tuple[dict[tuple[int, int], Record], Blocked | None, Said]:
    """Every record by category and rank, what the search was given up for, and what was said."""
    said = Said()
    with CrawlFolder(out, {}) as folder:
        if isinstance(place, Openverse):
            place.delay = 0.0
        given_up = PictureCrawler(folder, place, how or options(web)).run(
            QUERIES[:count], stopped=stopped, reporter=said
        )
        records = {(r.category, r.rank): r for q in QUERIES for r in folder.records(q.category.id)}
    return records, given_up, said


def listed(*addresses: str, category: int = 1) -> AddressList:
    return AddressList({category: [Hit(address) for address in addresses]})


def test_every_hit_ends_in_one_record_with_its_reason(web: FakeWeb, tmp_path: Path) -> None:
    web.routes |= {
        "p.test/good.jpg": jpeg(1),
        "p.test/good.webp": encode(photo(2), "WEBP"),
        "p.test/lies.jpg": b"<!doctype html><html>log in</html>",
        "p.test/cut.jpg": jpeg(3)[:-2000],
        "p.test/tiny.jpg": jpeg(4, width=40, height=40),
        "p.test/empty.jpg": b"",
        "p.test/loop.jpg": lambda call: call.answer(b"", 302, Location="/loop.jpg"),
        "p.test/file.jpg": lambda call: call.answer(b"", 302, Location="file:///etc/passwd"),
        "p.test/no.jpg": lambda call: call.answer(jpeg(5), X_Robots_Tag="noai"),
        "p.test/busy.jpg": lambda call: call.answer(jpeg(6)) if call.number else call.answer(b"", 500),
        "p.test/moved.jpg": lambda call: call.answer(b"", 301, Location="http://q.test/good.jpg"),
        "q.test/good.jpg": jpeg(7),
        "closed.test/robots.txt": b"User-agent: *\nDisallow: /",
    }
    expected = {
        "http://p.test/good.jpg": KEPT,
        "https://p.test/good.webp": KEPT,
        "http://p.test/lies.jpg": "a web page or text",
        "http://p.test/cut.jpg": "cut short",
        "http://p.test/tiny.jpg": "a side below 64 pixels",
        "http://p.test/empty.jpg": "empty",
        "http://p.test/loop.jpg": "too many redirects",
        "http://p.test/file.jpg": "no web address",
        "http://p.test/no.jpg": "opt-out header",
        "http://p.test/busy.jpg": KEPT,
        "http://p.test/moved.jpg": KEPT,
        "http://p.test/gone.jpg": "HTTP 404",
        "http://closed.test/a.jpg": "robots.txt forbids it",
        "data:image/png;base64,AAAA": "no web address",
        "not an address": "no web address",
    }
    records, _, said = crawl(web, tmp_path, listed(*expected))
    assert {r.address: r.outcome for r in records.values()} == expected
    assert [r.rank for r in records.values()] == list(range(1, len(expected) + 1))
    assert all((r.sha256 is not None) == (r.outcome == KEPT) for r in records.values())
    assert said.last == ("categories", 1, 1, {"kept": 4, "refused": 11})
    assert not any("passwd" in line for line in web.asked)


def test_pictures_lie_under_their_hash_as_they_were_sent(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["p.test/a"] = encode(photo(1), "PNG")
    records, _, _ = crawl(web, tmp_path, listed("http://p.test/a"))
    (record,) = records.values()
    files = [path for path in (tmp_path / ".crawl" / "pictures").rglob("*") if path.is_file()]
    assert [path.name for path in files] == [record.sha256]
    assert files[0].read_bytes() == encode(photo(1), "PNG")
    assert (record.width, record.height, record.size, record.status) == (160, 120, files[0].stat().st_size, 200)


def test_private_addresses_are_not_asked(web: FakeWeb, tmp_path: Path) -> None:
    inside = f"http://127.0.0.1:{web.port}/inside.jpg"
    web.routes["p.test/a.jpg"] = lambda call: call.answer(b"", 302, Location=inside)
    web.routes["inside.jpg"] = jpeg(1)
    how = replace(options(web), adapters={"http://p.test": web.adapters()["http://"]})
    place = listed(inside, "http://p.test/a.jpg", "http://169.254.169.254/latest", "http://[::1]/")
    records, _, _ = crawl(web, tmp_path, place, how=how)
    assert {r.outcome for r in records.values()} == {"private address"}
    assert not any("inside" in line for line in web.asked)
    allowed, _, _ = crawl(web, tmp_path / "2", listed(inside), how=replace(how, allow_private=True))
    assert [r.outcome for r in allowed.values()] == [KEPT]


def test_an_address_is_fetched_once_for_all_categories_and_runs(web: FakeWeb, tmp_path: Path) -> None:
    def slowly(call: Call) -> None:
        web.over.wait(0.2)
        call.answer(jpeg(1))

    web.routes |= {"p.test/a.jpg": slowly, "p.test/b.jpg": jpeg(2)}
    hits = [Hit("http://p.test/a.jpg"), Hit("http://p.test/b.jpg"), Hit("http://p.test/c.jpg")]
    place = AddressList({1: hits, 2: hits, 3: hits})
    records, _, _ = crawl(web, tmp_path, place, 3)
    assert {key: r.outcome for key, r in records.items()} == {
        (c, rank): (KEPT, KEPT, "HTTP 404")[rank - 1] for c in (1, 2, 3) for rank in (1, 2, 3)
    }
    asked = sorted(web.asked)
    assert asked == [
        "p.test/a.jpg",
        "p.test/b.jpg",
        "p.test/c.jpg",
        *["p.test/robots.txt"] * web.count("p.test/robots.txt"),
    ]
    web.asked.clear()
    again, _, _ = crawl(web, tmp_path, place, 3)
    assert again == records
    assert web.asked == []


def test_an_address_is_fetched_once_one_after_the_other(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["p.test/a.jpg"] = jpeg(1)
    place = AddressList({c: [Hit("http://p.test/a.jpg", title=f"title {c}")] for c in (1, 2, 3)})
    records, _, _ = crawl(web, tmp_path, place, 3, how=replace(options(web), threads=1))
    assert [(r.outcome, r.title) for r in records.values()] == [(KEPT, f"title {c}") for c in (1, 2, 3)]
    assert web.count("p.test/a.jpg") == 1


def test_failures_that_may_pass_are_tried_again_by_the_next_run(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["p.test/a.jpg"] = lambda call: call.answer(b"", 503)
    web.routes["p.test/b.jpg"] = b"no picture"
    place = listed("http://p.test/a.jpg", "http://p.test/b.jpg")
    first, _, _ = crawl(web, tmp_path, place)
    assert [r.outcome for r in first.values()] == ["HTTP 503", "a web page or text"]
    web.routes["p.test/a.jpg"] = jpeg(1)
    web.asked.clear()
    second, _, _ = crawl(web, tmp_path, place)
    assert [r.outcome for r in second.values()] == [KEPT, "a web page or text"]
    assert web.count("p.test/b.jpg") == 0


def test_a_list_that_has_grown(web: FakeWeb, tmp_path: Path) -> None:
    web.routes |= {f"p.test/{n}": jpeg(n) for n in range(5)}
    addresses = [f"http://p.test/{n}" for n in range(5)]
    crawl(web, tmp_path, listed(*addresses[:2]))
    records, _, _ = crawl(web, tmp_path, listed(*addresses), how=options(web, per_category=4))
    assert [r.address for r in records.values()] == addresses[:4]


def openverse_pages(web: FakeWeb, pages: int, words: list[str] | None = None) -> None:
    """A place that finds three pictures a page for the queries of these words."""

    def answer(call: Call) -> None:
        page = int(call.query["page"])
        good = words is None or any(word in call.query["q"] for word in words)
        results = [
            openverse_result(url=f"https://p.test/{call.query['q'].replace(' ', '-')}/{page}-{n}") for n in range(3)
        ]
        call.answer(json.dumps({"page_count": pages, "results": results if good else []}))

    web.routes["api.openverse.org/v1/images/"] = answer
    web.routes["p.test"] = lambda call: call.answer(jpeg(hash(call.http.path) % 2**32))


def test_pages_of_results_until_there_are_enough(web: FakeWeb, tmp_path: Path) -> None:
    openverse_pages(web, pages=5)
    records, given_up, _ = crawl(web, tmp_path, Openverse(), how=options(web, per_category=7))
    assert given_up is None
    assert [r.address.rpartition("/")[2] for r in records.values()] == ["1-0", "1-1", "1-2", "2-0", "2-1", "2-2", "3-0"]
    assert {r.query for r in records.values()} == {"thing 1"}
    assert {r.licence for r in records.values()} == {"https://creativecommons.org/licenses/by-sa/2.0/"}
    assert {r.creator for r in records.values()} == {"Jane"}
    assert sum("openverse" in line for line in web.asked) == 3


def test_pages_end_where_the_place_says(web: FakeWeb, tmp_path: Path) -> None:
    openverse_pages(web, pages=2)
    records, _, _ = crawl(web, tmp_path, Openverse())
    assert len(records) == 6


def test_name_and_definition_first_then_the_name(web: FakeWeb, tmp_path: Path) -> None:
    def answer(call: Call) -> None:
        number = 2 if call.query["start"] == "0" else 0
        long = "that" in call.query["q"]
        pictures = [
            (f"https://p.test/{'long' if long else 'short'}{n}", 5, 5, "https://p.test", "t") for n in range(number)
        ]
        pictures += [("https://p.test/both", 5, 5, "https://p.test", "t")] * bool(number)
        call.answer(google_script(*pictures))

    web.routes["www.google.com/search"] = answer
    web.routes["p.test"] = jpeg(1)
    records, _, _ = crawl(web, tmp_path, Google())
    assert [(r.address[15:], r.query) for r in records.values()] == [
        ("long0", QUERIES[0].text),
        ("long1", QUERIES[0].text),
        ("both", QUERIES[0].text),
        ("short0", QUERIES[0].fallback),
        ("short1", QUERIES[0].fallback),
    ]


def test_a_place_that_sends_a_shell_is_given_up_loudly(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["www.google.com/search"] = SHELL.encode()
    records, given_up, said = crawl(web, tmp_path, Google(), len(QUERIES), how=options(web, blocked=3))
    assert records == {}
    assert given_up == Blocked("sent a page that needs JavaScript")
    assert said.warnings == [
        f"No answer for {f'thing_{n}'!r}: google sent a page that needs JavaScript." for n in (1, 2, 3)
    ]
    assert said.last == ("categories", 0, 7, {"kept": 0, "refused": 0})  # not the end of the bar
    assert sum("google" in line for line in web.asked) == 3  # the others are not asked for any more


def test_a_place_that_cannot_be_reached(web: FakeWeb, tmp_path: Path) -> None:
    def hang_up(call: Call) -> None:
        call.http.close_connection = True

    web.routes["www.google.com/search"] = hang_up
    _, given_up, _ = crawl(web, tmp_path, Google(), 3, how=options(web, blocked=2))
    assert given_up == Blocked("could not be reached: connection failed")


def test_one_search_without_an_answer_is_tried_again_at_the_end(web: FakeWeb, tmp_path: Path) -> None:
    openverse_pages(web, pages=1)
    good = web.routes["api.openverse.org/v1/images/"]
    failed = False

    def answer(call: Call) -> None:
        nonlocal failed
        if call.query["q"] == "thing 2" and not failed:
            failed = True
            call.answer("{}")
        else:
            good(call)  # type: ignore[operator]

    web.routes["api.openverse.org/v1/images/"] = answer
    records, given_up, said = crawl(web, tmp_path, Openverse(), 3)
    assert given_up is None
    assert {category for category, _ in records} == {1, 2, 3}
    assert said.warnings == ["No answer for 'thing_2': openverse sent an answer without results."]


def test_searches_that_fail_now_and_then_are_no_reason_to_give_up(web: FakeWeb, tmp_path: Path) -> None:
    openverse_pages(web, pages=1)
    good = web.routes["api.openverse.org/v1/images/"]

    def answer(call: Call) -> None:
        call.answer("{}") if int(call.query["q"][-1]) % 2 else good(call)  # type: ignore[operator]

    web.routes["api.openverse.org/v1/images/"] = answer
    records, _, said = crawl(web, tmp_path, Openverse(), 6, how=options(web, blocked=3))
    assert {category for category, _ in records} == {2, 4, 6}
    assert len(said.warnings) == 6  # 1, 3, 5, and at the end once more


def test_a_place_that_shows_the_same_page_again_and_again(web: FakeWeb, tmp_path: Path) -> None:
    body = json.dumps({"page_count": 12, "results": [openverse_result(url="https://p.test/1")]})
    web.routes["api.openverse.org/v1/images/"] = body.encode()
    records, _, _ = crawl(web, tmp_path, Openverse())
    assert len(records) == 1
    assert web.count("api.openverse.org/v1/images/") == 2


def test_categories_that_a_list_leaves_out_can_be_searched_for(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["own.test/1"] = jpeg(1)
    crawl(web, tmp_path, listed("http://own.test/1"), 2)
    openverse_pages(web, pages=1)
    records, _, _ = crawl(web, tmp_path, Openverse(), 2)
    assert {category: r.backend for (category, _), r in records.items()} == {1: "urls", 2: "openverse"}


@pytest.mark.parametrize(("status", "final"), [(429, False), (403, False), (401, True)])
def test_statuses_of_searches(web: FakeWeb, tmp_path: Path, status: int, final: bool) -> None:
    web.routes["api.openverse.org/v1/images/"] = lambda call: call.answer("slow down", status, Retry_After="7200")
    _, given_up, said = crawl(web, tmp_path, Openverse("t0ken"), 4, how=options(web, blocked=3))
    assert given_up == Blocked(f"answered: HTTP {status} (slow down)", final=final)
    assert len(said.warnings) == sum("openverse" in line for line in web.asked) == (1 if final else 3)


def test_a_key_is_written_nowhere(web: FakeWeb, tmp_path: Path) -> None:
    def answer(call: Call) -> None:
        assert call.query["api_key"] == "s3cret"
        call.answer(f"bad key {call.query['api_key']} in {call.http.path}", 400)

    web.routes["api.flickr.com/services/rest/"] = answer
    _, given_up, said = crawl(web, tmp_path, Flickr("s3cret"))
    assert given_up is None
    assert all("HTTP 400" in text and "***" in text and "s3cret" not in text for text in said.warnings)
    assert len(said.warnings) == 2
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes()


def test_searches_that_were_answered_are_not_repeated(web: FakeWeb, tmp_path: Path) -> None:
    openverse_pages(web, pages=1, words=["thing 1"])  # nothing for thing 2: an answer as well
    records, _, _ = crawl(web, tmp_path, Openverse(), 2)
    web.asked.clear()
    openverse_pages(web, pages=5)
    again, _, _ = crawl(web, tmp_path, Openverse(), 2)
    assert again == records
    assert web.asked == []


def test_another_place_goes_on_where_one_was_given_up(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["www.google.com/search"] = lambda call: call.answer(
        SHELL if "thing 1" not in call.query["q"] else google_script(("https://p.test/g", 5, 5, "https://p.test", "t"))
    )
    openverse_pages(web, pages=1)
    first, given_up, _ = crawl(web, tmp_path, Google(), 3, how=options(web, blocked=2))
    assert given_up is not None
    assert {r.backend for r in first.values()} == {"google"}
    records, _, _ = crawl(web, tmp_path, Openverse(), 3)
    assert {category: r.backend for (category, _), r in records.items()} == {
        1: "google",
        2: "openverse",
        3: "openverse",
    }


def test_a_stop_ends_the_crawl_and_the_next_run_goes_on(web: FakeWeb, tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def answer(call: Call) -> None:
        reached.set()
        if call.http.path.endswith(("4", "5", "6", "7")):
            go_on.wait(2)
        call.answer(jpeg(int(call.http.path[-1])))

    web.routes["p.test"] = answer
    place = listed(*(f"http://p.test/{n}" for n in range(8)))
    first, _, _ = crawl(web, tmp_path, place, stopped=reached.is_set)
    go_on.set()
    assert len(first) < 8
    records, _, _ = crawl(web, tmp_path, place)
    assert [r.outcome for r in records.values()] == [KEPT] * 8
    assert {key: records[key] for key in first} == first  # what was done stays done


def test_a_full_disk_ends_the_crawl(web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["p.test"] = jpeg(1)

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(CrawlFolder, "add", full)
    with pytest.raises(DataError, match=r"disk of .* is full"):
        crawl(web, tmp_path, listed("http://p.test/1", "http://p.test/2"))


def test_an_error_of_ours_is_not_hidden(web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web.routes["p.test"] = jpeg(1)
    monkeypatch.setattr("clis_core.data.crawl.pools.examine", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        crawl(web, tmp_path, listed("http://p.test/1"))


def test_a_network_that_is_down_is_not_taken_for_dead_hosts(web: FakeWeb, tmp_path: Path) -> None:
    def hang_up(call: Call) -> None:
        call.http.close_connection = True

    hosts = [f"h{n}.test" for n in range(12)]
    web.routes |= {f"{host}/{name}": hang_up for host in hosts for name in ("a.jpg", "robots.txt")}
    place = listed(*(f"http://{host}/a.jpg" for host in hosts))
    with pytest.raises(DataError, match="8 hosts in a row did not answer") as error:
        crawl(web, tmp_path, place, how=options(web, silent=8))
    assert "Run the same command again" in (error.value.hint or "")
    web.routes["p.test/ok.jpg"] = jpeg(1)  # one that answers: it is the hosts, then
    mixed = [f"http://{host}/a.jpg" for host in hosts[:6]] + ["http://p.test/ok.jpg"]
    mixed += [f"http://{host}/a.jpg" for host in hosts[6:]]
    how = replace(options(web, silent=8), threads=1)
    records, _, _ = crawl(web, tmp_path / "2", listed(*mixed), how=how)
    assert [r.outcome for r in records.values()].count("connection failed") == 12


def test_requests_say_who_sends_them_and_keep_nothing(
    web: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("default login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[dict[str, str]] = []

    def answer(call: Call) -> None:
        seen.append(dict(call.headers))
        call.answer(jpeg(1), Set_Cookie="id=1; Path=/")

    web.routes["p.test"] = answer
    place = listed("http://p.test/1", "http://p.test/2")
    crawl(web, tmp_path, place, how=options(web, contact="me@example.org"))
    assert all(headers["User-Agent"].startswith("clis/") for headers in seen)
    assert all(headers["User-Agent"].endswith("; me@example.org)") for headers in seen)
    assert not any({"Cookie", "Referer", "Authorization"} & headers.keys() for headers in seen)
    assert len(seen) == 2


def test_cookies_are_not_kept(web: FakeWeb, tmp_path: Path) -> None:
    seen: list[str | None] = []

    def answer(call: Call) -> None:
        seen.append(call.headers["Cookie"])
        call.answer(jpeg(1), Set_Cookie="id=1; Path=/")

    web.routes["p.test"] = answer
    place = listed(*(f"http://127.0.0.1:{web.port}/p.test/{n}" for n in range(2)))
    how = CrawlOptions(limits=FAST, threads=1, allow_private=True)
    records, _, _ = crawl(web, tmp_path, place, how=how)
    assert [r.outcome for r in records.values()] == [KEPT, KEPT]
    assert set(seen) == {None}


def test_the_first_error_is_the_one_that_is_told(tmp_path: Path) -> None:
    with CrawlFolder(tmp_path, {}) as folder:
        shared = Shared(folder, CrawlOptions(), "urls", repeat=True)
        first = ValueError("first")
        for error in (first, ValueError("second"), StoppedError()):
            shared.fail(error)
    assert shared.failure is first
    assert shared.stop.is_set()


def test_icrawler_leaves_the_logs_alone(web: FakeWeb, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger().handlers)
    web.routes["p.test/1"] = jpeg(1)
    crawl(web, tmp_path, listed("http://p.test/1", "http://p.test/2"))
    assert logging.getLogger().handlers == before
    assert capfd.readouterr() == ("", "")


def test_no_thread_is_left(web: FakeWeb, tmp_path: Path) -> None:
    web.routes["p.test/1"] = jpeg(1)
    crawl(web, tmp_path, listed("http://p.test/1"))
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith(("feeder", "parser", "downloader")) for name in names)
