"""Members of a source go in; the same in their order come out, each with its picture or the reason why it has none."""

from __future__ import annotations

import hashlib
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from clis_core.data.picture import Picture, RefusedPictureError, check_picture
from clis_core.data.sources.member import Member, Position

CHUNK = 16
"""Members that one thread checks in one go."""
CHUNK_BYTES = 4 << 20
"""Bytes from which fewer make a chunk."""


class Checked(NamedTuple):
    """A member with what became of its bytes.

    Attributes:
        label: as the source has it.
        name: as the source has it.
        after: the position behind it.
        size: of its bytes in the source.
        picture: the picture; None where it was refused.
        sha256: of the picture's bytes, hexadecimal.
        reason: why it was refused.
        detail: more about that.
    """

    label: str
    name: str
    after: Position
    size: int
    picture: Picture | None
    sha256: str = ""
    reason: str = ""
    detail: str = ""


def checked(
    members: Iterable[Member], *, workers: int, min_side: int, max_side: int | None
) -> Generator[list[Checked]]:
    """Check members in threads: Pillow and hashlib work outside of Python's lock.

    Args:
        members: read at most two chunks a thread ahead of what is taken.
        workers: threads.
        min_side: see `check_picture`.
        max_side: see `check_picture`.

    Yields:
        The members in their order, some at a time.
    """

    def check(chunk: list[Member]) -> list[Checked]:
        return [_check(member, min_side, max_side) for member in chunk]

    ahead: deque[Future[list[Checked]]] = deque()
    # Warnings are Python's own, not a thread's: who sets them aside in one thread may restore them in another's midst.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(workers) as pool:
        try:
            for chunk in _chunks(members):
                ahead.append(pool.submit(check, chunk))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _chunks(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Some members at a time, fewer where they are large: the chunks that wait are the memory of a build."""
    chunk: list[Member] = []
    size = 0
    for member in members:
        chunk.append(member)
        size += len(member.data or b"")
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _check(member: Member, min_side: int, max_side: int | None) -> Checked:
    known = (member.label, member.name, member.after, len(member.data or b""))
    if member.data is None:
        return Checked(*known, None, reason=member.problem or "unreadable")
    try:
        picture = check_picture(member.data, member.name, min_side=min_side, max_side=max_side)
    except RefusedPictureError as error:
        return Checked(*known, None, reason=error.reason, detail=error.detail)
    return Checked(*known, picture, hashlib.sha256(picture.data).hexdigest())
