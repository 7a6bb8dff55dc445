"""A file somewhere goes in; its bytes come out in order, past interruptions."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from clis_core.data.shards.remote import Opened, Place
from clis_core.errors import DataError

_PIECE = 1 << 20


@dataclass(frozen=True)
class Access:
    """How patiently to read.

    Attributes:
        timeout: seconds that a server may be silent.
        retries: how often to try again, from the byte where it broke, before giving up; reading on counts anew.
        pause: seconds before the first retry; each further one waits twice as long.
    """

    timeout: float = 60.0
    retries: int = 3
    pause: float = 1.0


PATIENT = Access()


def _quiet(_: str) -> None:
    pass


class ResumingBytes:
    """The bytes of a file in order; where reading breaks, it is tried again from the byte where it broke.

    Args:
        place: of the file.
        size: that it must have, bytes; None takes what its place says.
        access: how often to try again.
        broke: told each time it is tried again: the file, why and how long it waits.

    Attributes:
        position: bytes that were read or skipped.
    """

    def __init__(self, place: Place, size: int | None, access: Access, broke: Callable[[str], None] = _quiet) -> None:
        self.position = 0
        self._broke = broke
        self._place = place
        self._size = size
        self._access = access
        self._file: Opened | None = None
        self._failures = 0

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end.

        Raises:
            DataError: the file cannot be read, or breaks off however often it is tried.
        """
        data = self._some(size)
        if len(data) == size or not data:
            return data
        pieces, left = [data], size - len(data)
        while left and (data := self._some(left)):
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def skip(self, size: int) -> bool:
        """Pass over bytes; False if the end comes first.

        Raises:
            DataError: as `read`.
        """
        while size > 0:
            data = self._some(min(size, _PIECE))
            if not data:
                return False
            size -= len(data)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _some(self, size: int) -> bytes:
        """One or more bytes; none at the end."""
        if not size:
            return b""
        while True:
            try:
                if self._file is None:
                    self._file = self._place.open(self.position)
                    self._check_size(self._file.size)
                data = self._file.read(size)
                if not data and self._size is not None and self.position < self._size:
                    raise OSError(f"it ends at byte {self.position} of {self._size}")
            except (OSError, http.client.HTTPException) as error:
                self._failed(error)
                continue
            if data:
                self.position += len(data)
                self._failures = 0
            return data

    def _check_size(self, size: int | None) -> None:
        """Compare the size that the place states with the one that it must be."""
        if self._size is None:
            self._size = size
        elif size is not None and size != self._size:
            raise DataError(
                f"{self._place.name} has {size} bytes, but should have {self._size}.",
                hint="It was cut short or replaced; copy it there once more, with its manifest.",
            )

    def _failed(self, error: Exception) -> None:
        """Wait before the next try, or give up."""
        self.close()
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if not self._place.remote:
            raise DataError(
                f"{self._place.name} cannot be read: {reason}.", hint="Copy the file once more; check the disk."
            ) from None
        if self._failures >= self._access.retries:
            raise DataError(
                f"{self._place.name} cannot be read beyond byte {self.position}, tried {self._failures + 1} times: "
                f"{reason}.",
                hint="Check the connection and the address, or copy the shards to a local folder.",
            ) from None
        pause = self._access.pause * 2**self._failures
        self._broke(f"{self._place.name} broke off at byte {self.position} ({reason}); again in {pause:g} s.")
        time.sleep(pause)
        self._failures += 1


@contextlib.contextmanager
def opened(
    place: Place, size: int | None, access: Access, broke: Callable[[str], None] = _quiet
) -> Iterator[ResumingBytes]:
    """Read a file past interruptions; see `ResumingBytes`."""
    stream = ResumingBytes(place, size, access, broke)
    try:
        yield stream
    finally:
        stream.close()
