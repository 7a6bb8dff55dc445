"""What hosts send, on purpose or by mistake, and what the fetcher makes of it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests

from clis_core.data.crawl.fetch import Fetcher, Limits, StoppedError, Turns
from clis_core.data.crawl.guard import GuardedAdapter
from clis_core.data.crawl.response import Fetched, FetchError
from tests.data.crawl.web import FAST, Call, FakeWeb, Handler, ToLocal

PICTURE = "http://pictures.test/a.jpg"
PLACE = "pictures.test/a.jpg"


def fetcher(web: FakeWeb, limits: Limits = FAST, stop: threading.Event | None = None, robots: bool = True) -> Fetcher:
    """One that finds the hosts of the web, and is guarded against all others."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", GuardedAdapter(seconds=limits.seconds))
    for start, adapter in web.adapters().items():
        for host in ("pictures.test", "other.test"):
            session.mount(f"{start}{host}", adapter)
    return Fetcher(session, limits, stop or threading.Event(), robots=robots)


def refused(web: FakeWeb, address: str = PICTURE, limits: Limits = FAST) -> FetchError:
    with pytest.raises(FetchError) as error:
        fetcher(web, limits).picture(address)
    return error.value


def test_a_picture_comes_with_where_it_is_from(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"bytes", X_Thing="seen")
    got = fetcher(web).picture(PICTURE)
    assert got == Fetched(200, PICTURE, got.headers, b"bytes")
    assert got.headers["x-thing"] == ["seen"]


def test_redirects_are_followed_across_hosts(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"moved", 301, Location="//other.test/b?x=1")
    web.routes["other.test/b"] = lambda call: call.answer(b"", 302, Location="c")
    web.routes["other.test/c"] = b"there"
    got = fetcher(web).picture(PICTURE)
    assert (got.address, got.body) == ("http://other.test/c", b"there")


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("/a.jpg", "too many redirects"),
        ("file:///etc/passwd", "no web address"),
        ("ftp://other.test/a", "no web address"),
        ("http://user:word@other.test/a", "no web address"),
        ("http://[/", "no web address"),
        ("http://other.test:x/", "no web address"),
        ("http://127.0.0.1:1/secret", "private address"),
        ("http://169.254.169.254/latest/meta-data/", "private address"),
    ],
)
def test_redirects_that_are_not_followed(web: FakeWeb, to: str, reason: str) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"", 302, Location=to)
    assert refused(web).reason == reason
    assert web.count(PLACE) == (FAST.redirects + 1 if to == "/a.jpg" else 1)
    assert not any("secret" in line or "latest" in line for line in web.asked)


def test_a_redirect_to_a_server_on_this_machine_gets_no_request(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"", 302, Location=f"http://127.0.0.1:{web.port}/pictures.test/b.jpg")
    web.routes["pictures.test/b.jpg"] = b"secret"
    assert refused(web).reason == "private address"
    assert web.count("pictures.test/b.jpg") == 0


@pytest.mark.parametrize("status", [401, 403, 404, 410, 206])
def test_a_status_that_stays(web: FakeWeb, status: int) -> None:
    web.routes[PLACE] = lambda call: call.answer("Go away, please.", status)
    error = refused(web)
    assert (error.reason, error.detail, error.status, error.passing) == (
        f"HTTP {status}",
        "Go away, please.",
        status,
        False,
    )
    assert web.count(PLACE) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_status_that_passes_is_tried_again(web: FakeWeb, status: int) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"fine") if call.number else call.answer(b"", status)
    assert fetcher(web).picture(PICTURE).body == b"fine"
    web.routes[PLACE] = lambda call: call.answer(b"", status)
    error = refused(web)
    assert (error.reason, error.passing) == (f"HTTP {status}", True)
    assert web.count(PLACE) == 2 + FAST.attempts


@pytest.mark.parametrize("form", ["seconds", "date"])
@pytest.mark.parametrize(("wait", "requests_"), [(0, 2), (3600, 1)])
def test_retry_after(web: FakeWeb, form: str, wait: int, requests_: int) -> None:
    """A host that asks for a short rest gets it; one that asks for an hour is left alone."""
    text = str(wait) if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=wait), usegmt=True)
    web.routes[PLACE] = lambda call: call.answer(b"", 429, Retry_After=text)
    error = refused(web)
    assert (error.after or 0) == pytest.approx(wait, abs=2)
    assert web.count(PLACE) == requests_


def test_retry_after_is_waited_for(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: bool(waits.append(seconds)))
    web.routes[PLACE] = lambda call: call.answer(b"fine") if call.number else call.answer(b"", 503, Retry_After="2")
    assert fetcher(web, stop=stop).picture(PICTURE).body == b"fine"
    assert waits == [2.0]


def test_waiting_grows_and_is_drawn_from_the_seed(web: FakeWeb, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = replace(FAST, attempts=4, backoff=1.0, most_wait=60.0)
    web.routes[PLACE] = lambda call: call.answer(b"", 500)

    def waits() -> list[float]:
        stop, drawn = threading.Event(), list[float]()
        monkeypatch.setattr(stop, "wait", lambda seconds: bool(drawn.append(seconds)))
        with pytest.raises(FetchError):
            fetcher(web, limits, stop).picture(PICTURE)
        return drawn

    first = waits()
    assert all(0.5 * 2**n <= wait <= 1.5 * 2**n for n, wait in enumerate(first))
    assert len(first) == 3
    assert waits() == first


def test_a_body_that_drips_is_given_up(web: FakeWeb) -> None:
    web.routes[PLACE] = drip(web, lambda call: call.start(Content_Length="1000"))
    error = refused(web, limits=replace(FAST, seconds=0.3, attempts=1))
    assert (error.reason, error.passing) == ("too slow", True)


def test_waiting_for_a_turn_is_not_the_hosts_slowness(web: FakeWeb) -> None:
    web.routes[PLACE] = b"bytes"
    patient = fetcher(web, replace(FAST, seconds=0.2, delay=0.3), robots=False)
    for _ in range(3):
        assert patient.picture(PICTURE).body == b"bytes"


def test_headers_that_drip_are_given_up(web: FakeWeb) -> None:
    def begin(call: Call) -> None:
        call.http.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")

    web.routes["pictures.test/robots.txt"] = b""
    web.routes[PLACE] = drip(web, begin)
    session = requests.Session()
    session.mount("http://", ToLocal(web.port, seconds=0.3))
    with pytest.raises(FetchError) as error:
        Fetcher(session, replace(FAST, attempts=1, seconds=30), threading.Event()).picture(PICTURE)
    assert (error.value.reason, error.value.passing) == ("time-out", True)


def drip(web: FakeWeb, begin: Callable[[Call], None]) -> Handler:
    """A handler that goes on for ever, a byte every 50 ms."""

    def handle(call: Call) -> None:
        call.http.close_connection = True
        begin(call)
        while not web.over.wait(0.05):
            call.send(b"x")

    return handle


def test_a_host_that_says_nothing(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: bool(web.over.wait(5))  # type: ignore[return-value, assignment]
    error = refused(web, limits=replace(FAST, wait=0.2, attempts=1))
    assert (error.reason, error.passing) == ("time-out", True)


def test_a_body_that_is_cut_short(web: FakeWeb) -> None:
    def cut(call: Call) -> None:
        call.http.close_connection = True
        call.start(Content_Length="1000")
        call.send(b"x" * 400)

    web.routes[PLACE] = cut
    error = refused(web)
    assert (error.reason, error.passing) == ("cut short", True)
    assert web.count(PLACE) == FAST.attempts


def test_a_host_that_hangs_up(web: FakeWeb) -> None:
    def hang_up(call: Call) -> None:
        call.http.close_connection = True

    web.routes[PLACE] = hang_up
    assert refused(web).reason == "connection failed"


@pytest.mark.parametrize("claims", [True, False])
def test_what_is_too_large_is_not_read_to_its_end(web: FakeWeb, claims: bool) -> None:
    sent = 0

    def large(call: Call) -> None:
        nonlocal sent
        call.http.close_connection = True
        call.start(**({"Content_Length": str(1 << 40)} if claims else {}))
        while sent < 64 << 20:
            call.send(bytes(1 << 16))
            sent += 1 << 16

    web.routes[PLACE] = large
    error = refused(web, limits=replace(FAST, most_bytes=1 << 20))
    assert (error.reason, error.passing) == ("larger than the limit", False)
    assert sent < 64 << 20


def test_a_length_that_is_too_large_is_believed(web: FakeWeb) -> None:
    def claim(call: Call) -> None:
        call.http.close_connection = True
        call.start(Content_Length=str(1 << 40))
        web.over.wait(5)

    web.routes[PLACE] = claim
    assert refused(web).reason == "larger than the limit"


def test_compression_is_not_asked_for_and_has_a_limit(web: FakeWeb) -> None:
    asked: list[str | None] = []

    def packed(call: Call) -> None:
        asked.append(call.headers["Accept-Encoding"])
        call.answer(gzip.compress(bytes(int(call.query["n"]))), Content_Encoding="gzip")

    web.routes[PLACE] = packed
    limits = replace(FAST, most_bytes=1 << 20)
    assert len(fetcher(web, limits).picture(f"{PICTURE}?n={1 << 20}").body) == 1 << 20
    assert refused(web, f"{PICTURE}?n={1 << 24}", limits).reason == "larger than the limit"
    assert asked == ["identity", "identity"]


def test_content_codings_that_nobody_asked_for(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"?", Content_Encoding=call.query["as"])
    assert refused(web, f"{PICTURE}?as=br").reason == "unknown content coding"
    assert refused(web, f"{PICTURE}?as=gzip").reason == "cut short"


def test_a_gzip_that_is_damaged(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"no gzip at all", Content_Encoding="gzip")
    assert refused(web).reason == "damaged gzip"


def test_an_owner_who_says_no_in_a_header(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"picture", X_Robots_Tag="noai, noimageai")
    error = refused(web)
    assert (error.reason, error.detail) == ("opt-out header", "X-Robots-Tag: noai")


def test_an_owner_who_says_no_in_robots_txt(web: FakeWeb) -> None:
    web.routes["pictures.test/robots.txt"] = b"User-agent: *\nDisallow: /*.jpg$\n"
    web.routes["pictures.test"] = b"picture"
    one = fetcher(web)
    for name in ("a.jpg", "b.jpg"):
        with pytest.raises(FetchError) as error:
            one.picture(f"http://pictures.test/{name}")
        assert error.value.reason == "robots.txt forbids it"
    assert one.picture("http://pictures.test/a.png").body == b"picture"
    assert web.asked == ["pictures.test/robots.txt", "pictures.test/a.png"]  # the rules are asked for once
    assert fetcher(web, robots=False).picture(PICTURE).body == b"picture"


def test_robots_txt_of_the_host_that_a_redirect_leads_to(web: FakeWeb) -> None:
    web.routes[PLACE] = lambda call: call.answer(b"", 302, Location="http://other.test/b.jpg")
    web.routes["other.test/robots.txt"] = b"User-agent: clis\nDisallow: /"
    web.routes["other.test/b.jpg"] = b"picture"
    assert refused(web).reason == "robots.txt forbids it"
    assert web.count("other.test/b.jpg") == 0


@pytest.mark.parametrize(("status", "allowed"), [(404, True), (403, True), (500, False), (429, False)])
def test_robots_txt_that_cannot_be_read(web: FakeWeb, status: int, allowed: bool) -> None:
    web.routes["pictures.test/robots.txt"] = lambda call: call.answer(b"", status)
    web.routes[PLACE] = b"picture"
    if allowed:
        assert fetcher(web).picture(PICTURE).body == b"picture"
    else:
        error = refused(web)
        assert (error.reason, error.passing) == ("robots.txt unreachable", True)
        assert web.count(PLACE) == 0


def test_robots_txt_of_a_host_that_hangs_up(web: FakeWeb) -> None:
    def hang_up(call: Call) -> None:
        call.http.close_connection = True

    web.routes |= {"pictures.test/robots.txt": hang_up, PLACE: b"picture"}
    error = refused(web)
    assert (error.reason, error.passing) == ("connection failed", True)
    assert web.count(PLACE) == 0


def test_robots_txt_that_leads_nowhere_forbids_nothing(web: FakeWeb) -> None:
    web.routes["pictures.test/robots.txt"] = lambda call: call.answer(b"", 302, Location="/robots.txt")
    web.routes[PLACE] = b"picture"
    assert fetcher(web).picture(PICTURE).body == b"picture"


def test_a_page_of_results_needs_neither(web: FakeWeb) -> None:
    """A search is the user's own decision; see the docs."""
    web.routes["other.test/robots.txt"] = b"User-agent: *\nDisallow: /"
    web.routes["other.test/search"] = lambda call: call.answer(str(call.headers["Accept"]), X_Robots_Tag="noindex")
    assert fetcher(web).page("http://other.test/search?q=x", {"Accept": "text/html"}, 0.0).text == "text/html"


def test_a_stop_ends_waiting(web: FakeWeb) -> None:
    stop = threading.Event()

    def busy(call: Call) -> None:
        stop.set()
        call.answer(b"", 503, Retry_After="2")

    web.routes[PLACE] = busy
    with pytest.raises(StoppedError):
        fetcher(web, stop=stop).picture(PICTURE)
    assert web.count(PLACE) == 1


def test_a_stop_ends_a_body(web: FakeWeb) -> None:
    stop = threading.Event()

    def begin(call: Call) -> None:
        call.start(Content_Length="1000")
        stop.set()

    web.routes[PLACE] = drip(web, begin)
    with pytest.raises(StoppedError):
        fetcher(web, replace(FAST, attempts=1), stop).picture(PICTURE)


def test_turns_keep_requests_to_one_host_apart() -> None:
    turns = Turns(10.0)
    first, second, third, elsewhere = (turns.take(host) for host in ("a", "a", "a", "b"))
    assert first == elsewhere == 0.0
    assert 9.0 < second <= 10.0
    assert 19.0 < third <= 20.0
    assert turns.take("a", delay=0.0) == pytest.approx(30.0, abs=1.0)
