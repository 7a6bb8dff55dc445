"""A web address that the user has typed goes in; the bytes of the file there come out."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

import requests
from requests.utils import get_environ_proxies

from clis_core import __version__
from clis_core.data.crawl.fetch import Fetcher, Limits
from clis_core.data.crawl.guard import GuardedAdapter, is_public
from clis_core.data.crawl.response import FetchError
from clis_core.data.picture import MAX_BYTES
from clis_core.errors import DataError

LIMITS = Limits(most_bytes=MAX_BYTES, delay=0.0)
"""64 MiB, a minute and five redirects a file; three attempts where a failure may pass."""


class WebPictures:
    """Fetches what is at addresses; may be used by several threads.

    A host of the user's own network is fine where the user has named it. A public host is not followed into that
    network by its redirects.

    Args:
        limits: of each fetch.
    """

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._fetchers = {
            private: Fetcher(_session(private, limits.seconds), limits, threading.Event(), robots=False)
            for private in (False, True)
        }

    def read(self, address: str) -> bytes:
        """The bytes at an address.

        Raises:
            DataError: there are none to be had.
        """
        private = bool(get_environ_proxies(address)) or _is_private(address)  # behind a proxy it is the proxy's guard
        try:
            return self._fetchers[private].page(address, {"Accept": "image/*,*/*;q=0.5"}, 0.0).body
        except FetchError as error:
            told = error.status is None and error.detail and error.detail != address  # else the detail is a web page
            detail = f" ({error.detail})" if told else ""
            raise DataError(
                f"{address} cannot be fetched: {error.reason}{detail}.",
                hint="Fetch it with another program, and name the file.",
            ) from None


def _session(private: bool, seconds: float) -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = f"clis/{__version__}"
    session.auth = lambda request: request  # no passwords of ~/.netrc
    for start in ("http://", "https://"):
        session.mount(start, GuardedAdapter(allow_private=private, seconds=seconds))
    return session


def _is_private(address: str) -> bool:
    """Whether the host that the user names is one of his own network; False where it is not known."""
    with contextlib.suppress(ValueError, OSError):
        host = urlsplit(address).hostname
        if host:
            found = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM)
            return not all(is_public(str(place[4][0])) for place in found)
    return False
