"""Pages of Bing Images go in, pictures come out, if Bing sends any to a program.

Nothing here is documented by Microsoft, whose image search API has been shut down. Observed by others: each result is
``<a class="iusc" m="...">``, whose attribute ``m`` is a JSON object with the picture's address ``murl``, its page
``purl`` and its title ``t``; ``first`` is the number of the first result. How many searches a day Bing answers is
unknown, and so is what it sends when it does not want to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urlencode

from clis_core.data.crawl.backends.backend import Blocked, Hit, Page, text_of, without_results
from clis_core.data.crawl.response import Fetched

PAGE = 35
_MARKS = str.maketrans("", "", "\ue000\ue001")  # around the words that were searched for
_NOTHING = ("there are no results for", "no results found for", "we didn't find any results")


class Bing:
    """Bing Images, best effort."""

    name = "bing"
    sentences = True
    delay = 3.0
    headers: Mapping[str, str] = {"Accept": "text/html", "Accept-Language": "en"}
    secret = ""
    warning = "Bing documents no search for programs; it may answer with anything at any time."

    def search_url(self, text: str, offset: int) -> str:
        """The part of a page that a browser asks for when its user scrolls down."""
        values = {"q": text, "first": offset + 1, "count": PAGE, "mmasync": 1, "adlt": "strict"}
        return f"https://www.bing.com/images/async?{urlencode(values)}"

    def parse(self, page: Fetched, offset: int) -> Page | Blocked:
        """The pictures of a page."""
        reader = _Results()
        reader.feed(page.text)
        if reader.seen:
            return Page(tuple(reader.hits), offset + reader.seen)
        return without_results(page, offset, _NOTHING)


class _Results(HTMLParser):
    """Collects the results of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.hits: list[Hit] = []
        self.seen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a link that is a result."""
        values = dict(attrs)
        if tag != "a" or "iusc" not in (values.get("class") or "").split():
            return
        self.seen += 1
        try:
            result = json.loads(values.get("m") or "")
        except (ValueError, RecursionError):
            return
        if isinstance(result, dict) and isinstance(result.get("murl"), str):
            title = result.get("t")
            title = title.translate(_MARKS) if isinstance(title, str) else None
            self.hits.append(Hit(result["murl"], page=text_of(result.get("purl")), title=text_of(title)))
