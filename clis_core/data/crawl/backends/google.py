"""Pages of Google Images go in, pictures come out, if Google sends any to a program.

Nothing here is documented by Google. Observed by others: a program is mostly sent a page without results that needs
JavaScript (icrawler's issue 135, open since 2025; many other projects say the same), or HTTP 429 after a redirect to
``/sorry/``, or, in Europe, a page of consent. Where results come, each stands in a script of the page as a thumbnail
and an original, ``["https://...",height,width]``, and then ``"2003":[null,"...","address of the page","title"``; pages
for browsers without scripts have links ``/imgres?imgurl=...&imgrefurl=...&h=...&w=...``. Google's robots.txt and terms
forbid automated searches, and its custom search API takes no new customers.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from clis_core.data.crawl.backends.backend import Blocked, Hit, Page, pixels_of, text_of, without_results
from clis_core.data.crawl.response import Fetched

PAGE = 100
_ORIGINAL = re.compile(r'\["(https?:(?:[^"\\]|\\.)+)",(\d{1,6}),(\d{1,6})\]')
_SHOWN_ON = re.compile(r'"2003":\[null,"[^"]*","(https?:(?:[^"\\]|\\.)+)","((?:[^"\\]|\\.)*)"')
_LINK = re.compile(r'href="(/imgres\?[^"]{1,4000})"')
_OWN = ("gstatic.com", "google.com", "googleusercontent.com", "ggpht.com")
_NOTHING = ("did not match any", "no results found for")


class Google:
    """Google Images, best effort."""

    name = "google"
    sentences = True
    delay = 5.0
    headers: Mapping[str, str] = {"Accept": "text/html", "Accept-Language": "en"}
    secret = ""
    warning = (
        "Google sends programs a page that needs JavaScript, so this will most likely find nothing. "
        "Other ways: --backend openverse (a licence for each picture), --backend flickr, or --urls FILE."
    )

    def search_url(self, text: str, offset: int) -> str:
        """The page that icrawler 0.6.10 asks for."""
        values = {"q": text, "tbm": "isch", "hl": "en", "ijn": offset // PAGE, "start": offset}
        return f"https://www.google.com/search?{urlencode(values)}"

    def parse(self, page: Fetched, offset: int) -> Page | Blocked:
        """The originals of a page; Google's own thumbnails are left out."""
        hits = tuple(_from_scripts(page.text)) or tuple(_from_links(page.text))
        if hits:
            return Page(hits, offset + PAGE)
        return without_results(page, offset, _NOTHING)


def _from_scripts(text: str) -> Iterator[Hit]:
    found = [m for m in _ORIGINAL.finditer(text) if not _is_own(_unescaped(m[1]))]
    for number, match in enumerate(found, start=1):
        end = found[number].start() if number < len(found) else len(text)
        shown = _SHOWN_ON.search(text, match.end(), min(end, match.end() + 4000))
        yield Hit(
            _unescaped(match[1]),
            page=_unescaped(shown[1]) if shown else None,
            title=text_of(_unescaped(shown[2])) if shown else None,
            width=pixels_of(match[3]),
            height=pixels_of(match[2]),
        )


def _from_links(text: str) -> Iterator[Hit]:
    for match in _LINK.finditer(text):
        values = {k: v[0] for k, v in parse_qs(urlsplit(html.unescape(match[1])).query).items()}
        if "imgurl" in values:
            width, height = pixels_of(values.get("w")), pixels_of(values.get("h"))
            yield Hit(values["imgurl"], page=values.get("imgrefurl"), width=width, height=height)


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _is_own(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
    except ValueError:
        return False
    return host.endswith(_OWN)
