"""A file goes in, compressed or not; its bytes come out in order, a piece at a time."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from clis_core.errors import DataError

Compression = Literal["gzip", "bzip2", "xz"]

_PIECE = 1 << 20
_AHEAD = 1 << 20
_XZ_MEMORY = 256 << 20  # xz -9 needs 65 MiB to read; a file may ask for 4 GiB
_MAGIC: tuple[tuple[bytes, Compression], ...] = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"))
_UNKNOWN = ((b"\x28\xb5\x2f\xfd", "zstd", "zstd -d"), (b"PK\x03\x04", "zip", "unzip"))


class UnreadableError(Exception):
    """A stream that cannot be read on: its file is cut short, its compression damaged, its disk broken."""


class ByteStream(Protocol):
    """Bytes in order.

    Attributes:
        position: bytes that were read or skipped.
    """

    position: int

    def read(self, size: int) -> bytes:
        """The next bytes; fewer than ``size`` only at the end.

        Raises:
            UnreadableError: the file cannot be read on.
        """
        ...

    def skip(self, size: int) -> bool:
        """Pass over bytes; False if the end comes first.

        Raises:
            UnreadableError: the file cannot be read on.
        """
        ...


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class PlainBytes:
    """The bytes of an uncompressed file, read some way ahead."""

    def __init__(self, file: BinaryIO) -> None:
        self.position = 0
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._ahead, self._start = b"", 0

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        at = self.position - self._start
        follows = bool(self._ahead) and 0 <= at <= len(self._ahead)  # what was read before; after a skip, who knows
        data = self._ahead[at : at + size] if follows else b""
        if len(data) < size:
            missing = size - len(data)
            self._start = self.position + len(data)
            self._ahead = self.read_at(self._start, missing + (_AHEAD if follows else 0))
            data += self._ahead[:missing]
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """See `ByteStream`; nothing is read."""
        inside = self.position + size <= self._size
        self.position = min(self.position + size, self._size)
        return inside

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes anywhere in the file; ``position`` stays."""
        try:
            self._file.seek(offset)
            return _read_all(self._file, size)
        except OSError as error:
            raise UnreadableError(f"it cannot be read ({error.strerror or error})") from None


class UnpackedBytes:
    """The bytes inside a compressed file; constant memory."""

    def __init__(self, file: _Readable) -> None:
        self.position = 0
        self._file = file

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        try:
            data = _read_all(self._file, size)
        except EOFError:
            raise UnreadableError("its compressed data are cut short") from None
        except (OSError, zlib.error, lzma.LZMAError) as error:
            raise UnreadableError(f"its compressed data cannot be read ({error})") from None
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """See `ByteStream`; reads through."""
        while size > 0:
            piece = self.read(min(size, _PIECE))
            if not piece:
                return False
            size -= len(piece)
        return True


def compression_of(path: Path) -> Compression | None:
    """How a file is compressed, by its first bytes; None where it is not.

    Raises:
        DataError: it cannot be read, is no regular file, or is compressed in a way that is not read here.
    """
    with _opened(path) as file:
        start = file.read(8)
    for magic, kind in _MAGIC:
        if start.startswith(magic):
            return kind
    for magic, name, command in _UNKNOWN:
        if start.startswith(magic):
            raise DataError(
                f"{path} is compressed by {name}, which is not read.",
                hint=f"Unpack it ({command} {path}) and give what comes out; tar, tar.gz, tar.bz2 and tar.xz are read.",
            )
    return None


@contextlib.contextmanager
def byte_stream(path: Path) -> Iterator[PlainBytes | UnpackedBytes]:
    """Open a file; ``PlainBytes`` where it is not compressed.

    Raises:
        DataError: as `compression_of`.
    """
    kind = compression_of(path)
    with _opened(path) as file:
        if kind is None:
            yield PlainBytes(file)
            return
        unpacked: gzip.GzipFile | bz2.BZ2File | io.BufferedReader
        if kind == "gzip":
            unpacked = gzip.GzipFile(fileobj=file)
        elif kind == "bzip2":
            unpacked = bz2.BZ2File(file)
        else:
            unpacked = io.BufferedReader(_Xz(file), _PIECE)
        with unpacked:
            yield UnpackedBytes(unpacked)


class _Xz(io.RawIOBase):
    """The bytes inside an xz file of one or several streams, with bounded memory: `lzma.LZMAFile` takes no limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = _xz_decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = b""
        while not data:
            packed = b""
            if self._decoder.eof:  # behind a stream there may be zeros, and another stream
                packed = self._decoder.unused_data.lstrip(b"\0")
                while not packed:
                    if not (packed := self._file.read(_PIECE)):
                        return 0
                    packed = packed.lstrip(b"\0")
                self._decoder = _xz_decoder()
            elif self._decoder.needs_input and not (packed := self._file.read(_PIECE)):
                raise EOFError
            data = self._decoder.decompress(packed, len(view))
        view[: len(data)] = data
        return len(data)


def _xz_decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def _read_all(file: _Readable, size: int) -> bytes:
    """The next bytes, however small the pieces come."""
    data = file.read(size)
    if len(data) == size or not data:
        return data
    pieces = [data]
    left = size - len(data)
    while left and (data := file.read(left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path} is no regular file.", hint="Give a file on a disk; a pipe cannot be read twice.")
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from None
    with file:
        yield file
