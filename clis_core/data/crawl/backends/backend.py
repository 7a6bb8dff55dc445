"""What every place that is searched gives: the address of a page of results, and the pictures on such a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from clis_core.data.crawl.response import Fetched

MOST_TEXT = 500
"""Characters of a title or a name that are kept."""


@dataclass(frozen=True)
class Hit:
    """A picture that was found.

    Attributes:
        address: of the picture.
        page: address of the page that shows it, where it is known.
        licence: its address or its name, as the place that was searched states it; None where nothing is stated,
            which does not mean that the picture is free.
        creator: who is to be named, where it is known.
        title: what it is called there.
        width: pixels, as stated.
        height: pixels, as stated.
    """

    address: str
    page: str | None = None
    licence: str | None = None
    creator: str | None = None
    title: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Page:
    """A page of results.

    Attributes:
        hits: the pictures, best first.
        next: offset of the next page, None where this is the last one.
    """

    hits: tuple[Hit, ...]
    next: int | None


@dataclass(frozen=True)
class Blocked:
    """A search that was not answered.

    Attributes:
        what: what the place did instead; goes on behind its name: "sent a page that needs JavaScript".
        final: whether it is no use to ask for anything else either.
    """

    what: str
    final: bool = False


class Backend(Protocol):
    """A place that is searched.

    Attributes:
        name: by which the user names it.
        sentences: whether it finds something for a name with its definition; the others look for pictures whose
            description has every word, so that a name alone is better.
        delay: seconds between two searches.
        headers: of a search.
        secret: text that is never to be written anywhere, "" where there is none.
        warning: what its user must know, "" where there is nothing to say.
    """

    name: str
    sentences: bool
    delay: float
    headers: Mapping[str, str]
    secret: str
    warning: str

    def search_url(self, text: str, offset: int) -> str:
        """Address of the page of results that starts at an offset."""
        ...

    def parse(self, page: Fetched, offset: int) -> Page | Blocked:
        """The pictures on a page of results (HTTP status 200)."""
        ...


def without_results(page: Fetched, offset: int, nothing: Iterable[str]) -> Page | Blocked:
    """What a page of HTML without results is: the end of them, or one that search engines send to programs.

    Args:
        page: the page.
        offset: of its first result. Behind results, a page that is not known is the end of them; so is one that
            speaks of JavaScript, as every page of Google does.
        nothing: words, in lower case, by which the place says that it found nothing.
    """
    text, address = page.text.lower(), page.address
    if "/sorry/" in address or "unusual traffic" in text or "captcha" in text:
        return Blocked("sent a page that asks whether a person searches (captcha)")
    if "://consent." in address or "consent.google." in text or "before you continue" in text:
        return Blocked("sent a page that asks for consent to cookies")
    if offset or any(words in text for words in nothing):
        return Page((), None)
    if "/enablejs" in text or "enable javascript" in text or "javascript is disabled" in text:
        return Blocked("sent a page that needs JavaScript")
    return Blocked("sent a page without anything that is known")


def json_object(page: Fetched) -> dict[str, Any] | Blocked:
    """The JSON object that a page holds."""
    try:
        value = json.loads(page.body)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else Blocked("sent something that is no JSON object")


def text_of(value: Any) -> str | None:
    """A value of a page as text of limited length, None where there is none."""
    return (" ".join(value.split())[:MOST_TEXT] or None) if isinstance(value, str) else None


def pixels_of(value: Any) -> int | None:
    """A value of a page as a number of pixels, None where it is none."""
    if isinstance(value, str) and value.isdigit() and len(value) < 7:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000 else None
