"""A web of one process: a server on 127.0.0.1 that plays every host, and a session's adapter that leads there."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from requests import PreparedRequest, Response

from clis_core.data.crawl.fetch import Limits
from clis_core.data.crawl.guard import GuardedAdapter

FAST = Limits(wait=2.0, seconds=3.0, attempts=2, backoff=0.01, most_wait=2.0, delay=0.0)
"""Limits that let tests end soon."""
Handler = Callable[["Call"], None]


class Call:
    """A request, and the way to answer it.

    Attributes:
        query: the values of the address.
        headers: of the request.
        number: how many requests for this path there were before.
    """

    def __init__(self, http: BaseHTTPRequestHandler, query: dict[str, str], number: int) -> None:
        self.http, self.query, self.headers, self.number = http, query, http.headers, number

    def answer(self, body: bytes | str = b"", status: int = 200, **headers: str) -> None:
        """A whole response; an underscore in a header's name stands for a hyphen."""
        data = body.encode() if isinstance(body, str) else body
        self.start(status, **{"Content_Length": str(len(data))} | headers)
        self.http.wfile.write(data)

    def start(self, status: int = 200, **headers: str) -> None:
        """Status and headers alone."""
        self.http.send_response(status)
        for name, value in headers.items():
            self.http.send_header(name.replace("_", "-"), value)
        self.http.end_headers()

    def send(self, data: bytes) -> None:
        """A piece of the body."""
        self.http.wfile.write(data)
        self.http.wfile.flush()


class FakeWeb:
    """Hosts and their paths, each with a body or a function that answers.

    Attributes:
        routes: by host and path, such as ``pictures.test/a.jpg``; a host alone answers for all its other paths.
        asked: host, path and query of every request, in order.
    """

    def __init__(self) -> None:
        self.routes: dict[str, bytes | str | Handler] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        web = self

        class Http(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    web._answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Http)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def count(self, place: str) -> int:
        """Requests for a host and path."""
        return sum(line.partition("?")[0] == place for line in self.asked)

    def adapters(self) -> dict[str, ToLocal]:
        """Adapters that lead every address here."""
        return {start: ToLocal(self.port) for start in ("http://", "https://")}

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(http.path)
        place = parts.path.lstrip("/")
        number = self.count(place)
        self.asked.append(place + (f"?{parts.query}" if parts.query else ""))
        route = self.routes.get(place)
        if route is None and not place.endswith("/robots.txt"):
            route = self.routes.get(place.partition("/")[0])
        call = Call(http, {k: v[0] for k, v in parse_qs(parts.query).items()}, number)
        if route is None:
            call.answer("nothing here", 404)
        elif callable(route):
            route(call)
        else:
            call.answer(route)
        if http.close_connection:
            http.wfile.flush()


class ToLocal(GuardedAdapter):
    """Sends requests for any host to the server of a `FakeWeb`."""

    def __init__(self, port: int, seconds: float = FAST.seconds) -> None:
        super().__init__(allow_private=True, seconds=seconds)
        self._port = port

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        """Send it there; the host becomes the first part of the path."""
        parts = urlsplit(str(request.url))
        query = f"?{parts.query}" if parts.query else ""
        request.url = f"http://127.0.0.1:{self._port}/{parts.netloc}{parts.path or '/'}{query}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def web() -> Iterator[FakeWeb]:
    """An empty web."""
    made = FakeWeb()
    yield made
    made.close()


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to reach another machine fail."""
    forbid_others(monkeypatch.setattr)


def forbid_others(patch: Callable[[Any, str, Any], None]) -> None:
    """Make every attempt to reach another machine fail."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def connect_local(self: socket.socket, address: Any) -> None:
        assert str(address[0]) in ("127.0.0.1", "::1"), f"a test wanted to connect to {address}"
        connect(self, address)

    def resolve_local(host: Any, *args: Any, **kwargs: Any) -> Any:
        assert host == "localhost" or _is_number(str(host)), f"a test wanted to resolve {host}"
        return resolve(host, *args, **kwargs)

    patch(socket.socket, "connect", connect_local)
    patch(socket, "getaddrinfo", resolve_local)


def _is_number(host: str) -> bool:
    """Whether a host is an IP address, in whatever notation, so that no name server is asked."""
    with contextlib.suppress(OSError):
        return bool(socket.inet_aton(host))
    with contextlib.suppress(OSError):
        return bool(socket.inet_pton(socket.AF_INET6, host))
    return False


def photo(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """A picture that looks like no other."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 90} if kind == "JPEG" else {}) | options)
    return file.getvalue()


def jpeg(seed: int, **size: int) -> bytes:
    return encode(photo(seed, **size))
