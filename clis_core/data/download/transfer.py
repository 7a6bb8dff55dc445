"""The address of a large file in; the whole file on disk out, whatever the connection does in between.

A piece that has come is kept: `FILE.part`, and beside it what the server said of the file, so that the next attempt,
or the next process, asks for the rest alone, and begins anew where the file has changed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3.exceptions

from clis_core import __version__
from clis_core.errors import JSON_DAMAGE, ClisError, DataError
from clis_core.files import sync_folder, write_text
from clis_core.report import Reporter

PART = ".part"
MB = 1_000_000
MOST_UNSTATED = 4_000_000_000
"""Bytes that are taken of a file whose size nobody states."""
_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_NO_HEAD = (405, 501)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect: seconds for a connection.
        silence: seconds without a byte.
        attempts: in a row that bring nothing new.
        backoff: seconds before the second of these, twice as many before each further one.
        most_wait: seconds between two attempts at most, whatever a server asks for.
        progress: bytes that are something new.
    """

    connect: float = 10.0
    silence: float = 30.0
    attempts: int = 6
    backoff: float = 1.0
    most_wait: float = 60.0
    progress: int = _PIECE


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


class WrongBytesError(Exception):
    """A file that came whole, and is not the one that it should be; it has been thrown away."""


class _PassingError(Exception):
    """An attempt failed, and another may not; ``after`` is how many seconds the server wants to be left alone."""

    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after


def open_session() -> requests.Session:
    """A session that says who asks and takes the user's proxies."""
    session = requests.Session()
    # Packed on the way, neither ranges nor sizes would mean bytes of the file.
    session.headers.update({"User-Agent": f"clis/{__version__}", "Accept-Encoding": "identity"})
    return session


def look(session: requests.Session, address: str, patience: Patience) -> Remote:
    """Ask for the size of a file without its bytes.

    Raises:
        DataError: the server cannot be reached, or does not have it.
    """
    for attempt in range(patience.attempts):
        try:
            return _look(session, address, patience)
        except _PassingError as error:
            if attempt + 1 == patience.attempts:
                raise _unreachable(address, str(error)) from None
            time.sleep(_wait(patience, attempt, error.after))
    raise AssertionError("patience has no attempts")


def fetch(
    session: requests.Session,
    remote: Remote,
    path: Path,
    *,
    sha256: str | None,
    patience: Patience,
    reporter: Reporter,
) -> None:
    """Fetch a file, going on behind what is there of it.

    Args:
        session: sends the requests.
        remote: of `look`.
        path: the file to make; its folder is there. Until it is whole and checked it is called ``path.part``.
        sha256: of the whole; None where it is not known.
        patience: with the server.
        reporter: gets progress.

    Raises:
        DataError: the server does not have it, brings nothing new any more, or the disk is full.
        WrongBytesError: all has come, and it is not the file.
    """
    part = path.with_name(path.name + PART)
    best = failed = 0
    while not _is_whole(part, remote, sha256 is not None):
        try:
            _attempt(session, remote, part, sha256 is not None, patience, reporter)
        except _PassingError as error:
            have = _size(part)
            failed, best = (0, have) if have >= best + patience.progress else (failed + 1, best)
            if failed >= patience.attempts:
                raise _unreachable(remote.address, f"{error}; {have} bytes of it are kept in {part}") from None
            reporter.info(f"{path.name}: {error}; going on at byte {have}")
            time.sleep(_wait(patience, max(0, failed - 1), error.after))
        else:
            break
    if sha256 is not None:
        found = _digest(part, path.name, reporter)
        if found != sha256:
            discard(path)
            raise WrongBytesError(f"its sha256 is {found}, not {sha256}")
    part.replace(path)
    _note(part).unlink(missing_ok=True)
    sync_folder(path.parent)


def have_of(path: Path) -> int:
    """Bytes of a file that an earlier attempt has left."""
    return _size(path.with_name(path.name + PART))


def discard(path: Path) -> None:
    """Throw a file away, and what is there of it."""
    part = path.with_name(path.name + PART)
    for file in (path, part, _note(part)):
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """A block whose "no space left" leaves it as a `DataError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise DataError(
            f"The disk is full: {path}; what has come is kept.",
            hint="Make room, and run the same command again: it goes on. Or take another disk: -o DIR",
        ) from None


def _look(session: requests.Session, address: str, patience: Patience) -> Remote:
    waits = (patience.connect, patience.silence)
    with _own_words(address):
        response = session.head(address, timeout=waits, allow_redirects=True)
        if response.status_code in _NO_HEAD:
            with session.get(address, headers={"Range": "bytes=0-0"}, timeout=waits, stream=True) as response:
                _refuse(response, address)
                return Remote(address, _total(response), _tag(response))
        _refuse(response, address)
        return Remote(address, _total(response), _tag(response))


def _attempt(
    session: requests.Session, remote: Remote, part: Path, checked: bool, patience: Patience, reporter: Reporter
) -> None:
    """One request, and all that comes of it into the file."""
    tag, have = _resumable(part, remote, checked)
    headers = {"Range": f"bytes={have}-", **({"If-Range": tag} if tag else {})} if have else {}
    with (
        _own_words(remote.address),
        session.get(
            remote.address, headers=headers, timeout=(patience.connect, patience.silence), stream=True
        ) as response,
    ):
        if response.status_code == requests.codes.requested_range_not_satisfiable and have:
            _begin_anew(part, "the server has no such bytes")
        _refuse(response, remote.address)
        total = _total(response)
        if remote.size is not None and total not in (None, remote.size):
            _begin_anew(part, f"the file has changed: {total} bytes, not {remote.size}")
        if response.status_code == requests.codes.partial_content:
            _check_range(response, part, have, tag)
        else:
            have = 0
            part.unlink(missing_ok=True)
            write_text(_note(part), json.dumps({"address": remote.address, "tag": _tag(response), "size": remote.size}))
        _write(response, part, have, total if remote.size is None else remote.size, reporter)


def _write(response: requests.Response, part: Path, have: int, size: int | None, reporter: Reporter) -> None:
    task, most = f"{part.name.removesuffix(PART)} MB", None if size is None else max(1, -(-size // MB))
    with naming_full_disk(part), part.open("ab") as file:
        while piece := response.raw.read1(_PIECE, decode_content=False):
            file.write(piece)
            have += len(piece)
            if size is not None and have > size:
                file.close()
                _begin_anew(part, f"more came than the {size} bytes that there are")
            if size is None and have > MOST_UNSTATED:
                part.unlink()
                raise DataError(
                    f"{response.url}: no end after {have} bytes, and its size is not stated.", hint="Or --base-url URL"
                )
            done = have // MB
            reporter.progress(task, done if most is None else min(done, most - 1), most)
        file.flush()
        os.fsync(file.fileno())
    if size is not None and have < size:
        raise _PassingError("the connection was cut")
    if most is not None:
        reporter.progress(task, most, most)


def _resumable(part: Path, remote: Remote, checked: bool) -> tuple[str, int]:
    """The tag of what is there, and its bytes; none where nothing would tell that the rest is of another file."""
    note = _read_note(part)
    tag = str(note.get("tag", "")) if note.get("address") == remote.address else ""
    return tag, _size(part) if note and (tag or checked) else 0


def _check_range(response: requests.Response, part: Path, have: int, tag: str) -> None:
    asked = re.match(rf"bytes {have}-", response.headers.get("Content-Range", ""))
    if not have or asked is None:
        _begin_anew(part, "the server sent other bytes than were asked for")
    now = _tag(response)
    if tag and now and now != tag:
        _begin_anew(part, "the file has changed")


def _begin_anew(part: Path, why: str) -> None:
    part.unlink(missing_ok=True)
    raise _PassingError(f"{why}; beginning anew")


def _is_whole(part: Path, remote: Remote, checked: bool) -> bool:
    tag, have = _resumable(part, remote, checked)
    return have == remote.size and (checked or tag == remote.tag)


def _digest(part: Path, name: str, reporter: Reporter) -> str:
    digest, size, done = hashlib.sha256(), _size(part), 0
    task, most = f"{name} checked, MB", max(1, -(-size // MB))
    with part.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            done += len(piece)
            reporter.progress(task, min(done // MB, most - 1), most)
    reporter.progress(task, most, most)
    return digest.hexdigest()


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path) -> dict[str, object]:
    try:
        note = json.loads(_note(part).read_bytes())
    except (OSError, *JSON_DAMAGE):
        return {}
    return note if isinstance(note, dict) else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _tag(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    # A weak one may stay where the bytes change.
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _total(response: requests.Response) -> int | None:
    """Bytes of the whole file."""
    if response.status_code == requests.codes.partial_content:
        found = re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def _refuse(response: requests.Response, address: str) -> None:
    """Raise for a response that is not the file."""
    status = response.status_code
    if status in (requests.codes.ok, requests.codes.partial_content):
        return
    if status in _PASSING:
        after = response.headers.get("Retry-After", "")
        raise _PassingError(f"the server answers {status}", float(after) if after.isdigit() else 0.0)
    raise DataError(f"{address}: the server answers {status}.", hint="Look whether it has moved; or --base-url URL")


def _wait(patience: Patience, failed: int, after: float) -> float:
    return min(patience.most_wait, max(after, patience.backoff * 2.0**failed))


def _unreachable(address: str, why: str) -> DataError:
    return DataError(f"{address}: {why}.", hint="Run the same command again later: it goes on; or --base-url URL")


@contextlib.contextmanager
def _own_words(address: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into what may pass and what does not."""
    try:
        yield
    except (ClisError, _PassingError):
        raise
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise _PassingError("no answer in time") from None
    except (requests.exceptions.SSLError, urllib3.exceptions.SSLError) as error:
        raise DataError(f"{address}: the connection is not safe: {error}.", hint="Or --base-url URL") from None
    except (requests.ConnectionError, urllib3.exceptions.ProtocolError):
        raise _PassingError("the connection failed or was cut") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise DataError(f"{address} is no address: {error}.", hint="As in --base-url https://host/folder") from None
