"""The address of a large file in; the whole file on disk out, whatever the connection does in between.

A piece that has come is kept: `FILE.part`, and beside it what the server said of the file, so that the next attempt,
or the next process, asks for the rest alone, and begins anew where the file has changed.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from clis_core import __version__
from clis_core.data.download.answers import PassingError, Remote, own_words, refuse, tag_of, total_of
from clis_core.data.download.part_file import (
    MB,
    PART,
    PIECE,
    digest_of,
    discard,
    is_whole,
    naming_full_disk,
    note_of,
    resumable,
    size_of,
    write_note,
)
from clis_core.data.shards.remote import shown
from clis_core.errors import DataError
from clis_core.files import sync_folder
from clis_core.report import Reporter

MOST_UNSTATED = 4_000_000_000
"""Bytes that are taken of a file whose size nobody states."""
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
    progress: int = PIECE


class WrongBytesError(Exception):
    """A file that came whole, and is not the one that it should be; it has been thrown away."""


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
        except PassingError as error:
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
    while not is_whole(part, remote, sha256 is not None):
        try:
            _attempt(session, remote, part, sha256 is not None, patience, reporter)
        except PassingError as error:
            have = size_of(part)
            failed, best = (0, have) if have >= best + patience.progress else (failed + 1, best)
            if failed >= patience.attempts:
                raise _unreachable(remote.address, f"{error}; {have} bytes of it are kept in {part}") from None
            reporter.info(f"{path.name}: {error}; going on at byte {have}")
            time.sleep(_wait(patience, max(0, failed - 1), error.after))
        else:
            break
    if sha256 is not None:
        found = digest_of(part, path.name, reporter)
        if found != sha256:
            discard(path)
            raise WrongBytesError(f"its sha256 is {found}, not {sha256}")
    part.replace(path)
    note_of(part).unlink(missing_ok=True)
    sync_folder(path.parent)


def _look(session: requests.Session, address: str, patience: Patience) -> Remote:
    waits = (patience.connect, patience.silence)
    with own_words(address):
        response = session.head(address, timeout=waits, allow_redirects=True)
        if response.status_code in _NO_HEAD:
            with session.get(address, headers={"Range": "bytes=0-0"}, timeout=waits, stream=True) as response:
                refuse(response, address)
                return Remote(address, total_of(response), tag_of(response))
        refuse(response, address)
        return Remote(address, total_of(response), tag_of(response))


def _attempt(
    session: requests.Session, remote: Remote, part: Path, checked: bool, patience: Patience, reporter: Reporter
) -> None:
    """One request, and all that comes of it into the file."""
    tag, have = resumable(part, remote, checked)
    headers = {"Range": f"bytes={have}-", **({"If-Range": tag} if tag else {})} if have else {}
    with (
        own_words(remote.address),
        session.get(
            remote.address, headers=headers, timeout=(patience.connect, patience.silence), stream=True
        ) as response,
    ):
        if response.status_code == requests.codes.requested_range_not_satisfiable and have:
            _begin_anew(part, "the server has no such bytes")
        refuse(response, remote.address)
        total = total_of(response)
        if remote.size is not None and total not in (None, remote.size):
            _begin_anew(part, f"the file has changed: {total} bytes, not {remote.size}")
        if response.status_code == requests.codes.partial_content:
            _check_range(response, part, have, tag)
        else:
            have = 0
            part.unlink(missing_ok=True)
            write_note(part, remote.address, tag_of(response), remote.size)
        _write(response, part, have, total if remote.size is None else remote.size, reporter)


def _write(response: requests.Response, part: Path, have: int, size: int | None, reporter: Reporter) -> None:
    task, most = f"{part.name.removesuffix(PART)} MB", None if size is None else max(1, -(-size // MB))
    with naming_full_disk(part), part.open("ab") as file:
        while piece := response.raw.read1(PIECE, decode_content=False):
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
        raise PassingError("the connection was cut")
    if most is not None:
        reporter.progress(task, most, most)


def _check_range(response: requests.Response, part: Path, have: int, tag: str) -> None:
    asked = re.match(rf"bytes {have}-", response.headers.get("Content-Range", ""))
    if not have or asked is None:
        _begin_anew(part, "the server sent other bytes than were asked for")
    now = tag_of(response)
    if tag and now and now != tag:
        _begin_anew(part, "the file has changed")


def _begin_anew(part: Path, why: str) -> None:
    part.unlink(missing_ok=True)
    raise PassingError(f"{why}; beginning anew")


def _wait(patience: Patience, failed: int, after: float) -> float:
    return min(patience.most_wait, max(after, patience.backoff * 2.0**failed))


def _unreachable(address: str, why: str) -> DataError:
    return DataError(
        f"{shown(address)}: {why}.", hint="Run the same command again later: it goes on; or --base-url URL"
    )
