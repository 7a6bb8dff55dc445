"""Answers of Flickr's API go in, pictures come out, each with its licence and its owner.

Documented (https://www.flickr.com/services/api/flickr.photos.search.html): ``method=flickr.photos.search`` with
``api_key``, ``text``, ``per_page`` (at most 500), ``page`` and ``extras``, of which ``license``, ``owner_name`` and
``url_*`` are asked for; at most 4,000 results of a query; an error is ``{"stat": "fail", "code": ..., "message": ...}``
with HTTP status 200. The names of the licences are those of ``flickr.photos.licenses.getInfo``. An application shall
stay below 3,600 requests an hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from clis_core.data.crawl.backends.backend import Blocked, Hit, Page, json_object, pixels_of, text_of
from clis_core.data.crawl.response import Fetched

PAGE = 100
DEEPEST = 4000
_SIZES = ("l", "c", "z", "m")
"""1024, 800, 640 and 500 pixels on the long side."""
_UNAVAILABLE = 105
_CC = "https://creativecommons.org/licenses"
LICENCES = {
    "0": "All Rights Reserved",
    "1": f"{_CC}/by-nc-sa/2.0/",
    "2": f"{_CC}/by-nc/2.0/",
    "3": f"{_CC}/by-nc-nd/2.0/",
    "4": f"{_CC}/by/2.0/",
    "5": f"{_CC}/by-sa/2.0/",
    "6": f"{_CC}/by-nd/2.0/",
    "7": "No known copyright restrictions",
    "8": "United States Government Work",
    "9": "https://creativecommons.org/publicdomain/zero/1.0/",
    "10": "https://creativecommons.org/publicdomain/mark/1.0/",
}


class Flickr:
    """Flickr, by its API.

    Args:
        key: an API key.
    """

    name = "flickr"
    sentences = False
    delay = 1.0
    headers: Mapping[str, str] = {"Accept": "application/json"}
    warning = (
        "Most pictures of Flickr are All Rights Reserved: look at the licence of each one (its json in the shards)."
    )

    def __init__(self, key: str) -> None:
        self.secret = key

    def search_url(self, text: str, offset: int) -> str:
        """A page of results; the address holds the key."""
        values = {
            "method": "flickr.photos.search",
            "api_key": self.secret,
            "text": text,
            "sort": "relevance",
            "media": "photos",
            "content_type": 1,
            "safe_search": 1,
            "extras": "license,owner_name," + ",".join(f"url_{size}" for size in _SIZES),
            "per_page": PAGE,
            "page": offset // PAGE + 1,
            "format": "json",
            "nojsoncallback": 1,
        }
        return f"https://api.flickr.com/services/rest/?{urlencode(values)}"

    def parse(self, page: Fetched, offset: int) -> Page | Blocked:
        """The pictures of a page."""
        answer = json_object(page)
        if isinstance(answer, Blocked):
            return answer
        if answer.get("stat") != "ok":
            what = text_of(answer.get("message")) or "no reason"
            return Blocked(f"sent an error: {what}", final=answer.get("code") != _UNAVAILABLE)
        photos = answer.get("photos")
        results = photos.get("photo") if isinstance(photos, dict) else None
        if not isinstance(photos, dict) or not isinstance(results, list):
            return Blocked("sent an answer without photos")
        hits = tuple(hit for result in results if (hit := _hit(result)) is not None)
        pages = photos.get("pages")
        more = results and isinstance(pages, int) and offset // PAGE + 1 < pages and offset + PAGE < DEEPEST
        return Page(hits, offset + PAGE if more else None)


def _hit(result: Any) -> Hit | None:
    if not isinstance(result, dict):
        return None
    size = next((s for s in _SIZES if isinstance(result.get(f"url_{s}"), str)), None)
    if size is None:
        return None
    licence = str(result.get("license", ""))
    owner, number = text_of(result.get("owner")), text_of(result.get("id"))
    return Hit(
        result[f"url_{size}"],
        page=f"https://www.flickr.com/photos/{owner}/{number}" if owner and number else None,
        licence=LICENCES.get(licence, f"Flickr's licence {licence}") if licence else None,
        creator=text_of(result.get("ownername")),
        title=text_of(result.get("title")),
        width=pixels_of(result.get(f"width_{size}")),
        height=pixels_of(result.get(f"height_{size}")),
    )
