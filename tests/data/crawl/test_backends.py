"""Pages of the places that are searched, as they are documented or were seen, and pages without results."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.data.crawl.backends.backend import Backend, Blocked, Hit, Page
from clis_core.data.crawl.backends.bing import Bing
from clis_core.data.crawl.backends.flickr import Flickr
from clis_core.data.crawl.backends.google import Google
from clis_core.data.crawl.backends.open import BackendName, open_backend
from clis_core.data.crawl.backends.openverse import Openverse
from clis_core.data.crawl.response import Fetched
from clis_core.errors import ConfigError, DataError

SHELL = (
    "<!DOCTYPE html><html><head><title>Google Search</title></head><body><noscript>"
    '<meta content="0;url=/httpservice/retry/enablejs?sei=x" http-equiv="refresh">Please click '
    '<a href="/httpservice/retry/enablejs?sei=x">here</a></noscript><script>var x=1</script></body></html>'
)
CONSENT = '<html><form action="https://consent.google.com/save">Before you continue to Google Search</form></html>'
CAPTCHA = "<html>Our systems have detected unusual traffic from your computer network.</html>"


def page(body: str, address: str = "https://www.google.com/search") -> Fetched:
    return Fetched(200, address, {}, body.encode())


def google_script(*pictures: tuple[str, int, int, str, str]) -> str:
    entries = ",".join(
        f'[0,"id",["https://encrypted-tbn0.gstatic.com/images?q\\u003dtbn:x",183,275],["{address}",{height},{width}],'
        f'null,0,"rgb(1,2,3)",null,0,{{"2001":[null],"2003":[null,"aB-1","{shown}","{title}"]}}]'
        for address, height, width, shown, title in pictures
    )
    return (
        f"<html><noscript>/httpservice/retry/enablejs</noscript><script>AF_initDataCallback({entries})</script></html>"
    )


def test_google_originals_with_their_pages() -> None:
    body = google_script(
        ("https://a.test/one.webp?x\\u003d1\\u0026y", 600, 800, "https://a.test/page", "A \\u201ccan\\u201d"),
        ("http://b.test/two", 50, 40, "https://b.test/", "Two"),
    )
    found = Google().parse(page(body), 100)
    assert found == Page(
        (
            Hit("https://a.test/one.webp?x=1&y", page="https://a.test/page", title="A “can”", width=800, height=600),
            Hit("http://b.test/two", page="https://b.test/", title="Two", width=40, height=50),
        ),
        200,
    )


def test_google_links_for_browsers_without_scripts() -> None:
    body = '<a href="/imgres?imgurl=https://a.test/x.jpg&amp;imgrefurl=https://a.test/p&amp;h=30&amp;w=40">x</a>'
    found = Google().parse(page(body), 0)
    assert found == Page((Hit("https://a.test/x.jpg", page="https://a.test/p", width=40, height=30),), 100)


def bing_page(*results: Any) -> str:
    links = (f'<a class="iusc" m="{html.escape(json.dumps(r) if r else "{broken")}" href="#">x</a>' for r in results)
    return f"<ul>{''.join(links)}</ul><a class='other' m='{{}}'>y</a>"


def test_bing_results() -> None:
    body = bing_page(
        {"murl": "https://a.test/one.jpeg", "purl": "https://a.test/", "t": "An \ue000aerosol\ue001 can"},
        None,
        {"turl": "https://tse1.mm.bing.net/th?id=x"},
        {"murl": "https://b.test/two?a=1&b=2"},
    )
    found = Bing().parse(page(body), 35)
    hits = (
        Hit("https://a.test/one.jpeg", page="https://a.test/", title="An aerosol can"),
        Hit("https://b.test/two?a=1&b=2"),
    )
    assert found == Page(hits, 39)  # four results were shown


@pytest.mark.parametrize("place", [Google(), Bing()], ids=lambda place: place.name)
@pytest.mark.parametrize(
    ("body", "address", "what"),
    [
        (SHELL, "https://www.google.com/search", "JavaScript"),
        (CONSENT, "https://www.google.com/search", "consent"),
        ("<html></html>", "https://consent.google.com/ml?continue=x", "consent"),
        (CAPTCHA, "https://www.google.com/search", "captcha"),
        ("<html></html>", "https://www.google.com/sorry/index?continue=x", "captcha"),
        ("<html><p>Hello</p></html>", "https://www.google.com/search", "without anything that is known"),
        ("", "https://www.google.com/search", "without anything that is known"),
    ],
)
def test_pages_that_hold_no_results(place: Backend, body: str, address: str, what: str) -> None:
    found = place.parse(page(body, address), 0)
    assert isinstance(found, Blocked)
    assert what in found.what


@pytest.mark.parametrize("place", [Google(), Bing()], ids=lambda place: place.name)
def test_the_end_of_results_is_no_blockade(place: Backend) -> None:
    assert place.parse(page("<div></div>"), 100) == Page((), None)
    assert place.parse(page(SHELL), 100) == Page((), None)  # every page of Google speaks of JavaScript
    assert isinstance(place.parse(page(CAPTCHA), 100), Blocked)
    nothing = (
        "Your search - <b>xyzzy</b> - did not match any image results."
        if place.name == "google"
        else ("There are no results for <b>xyzzy</b>")
    )
    assert place.parse(page(nothing), 0) == Page((), None)


def openverse_result(**more: Any) -> dict[str, Any]:
    return {
        "id": "0", "title": "Can", "creator": "Jane", "license": "by-sa", "license_version": "2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/", "url": "https://live.test/1.jpg",
        "foreign_landing_url": "https://flickr.test/1", "width": 1024, "height": 768,
    } | more  # fmt: skip


def test_openverse_results() -> None:
    results = [
        openverse_result(),
        openverse_result(license_url=None, license="cc0", license_version="1.0", creator=None, width=None, url="x"),
        openverse_result(url=None),
        "damaged",
    ]
    body = json.dumps({"result_count": 60, "page_count": 3, "page_size": 20, "page": 1, "results": results})
    first = Hit(
        "https://live.test/1.jpg",
        page="https://flickr.test/1",
        licence="https://creativecommons.org/licenses/by-sa/2.0/",
        creator="Jane",
        title="Can",
        width=1024,
        height=768,
    )
    second = Hit("x", page="https://flickr.test/1", licence="cc0 1.0", title="Can", height=768)
    assert Openverse().parse(page(body), 0) == Page((first, second), 20)
    last = Openverse().parse(page(body), 40)
    assert isinstance(last, Page)
    assert last.next is None


def test_openverse_ends_where_its_api_does() -> None:
    body = json.dumps({"page_count": 500, "results": [openverse_result()]})
    found = Openverse().parse(page(body), 220)
    assert isinstance(found, Page)
    assert found.next is None  # 240 results of a query are all that it gives


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"results": 3}', "[" * 100_000])
@pytest.mark.parametrize("place", [Openverse(), Flickr("key")], ids=lambda place: place.name)
def test_answers_that_are_none(place: Backend, body: str) -> None:
    assert isinstance(place.parse(page(body), 0), Blocked)


def test_flickr_photos() -> None:
    photos = [
        {"id": "7", "owner": "9@N1", "ownername": "Jane", "title": "Can", "license": "4",
         "url_l": "https://live.test/7_b.jpg", "width_l": 1024, "height_l": "683", "url_m": "https://live.test/7.jpg"},
        {"id": "8", "owner": "9@N1", "license": 99, "url_z": "https://live.test/8_z.jpg"},
        {"id": "9", "owner": "9@N1"},
    ]  # fmt: skip
    body = json.dumps({"stat": "ok", "photos": {"page": 1, "pages": 2, "photo": photos}})
    assert Flickr("key").parse(page(body), 0) == Page(
        (
            Hit(
                "https://live.test/7_b.jpg",
                page="https://www.flickr.com/photos/9@N1/7",
                licence="https://creativecommons.org/licenses/by/2.0/",
                creator="Jane",
                title="Can",
                width=1024,
                height=683,
            ),
            Hit(
                "https://live.test/8_z.jpg",
                page="https://www.flickr.com/photos/9@N1/8",
                licence="Flickr's licence 99",
            ),
        ),
        100,
    )


@pytest.mark.parametrize(("code", "final"), [(100, True), (105, False)])
def test_flickr_errors(code: int, final: bool) -> None:
    body = json.dumps({"stat": "fail", "code": code, "message": "Invalid API Key (Key has invalid format)"})
    assert Flickr("key").parse(page(body), 0) == Blocked(
        "sent an error: Invalid API Key (Key has invalid format)", final=final
    )


@pytest.mark.parametrize(
    ("place", "host", "expected"),
    [
        (Google(), "www.google.com", {"q": ["aérosol & can"], "start": ["200"]}),
        (Bing(), "www.bing.com", {"q": ["aérosol & can"], "first": ["201"]}),
        (Openverse(), "api.openverse.org", {"q": ["aérosol & can"], "page": ["11"], "page_size": ["20"]}),
        (Flickr("k1"), "api.flickr.com", {"text": ["aérosol & can"], "page": ["3"], "api_key": ["k1"]}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_addresses_of_pages(place: Backend, host: str, expected: dict[str, list[str]]) -> None:
    parts = urlsplit(place.search_url("aérosol & can", 200))
    assert (parts.scheme, parts.hostname) == ("https", host)
    assert parse_qs(parts.query).items() >= expected.items()


PAGES = [
    google_script(("https://a.test/1.jpg", 6, 8, "https://a.test/", "A \\u201ccan\\u201d")),
    '<a href="/imgres?imgurl=https://a.test/x.jpg&amp;imgrefurl=https://a.test/p&amp;h=30&amp;w=40">x</a>',
    bing_page({"murl": "https://a.test/1.jpg", "t": "x"}),
    json.dumps({"page_count": 3, "results": [openverse_result()]}),
    json.dumps({"stat": "ok", "photos": {"pages": 2, "photo": [{"id": 1, "owner": "x", "url_l": "https://a.test/"}]}}),
]


@given(st.sampled_from(PAGES), st.integers(min_value=0), st.integers(0, 30), st.text(max_size=8))
def test_damaged_pages_never_break_a_parser(body: str, at: int, cut: int, put: str) -> None:
    at %= len(body)
    damaged = page(body[:at] + put + body[at + cut :])
    for place in (Google(), Bing(), Openverse(), Flickr("key")):
        assert isinstance(place.parse(damaged, 0), Page | Blocked)


def test_a_token_goes_into_a_header_alone() -> None:
    place = Openverse("t0ken")
    assert place.headers["Authorization"] == "Bearer t0ken"
    assert "t0ken" not in place.search_url("can", 0)
    assert "Authorization" not in Openverse().headers


def test_keys_come_from_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("abc123\n")
    assert open_backend("flickr", file).secret == "abc123"
    assert open_backend("openverse", file).secret == "abc123"
    assert open_backend("openverse").secret == open_backend("google").secret == ""


@pytest.mark.parametrize("name", ["google", "bing"])
def test_places_that_take_no_key(tmp_path: Path, name: BackendName) -> None:
    (tmp_path / "key").write_text("abc")
    with pytest.raises(ConfigError, match="takes no key"):
        open_backend(name, tmp_path / "key")


@pytest.mark.parametrize("text", ["", "two words", "key\nother", "clé"])
def test_files_that_hold_no_key(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    with pytest.raises(DataError, match="does not hold one key") as error:
        open_backend("flickr", tmp_path / "key")
    assert "words" not in error.value.message


def test_flickr_without_a_key() -> None:
    with pytest.raises(ConfigError, match="needs an API key"):
        open_backend("flickr")
