"""A server's answer in; what it says of a file, or why there is none of it, out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import requests
import urllib3.exceptions

from clis_core.data.shards.remote import shown
from clis_core.errors import ClisError, DataError

_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Remote:
    """What a server says of a file.

    Attributes:
        address: where it is.
        size: bytes; None where it does not say.
        tag: what changes with the file and may stand in ``If-Range``: a strong ETag, else the time of its last
            change; empty where there is neither.
    """

    address: str
    size: int | None
    tag: str


class PassingError(Exception):
    """An attempt failed, and another may not; ``after`` is how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def tag_of(response: requests.Response) -> str:
    """As in `Remote`."""
    tag = response.headers.get("ETag", "")
    # A weak one may stay where the bytes change.
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def total_of(response: requests.Response) -> int | None:
    """Bytes of the whole file."""
    if response.status_code == requests.codes.partial_content:
        found = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def refuse(response: requests.Response, address: str) -> None:
    """Raise for a response that is not the file."""
    status = response.status_code
    if status in (requests.codes.ok, requests.codes.partial_content):
        return
    if status in _PASSING:
        after = response.headers.get("Retry-After", "")
        raise PassingError(f"the server answers {status}", float(after) if after.isdigit() else 0.0)
    hint = "Look whether it has moved; or --base-url URL"
    raise DataError(f"{shown(address)}: the server answers {status}.", hint=hint)


@contextlib.contextmanager
def own_words(address: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into what may pass and what does not."""
    try:
        yield
    except (ClisError, PassingError):
        raise
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise PassingError("no answer in time") from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        why = getattr(
            error.args[0] if error.args else error, "reason", type(error).__name__
        )  # the rest has the address
        raise DataError(f"{shown(address)}: the connection is not safe: {why}.", hint="Or --base-url URL") from None
    except (requests.ConnectionError, urllib3.exceptions.ProtocolError):
        raise PassingError("the connection failed or was cut") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        why = type(error).__name__
        hint = "As in --base-url https://host/folder"
        raise DataError(f"{shown(address)} is no address that can be read: {why}.", hint=hint) from None
