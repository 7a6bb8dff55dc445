"""The address of a folder on a web server goes in; the bytes of any place in its files come out."""

from __future__ import annotations

import os
import re
import time
from urllib.parse import quote

import requests
import urllib3.exceptions

from clis_core.data.download.transfer import open_session
from clis_core.data.shards.remote import PASSING
from clis_core.data.shards.resuming import PATIENT, Access
from clis_core.errors import DataError

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Ranges:
    """Reads pieces of files by range requests, over connections that are kept.

    Threads may share it; a process that was forked opens connections of its own.

    Args:
        address: of the folder, without a slash at its end.
        access: how patiently to read.
    """

    def __init__(self, address: str, access: Access = PATIENT) -> None:
        self.address = address
        self._access = access
        self._session: tuple[int, requests.Session] | None = None
        self._tags: dict[str, str] = {}  # version of each file, as first seen

    def read(self, name: str, whole: int, size: int, offset: int) -> bytes:
        """Bytes of a file; a piece that does not come is asked for again.

        Args:
            name: of the file.
            whole: bytes that the file must have.
            size: bytes wanted; those behind the end of the file are left out.
            offset: of the first one.

        Raises:
            DataError: they cannot be had, or the file is another one.
        """
        size = min(size, whole - offset)
        if size <= 0:
            return b""
        for failures in range(self._access.retries + 1):
            if failures:
                time.sleep(self._access.pause * 2 ** (failures - 1))
            try:
                return self._piece(name, whole, size, offset)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                reason = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise self._unusable(
            name,
            f"bytes {offset} to {offset + size} cannot be read, tried {self._access.retries + 1} times: {reason}",
            f"Check the connection and the address, or copy the shards: clis shards fetch {self.address} -o DIR",
        )

    def _piece(self, name: str, whole: int, size: int, offset: int) -> bytes:
        asked = {"Range": f"bytes={offset}-{offset + size - 1}"}
        response = self._open().get(
            f"{self.address}/{quote(name)}", headers=asked, stream=True, timeout=self._access.timeout
        )
        with response:  # what is left of a broken answer is not taken for the next one
            self._check(response, name, whole, size, offset)
            data: bytes = response.raw.read(size)
        if len(data) < size:
            raise OSError(f"the connection was cut after {len(data)} of {size} bytes")
        return data

    def _check(self, response: requests.Response, name: str, whole: int, size: int, offset: int) -> None:
        """Check that an answer is the piece that was asked for."""
        if response.status_code in PASSING:
            raise OSError(f"the server answers {response.status_code} {response.reason}")
        if response.status_code == 200:
            why = "the server sends whole files alone, not the parts that were asked for"
            raise self._unusable(
                name, why, f"Copy the shards, without --leave-tars: clis shards fetch {self.address} -o DIR"
            )
        if response.status_code != 206:
            why = f"the server answers {response.status_code} {response.reason}"
            raise self._unusable(name, why, "Open the address in a browser; it may have moved, or ask for a password")
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or (int(found[1]), int(found[2])) != (offset, offset + size - 1):
            raise OSError("the server sent another range than was asked for")
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if int(found[3]) != whole or self._tags.setdefault(name, tag) != tag:
            why = f"it has {found[3]} bytes there, not {whole}" if int(found[3]) != whole else "it has changed there"
            raise self._unusable(
                name, why, f"Fetch the folder anew: clis shards fetch {self.address} -o OTHER --leave-tars"
            )

    def _open(self) -> requests.Session:
        """The connections of this process."""
        if self._session is None or self._session[0] != os.getpid():
            self._session = os.getpid(), open_session()
        return self._session[1]

    def _unusable(self, name: str, why: str, hint: str) -> DataError:
        return DataError(f"{self.address}/{name}: {why}.", hint=hint)
