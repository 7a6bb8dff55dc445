"""Answers of Openverse's API go in, openly licensed pictures come out, each with its licence and its creator.

Documented (https://api.openverse.org/v1/): ``GET /v1/images/`` with ``q``, ``page`` and ``page_size``; a result has
``url``, ``foreign_landing_url``, ``title``, ``creator``, ``license``, ``license_version``, ``license_url``, ``width``,
``height``. Without a token a page has at most 20 results and a query at most 240; a token, sent as
``Authorization: Bearer``, allows more requests and larger pages. Requests above the rate get HTTP 429; the rates are
the server's to choose, and the API tells those of a token at ``/v1/rate_limit/``. Its source has 100 requests a minute
and 10,000 a day with a token; without one others report 20 a minute and 200 a day. The terms forbid to scrape the
catalogue and to get around the limits. Observed, not documented: every word of ``q`` must occur in a picture's title,
description or tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from clis_core.data.crawl.backends.backend import Blocked, Hit, Page, json_object, pixels_of, text_of
from clis_core.data.crawl.response import Fetched

PAGE = 20
DEEPEST = 240


class Openverse:
    """Openverse, by its public API.

    Args:
        token: an access token, "" without one.
    """

    name = "openverse"
    sentences = False
    warning = ""

    def __init__(self, token: str = "") -> None:
        self.secret = token
        self.delay = 1.0 if token else 3.0
        self.headers: Mapping[str, str] = {"Accept": "application/json"}
        if token:
            self.headers = {**self.headers, "Authorization": f"Bearer {token}"}
        else:
            self.warning = (
                "Openverse answers few searches a day without a token. Register an application at "
                "https://api.openverse.org/v1/#tag/auth and name a file with its access token: --key-file FILE"
            )

    def search_url(self, text: str, offset: int) -> str:
        """A page of results."""
        values = {"q": text, "page": offset // PAGE + 1, "page_size": PAGE}
        return f"https://api.openverse.org/v1/images/?{urlencode(values)}"

    def parse(self, page: Fetched, offset: int) -> Page | Blocked:
        """The pictures of a page."""
        answer = json_object(page)
        if isinstance(answer, Blocked):
            return answer
        results = answer.get("results")
        if not isinstance(results, list):
            return Blocked("sent an answer without results")
        hits = tuple(hit for result in results if (hit := _hit(result)) is not None)
        pages = answer.get("page_count")
        more = results and isinstance(pages, int) and offset // PAGE + 1 < pages and offset + PAGE < DEEPEST
        return Page(hits, offset + PAGE if more else None)


def _hit(result: Any) -> Hit | None:
    if not isinstance(result, dict) or not isinstance(result.get("url"), str):
        return None
    code, version = text_of(result.get("license")), text_of(result.get("license_version"))
    named = " ".join(part for part in (code, version) if part) or None
    return Hit(
        result["url"],
        page=text_of(result.get("foreign_landing_url")),
        licence=text_of(result.get("license_url")) or named,
        creator=text_of(result.get("creator")),
        title=text_of(result.get("title")),
        width=pixels_of(result.get("width")),
        height=pixels_of(result.get("height")),
    )
