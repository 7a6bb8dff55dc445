"""A response of a host goes in; what it says comes out: its bytes unpacked, whether to try again, and when."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may be another one a while later."""


class Fetched(NamedTuple):
    """A response.

    Attributes:
        status: of HTTP.
        address: where it came from in the end, after redirects.
        headers: lines by name in lower case.
        body: its bytes, unpacked.
    """

    status: int
    address: str
    headers: Mapping[str, Sequence[str]]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")


class FetchError(Exception):
    """An address that gave nothing.

    Args:
        reason: why, in words that can be counted.
        detail: more about this one.
        status: of HTTP, where there was a response.
        passing: whether it may be otherwise a while later.
        after: seconds that the host asks to wait.
    """

    def __init__(
        self,
        reason: str,
        detail: str = "",
        *,
        status: int | None = None,
        passing: bool = False,
        after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.status, self.passing, self.after = reason, detail, status, passing, after


def refusal(fetched: Fetched) -> FetchError:
    """The error that a status other than 200 is."""
    return FetchError(
        f"HTTP {fetched.status}",
        " ".join(fetched.text[:200].split()),
        status=fetched.status,
        passing=fetched.status in PASSING,
        after=seconds_to_wait(fetched),
    )


def seconds_to_wait(fetched: Fetched) -> float | None:
    """Seconds that a host asks to wait: ``Retry-After``, as a number or a date."""
    text = (fetched.headers.get("retry-after") or [""])[0].strip()
    if text.isdigit():
        return float(text[:9])
    with contextlib.suppress(ValueError, TypeError):
        when = parsedate_to_datetime(text)
        return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None


def unpack(body: bytes, headers: Mapping[str, Sequence[str]], most: int, status: int) -> bytes:
    """The body of a host that compresses unasked."""
    coding = ", ".join(headers.get("content-encoding", ())).strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError("unknown content coding", coding[:40], status=status)
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        body = unpacking.decompress(body, most + 1)
    except zlib.error:
        raise FetchError("damaged gzip", status=status) from None
    if len(body) > most:
        raise FetchError("larger than the limit", f"{most} bytes", status=status)
    if not unpacking.eof:
        raise FetchError("cut short", "within gzip", status=status, passing=True)
    return body
