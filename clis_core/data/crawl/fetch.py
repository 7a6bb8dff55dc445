"""A stranger's web address goes in; its bytes come out, within limits of size, time and politeness, or why not."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions

from clis_core.data.crawl.guard import RefusedHostError, UnknownHostError
from clis_core.data.crawl.response import PASSING, Fetched, FetchError, refusal, unpack
from clis_core.data.crawl.robots import RobotRules, opt_out

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK = 64 << 10
_MOST_ADDRESS = 8192


@dataclass(frozen=True)
class Limits:
    """What a fetch may cost.

    Attributes:
        most_bytes: of a body, as sent and unpacked.
        wait: seconds for a connection, and for each further piece of a response.
        seconds: for a whole response.
        redirects: that are followed.
        attempts: at an address whose failure may pass.
        backoff: seconds before the second attempt, twice as many before each further one, times 0.5 to 1.5.
        most_wait: seconds between two attempts at most; a host that asks for more is left alone.
        delay: seconds between two requests to one host.
    """

    most_bytes: int = 32 << 20
    wait: float = 10.0
    seconds: float = 60.0
    redirects: int = 5
    attempts: int = 3
    backoff: float = 1.0
    most_wait: float = 60.0
    delay: float = 0.5


class StoppedError(Exception):
    """The crawl was asked to stop."""


class Fetcher:
    """Fetches addresses politely, from several threads.

    Args:
        session: sends the requests; its adapters decide what may be connected to.
        limits: of each fetch.
        stop: is set when everything shall end.
        seed: of the random part of waiting.
        robots: obey each host's robots.txt.
    """

    def __init__(
        self, session: requests.Session, limits: Limits, stop: threading.Event, *, seed: int = 0, robots: bool = True
    ) -> None:
        self._session = session
        self._limits = limits
        self._stop = stop
        self._seed = seed
        self._robots = robots
        self._turns = Turns(limits.delay)
        self._rules: OrderedDict[str, RobotRules] = OrderedDict()

    def picture(self, address: str) -> Fetched:
        """Fetch a picture, unless its owner keeps it out.

        Raises:
            FetchError: there is none to be had.
            StoppedError: the crawl was asked to stop.
        """
        return self._try(address, {"Accept": "image/*,*/*;q=0.5"}, self._limits.delay, check=True)

    def page(self, address: str, headers: Mapping[str, str], delay: float) -> Fetched:
        """Fetch a page of search results; neither robots.txt nor opt-outs of pictures are looked at.

        Raises:
            FetchError: there was none.
            StoppedError: the crawl was asked to stop.
        """
        return self._try(address, headers, delay, check=False)

    def _try(self, address: str, headers: Mapping[str, str], delay: float, *, check: bool) -> Fetched:
        chance = random.Random(f"{self._seed} {address}")
        attempts = 0
        while True:
            try:
                fetched = self._follow(address, headers, delay, check=check)
                if fetched.status == requests.codes.ok:
                    return fetched
                raise refusal(fetched)
            except FetchError as error:
                wait = max(self._limits.backoff * 2**attempts * (0.5 + chance.random()), error.after or 0.0)
                attempts += 1
                if not error.passing or attempts >= self._limits.attempts or wait > self._limits.most_wait:
                    raise
            self._pause(wait)

    def _follow(self, address: str, headers: Mapping[str, str], delay: float, *, check: bool) -> Fetched:
        """One attempt: the response at the end of the redirects, whatever its status."""
        for _ in range(self._limits.redirects + 1):
            host = _host(address)
            if check and self._robots and not self._rules_of(address).allows(address):
                raise FetchError("robots.txt forbids it", host)
            fetched = self._once(address, headers, host, delay, check=check)
            to = fetched.headers.get("location")
            if fetched.status not in _REDIRECTS or not to:
                return fetched
            address = _joined(address, to[0])
        raise FetchError("too many redirects")

    def _once(self, address: str, headers: Mapping[str, str], host: str, delay: float, *, check: bool) -> Fetched:
        self._pause(self._turns.take(host, delay))
        end = time.monotonic() + self._limits.seconds  # the wait for a turn is ours, not the host's
        # No compression: what a few bytes unpack to would have no limit in older versions of urllib3.
        sent = {"Accept-Encoding": "identity", **headers}
        with _own_words():
            wait = (self._limits.wait, self._limits.wait)
            response = self._session.get(address, headers=sent, timeout=wait, stream=True, allow_redirects=False)
            with contextlib.closing(response):
                got = {k.lower(): response.raw.headers.getlist(k) for k in response.raw.headers}
                status = response.status_code
                if check and status == requests.codes.ok and (why := opt_out(got)):
                    raise FetchError("opt-out header", why, status=status)
                body = b"" if status in _REDIRECTS else self._body(response, got, status, end)
        return Fetched(status, address, got, body)

    def _body(
        self, response: requests.Response, headers: Mapping[str, Sequence[str]], status: int, end: float
    ) -> bytes:
        most = self._limits.most_bytes
        too_large = FetchError("larger than the limit", f"{most} bytes", status=status)
        claimed = (headers.get("content-length") or [""])[0]
        if claimed.isdigit() and int(claimed) > most:
            raise too_large
        parts, size = [], 0
        while part := response.raw.read1(_CHUNK, decode_content=False):
            parts.append(part)
            size += len(part)
            if size > most:
                raise too_large
            if time.monotonic() > end:
                raise FetchError("too slow", f"{size} bytes in {self._limits.seconds:g} s", status=status, passing=True)
            if self._stop.is_set():
                raise StoppedError
        return unpack(b"".join(parts), headers, most, status)

    def _rules_of(self, address: str) -> RobotRules:
        parts = urlsplit(address)
        place = f"{parts.scheme}://{parts.netloc}"
        if place not in self._rules:
            self._rules[place] = self._read_rules(f"{place}/robots.txt")
            if len(self._rules) > 5000:
                self._rules.popitem(last=False)
        return self._rules[place]

    def _read_rules(self, address: str) -> RobotRules:
        """Rules of a host; a host that has none forbids nothing, one whose rules cannot be read everything."""
        try:
            fetched = self._follow(address, {}, self._limits.delay, check=False)
        except FetchError as error:
            if error.passing or error.reason in ("private address", "no such host"):
                raise
            return RobotRules("")
        if fetched.status in PASSING:
            said = refusal(fetched)
            raise FetchError("robots.txt unreachable", said.reason, passing=True, after=said.after)
        return RobotRules(fetched.text if fetched.status == requests.codes.ok else "")

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds) if seconds > 0 else self._stop.is_set():
            raise StoppedError


class Turns:
    """Gives requests to one host their turn, one every few seconds.

    Args:
        delay: seconds between two turns.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._next: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, host: str, delay: float | None = None) -> float:
        """Take the next turn; the seconds until then come out."""
        now = time.monotonic()
        with self._lock:
            if len(self._next) > 10_000:
                self._next = {h: at for h, at in self._next.items() if at > now}
            at = max(now, self._next.get(host, now))
            self._next[host] = at + (self._delay if delay is None else delay)
        return at - now


def _host(address: str) -> str:
    """The host of an address that can be fetched.

    Raises:
        FetchError: it is no address of the web.
    """
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or len(address) > _MOST_ADDRESS:
        raise FetchError("no web address", address[:200])
    return host


def _joined(address: str, to: str) -> str:
    """Where a ``Location`` leads, which may be relative and in bytes of UTF-8."""
    with contextlib.suppress(UnicodeError):
        to = to.encode("latin-1").decode("utf-8")
    try:
        return urljoin(address, to.strip())
    except ValueError:
        return to


@contextlib.contextmanager
def _own_words() -> Iterator[None]:
    """Turn what requests and urllib3 raise into reasons; their texts hold addresses, which may hold a key."""
    try:
        yield
    except RefusedHostError as error:
        raise FetchError("private address", str(error)) from None
    except UnknownHostError as error:
        raise FetchError("no such host", str(error), passing=error.passing) from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise FetchError("time-out", passing=True) from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError):
        raise FetchError("TLS failed") from None
    except (requests.ConnectionError, urllib3.exceptions.ProtocolError) as error:
        short = any(isinstance(cause, urllib3.exceptions.IncompleteRead) for cause in error.args)
        raise FetchError("cut short" if short else "connection failed", passing=True) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise FetchError("no web address", type(error).__name__) from None
    except OSError as error:
        raise FetchError("connection failed", type(error).__name__, passing=True) from None
