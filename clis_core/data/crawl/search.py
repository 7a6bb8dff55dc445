"""A query goes in; the best hits for it come out, in order and each address once, or what came instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import requests

from clis_core.data.crawl.backends.backend import Backend, Blocked, Hit, Page
from clis_core.data.crawl.fetch import Fetcher
from clis_core.data.crawl.queries import Query
from clis_core.data.crawl.response import FetchError

MOST_PAGES = 60


class Found(NamedTuple):
    """A hit and the text that it was found for."""

    hit: Hit
    text: str


Search = Callable[[Query, int], list[Found] | Blocked]
"""Finds at most so many hits for a query; no hit at all is an answer as well."""


@dataclass(frozen=True)
class WebSearch:
    """Searches a place of the web.

    Attributes:
        backend: the place.
        fetcher: fetches its pages.
    """

    backend: Backend
    fetcher: Fetcher

    def __call__(self, query: Query, most: int) -> list[Found] | Blocked:
        """The best hits: by name and definition, and where that gives too few, by name alone."""
        texts = [query.text, query.fallback] if self.backend.sentences else [query.fallback]
        found: dict[str, Found] = {}
        for text in dict.fromkeys(texts):
            offset: int | None = 0
            for _ in range(MOST_PAGES):
                if offset is None or len(found) >= most:
                    break
                page = self._page(text, offset)
                if isinstance(page, Blocked):
                    return page
                before = len(found)
                for hit in page.hits:
                    found.setdefault(hit.address, Found(hit, text))
                offset = page.next if len(found) > before else None  # the same again: the place has no more
        return list(found.values())[:most]

    def _page(self, text: str, offset: int) -> Page | Blocked:
        try:
            page = self.fetcher.page(self.backend.search_url(text, offset), self.backend.headers, self.backend.delay)
        except FetchError as error:
            did = "could not be reached" if error.status is None else "answered"
            detail = f" ({error.detail[:120]})" if error.detail else ""
            what = self._without_secret(f"{did}: {error.reason}{detail}")
            return Blocked(what, final=error.status == requests.codes.unauthorized)
        answer = self.backend.parse(page, offset)
        return Blocked(self._without_secret(answer.what), answer.final) if isinstance(answer, Blocked) else answer

    def _without_secret(self, text: str) -> str:
        return text.replace(self.backend.secret, "***") if self.backend.secret else text


@dataclass(frozen=True)
class AddressList:
    """Looks addresses up that the user has collected.

    Attributes:
        hits: addresses by category id.
    """

    hits: dict[int, list[Hit]]

    def __call__(self, query: Query, most: int) -> list[Found] | Blocked:
        """The addresses of the query's category, the first ones."""
        return [Found(hit, "") for hit in self.hits.get(query.category.id, [])[:most]]
