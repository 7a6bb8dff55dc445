"""A path, a web address or a command goes in; its bytes, from any place on, come out."""

from __future__ import annotations

import http.client
import re
import shlex
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit, urlunsplit

from clis_core import __version__
from clis_core.errors import ConfigError, DataError

_PIECE = 1 << 20
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers that may be others later."""

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Opened(Protocol):
    """Bytes from some place in a file on.

    Attributes:
        size: of the whole file, bytes; None where it is not known.
    """

    size: int | None

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Place(Protocol):
    """Where a file is.

    Attributes:
        name: what to call it in a message.
        remote: whether trying again may help.
    """

    name: str
    remote: bool

    def open(self, offset: int) -> Opened:
        """Open the file at a byte.

        Raises:
            OSError, http.client.HTTPException: not now, perhaps later.
            DataError: never.
        """
        ...


class LocalFile:
    """A file on a disk."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def open(self, offset: int) -> Opened:
        """See `Place`."""
        file = self._path.open("rb")
        file.seek(offset)
        return _Bytes(file, None)


class Download:
    """A file on a web server; read on by a range request, or by reading again what was read where there are none."""

    remote = True

    def __init__(self, address: str, timeout: float) -> None:
        self.name = shown(address)
        self._address = address
        self._timeout = timeout
        self._tag: str | None = None  # names the version of the file

    def open(self, offset: int) -> Opened:
        """See `Place`."""
        response = self._get(offset)
        try:
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if self._tag not in (None, tag):
                raise DataError(f"{self.name} has changed while it was read.", hint="Run the command again.")
            self._tag = tag
            length = response.headers.get("Content-Length")
            size = int(length) if length and length.isdigit() else None
            if response.status == http.HTTPStatus.PARTIAL_CONTENT:
                found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if not found or int(found[1]) != offset:
                    raise OSError("the server sent another range than was asked for")
                return _Bytes(response, int(found[2]) if found[2].isdigit() else None)
            _discard(response, offset)
            return _Bytes(response, size)
        except BaseException:
            response.close()
            raise

    def _get(self, offset: int) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"clis/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response: http.client.HTTPResponse = _web().open(
                urllib.request.Request(self._address, headers=headers), timeout=self._timeout
            )
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in PASSING:
                raise OSError(f"the server answers {error.code} {error.reason}") from None
            raise DataError(
                f"{self.name} cannot be read: the server answers {error.code} {error.reason}.",
                hint="Open the address in a browser; it may have moved, or ask for a password.",
            ) from None
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from None
        return response


class Command:
    """The output of a command, which must be the same each time; no shell is involved."""

    remote = True

    def __init__(self, words: list[str]) -> None:
        self.name = f"pipe:{shlex.join(words)}"
        self._words = words

    def open(self, offset: int) -> Opened:
        """See `Place`."""
        process = _Output(self._words)
        try:
            _discard(process, offset)
        except BaseException:
            process.close()
            raise
        return process


class _Bytes:
    """An open file or answer of a server."""

    def __init__(self, file: IO[bytes] | http.client.HTTPResponse, size: int | None) -> None:
        self.size = size
        self._file = file

    def read(self, size: int) -> bytes:
        """See `Opened`."""
        return self._file.read(size)

    def close(self) -> None:
        """See `Opened`."""
        self._file.close()


class _Output:
    """The output of a running command; what it says on stderr goes into the message of its failure."""

    size: int | None = None

    def __init__(self, words: list[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in close)
        try:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said)
        except OSError as error:
            self._said.close()
            raise ConfigError(
                f"pipe:{shlex.join(words)} cannot be started: {error.strerror or error}.",
                hint="The command stands behind 'pipe:', as in: pipe:aws s3 cp s3://bucket/shards/{} -",
            ) from None

    def read(self, size: int) -> bytes:
        """See `Opened`.

        Raises:
            OSError: the command has failed.
        """
        assert self._process.stdout is not None
        data = self._process.stdout.read(size)
        if not data and (code := self._process.wait()):
            self._said.seek(0, 2)
            self._said.seek(max(0, self._said.tell() - 300))
            said = self._said.read().decode(errors="replace").strip().replace("\n", " ")
            raise OSError(f"the command ends with status {code}" + (f" ({said})" if said else ""))
        return data

    def close(self) -> None:
        """See `Opened`; ends the command."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.kill()
        self._process.wait()
        self._said.close()


def shown(address: str) -> str:
    """A web address without what may be secret: user, password and query."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets that are no IPv6 address
        return "an address that is none"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _discard(file: Opened | http.client.HTTPResponse | _Output, size: int) -> None:
    """Read over what was read before."""
    while size > 0:
        data = file.read(min(size, _PIECE))
        if not data:
            raise OSError(f"it ends {size} bytes before the place where it broke off")
        size -= len(data)


def _web() -> urllib.request.OpenerDirector:
    """Opens http and https, also behind redirects, and nothing else: no files, no ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener
