"""The bytes of a tar archive go in; its entries come out one by one, and their data if they are asked for.

`tarfile` parses the header blocks. Its `TarFile` is not used: it keeps every entry in memory, reads extended headers of
any size, recurses through chains of them, and takes a hole of zeros in a damaged file for the end.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from clis_core.data.sources.byte_stream import ByteStream, UnreadableError

MAX_HEADER = 1 << 20
"""An extended header (a long name, attributes) may have this many bytes."""

_BLOCK = tarfile.BLOCKSIZE
_RECORD = tarfile.RECORDSIZE
_ENCODING, _ERRORS = "utf-8", "surrogateescape"
_MOST_ZEROS = 1 << 20  # behind the end; tar pads to 10 KiB, or to what -b says
_PIECE = 1 << 16
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


class DamagedTarError(Exception):
    """Bytes that are no whole tar archive.

    Args:
        reason: why.
        endless: whether nothing but the mark of the end is missing, as some writers leave it out.
    """

    def __init__(self, reason: str, *, endless: bool = False) -> None:
        super().__init__(reason)
        self.endless = endless


class EntryKind(Enum):
    """What an entry of a tar is."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a link, a device, a sparse file


class Entry(NamedTuple):
    """One entry of a tar.

    Attributes:
        path: as the archive has it; hostile.
        kind: what it is.
        offset: of its data, bytes from the start of the archive.
        size: of its data in the archive, bytes.
    """

    path: str
    kind: EntryKind
    offset: int
    size: int


class _Header(NamedTuple):
    """What a header block says."""

    name: str
    size: int
    type: bytes


class _Extended(NamedTuple):
    """What extended headers say of the entry behind them."""

    path: str | None = None
    size: int | None = None
    sparse: bool = False


class TarWalk:
    """The entries of a tar archive in their order; memory does not grow with their number.

    Between two entries, the data of the first can be read, whole or as a stream; what is left of it is passed over.

    Args:
        stream: stands at the first byte of the archive.

    Attributes:
        last: path of the last entry that was whole; None before there is one.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.last: str | None = None
        self._stream = stream
        self._end = 0  # where the next header begins

    def __iter__(self) -> Iterator[Entry]:
        """The entries from where the walk stands.

        Raises:
            DamagedTarError: this is no tar, or it is cut short or damaged.
            UnreadableError: the stream cannot be read on.
        """
        while (entry := self._next()) is not None:
            yield entry
            if not self._stream.skip(self._end - self._stream.position):
                raise DamagedTarError(f"it is cut short within {entry.path!r}")
            self.last = entry.path

    def read(self, entry: Entry) -> bytes:
        """The data of the entry that the walk stands at; the caller has looked at its size.

        Raises:
            DamagedTarError, UnreadableError: as iteration.
        """
        data = self._stream.read(entry.size)
        if len(data) < entry.size:
            raise DamagedTarError(f"it is cut short within {entry.path!r}")
        return data

    def inner(self, entry: Entry) -> ByteStream:
        """The data of the entry that the walk stands at, as a stream."""
        return _Part(self._stream, entry.size)

    def _next(self) -> Entry | None:
        """The next entry behind its extended headers; None at the end."""
        said = _Extended()
        while True:
            header = self._header()
            if header is None:
                return None
            if header.size < 0:
                raise DamagedTarError(f"an entry at byte {self._stream.position - _BLOCK} has a negative size")
            if header.type == tarfile.GNUTYPE_LONGNAME:
                path, _, _ = self._extension(header.size).partition(b"\0")
                said = said._replace(path=path.decode(_ENCODING, _ERRORS))
            elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                said = _pax(self._extension(header.size), said)
            elif header.type in (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE):
                self._pass(header.size)
            else:
                return self._entry(header, said)

    def _entry(self, header: _Header, said: _Extended) -> Entry:
        size = header.size if said.size is None else said.size
        if header.type in _WITHOUT_DATA:
            size = 0
        if header.type == tarfile.DIRTYPE:
            kind = EntryKind.FOLDER
        elif header.type in _FILES and not said.sparse:
            kind = EntryKind.FILE
        else:
            kind = EntryKind.OTHER
        offset = self._stream.position
        self._end = offset + _padded(size)
        return Entry(header.name if said.path is None else said.path, kind, offset, size)

    def _header(self) -> _Header | None:
        """The header block at the stream's position; None at the end of the archive."""
        at = self._stream.position
        block = self._stream.read(_BLOCK)
        if (plain := _plain_header(block)) is not None:
            return plain
        if not block:
            if at == 0:
                raise DamagedTarError("it is empty (0 bytes)")
            raise DamagedTarError("it is cut short: its end mark is missing", endless=True)
        if len(block) == _BLOCK and not any(block):
            self._check_end()
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, _ENCODING, _ERRORS)
        except tarfile.HeaderError as error:
            if at == 0:
                raise DamagedTarError("it is no tar archive") from None
            what = "it is cut short within a header" if len(block) < _BLOCK else f"{error} in the header"
            raise DamagedTarError(f"{what} at byte {at}") from None
        if header.type == tarfile.GNUTYPE_SPARSE:
            more = bool(block[482])
            while more:  # its map goes on in more blocks
                block = self._stream.read(_BLOCK)
                if len(block) < _BLOCK:
                    raise DamagedTarError(f"it is cut short within the header at byte {at}")
                more = bool(block[504])
        return _Header(header.name, header.size, header.type)

    def _extension(self, size: int) -> bytes:
        if size > MAX_HEADER:
            raise DamagedTarError(f"an extended header at byte {self._stream.position} claims {size} bytes")
        data = self._stream.read(_padded(size))
        if len(data) < _padded(size):
            raise DamagedTarError("it is cut short within an extended header")
        return data[:size]

    def _pass(self, size: int) -> None:
        if not self._stream.skip(_padded(size)):
            raise DamagedTarError("it is cut short within an extended header")

    def _check_end(self) -> None:
        """Behind a block of zeros only zeros may follow: a hole in a half-loaded file looks like the end as well.

        The rest of the last record is not looked at: old writers leave what they had in it.
        """
        at = self._stream.position - _BLOCK
        if any(self._stream.read(_BLOCK)):
            raise DamagedTarError(f"it has a hole of zeros at byte {at}")
        self._stream.skip(-self._stream.position % _RECORD)
        zeros = 0
        while piece := self._stream.read(_PIECE):
            zeros += len(piece)
            if any(piece) or zeros > _MOST_ZEROS:
                raise DamagedTarError(f"it has a hole of zeros at byte {at}, or is several tars in a row")


def _plain_header(block: bytes) -> _Header | None:
    """The header of a regular file with a short ASCII name, as nearly all are; None has `tarfile` parse it."""
    if (
        block[156:157] != tarfile.REGTYPE
        or block[257:262] != b"ustar"
        or block[345:346] != b"\0"
        or len(block) < _BLOCK
    ):
        return None
    name, size, checksum = block[:100].rstrip(b"\0"), block[124:135], block[148:154]
    if not (size.isdigit() and checksum.isdigit() and name.isascii() and name) or b"\0" in name or name.endswith(b"/"):
        return None
    try:
        said = int(checksum, 8)
        if said != sum(block) - sum(block[148:156]) + 8 * ord(" ") or block[135] not in b"\0 ":
            return None
        return _Header(name.decode("ascii"), int(size, 8), tarfile.REGTYPE)
    except ValueError:  # an 8 or a 9
        return None


class _Part:
    """The next bytes of a stream as a stream of their own."""

    def __init__(self, stream: ByteStream, size: int) -> None:
        self.position = 0
        self._stream = stream
        self._size = size

    def read(self, size: int) -> bytes:
        """See `ByteStream`."""
        size = min(size, self._size - self.position)
        data = self._stream.read(size)
        if len(data) < size:
            raise UnreadableError("it is cut short")
        self.position += size
        return data

    def skip(self, size: int) -> bool:
        """See `ByteStream`."""
        inside = size <= self._size - self.position
        size = min(size, self._size - self.position)
        if not self._stream.skip(size):
            raise UnreadableError("it is cut short")
        self.position += size
        return inside


def _pax(data: bytes, said: _Extended) -> _Extended:
    """What the records ``LENGTH KEY=VALUE\\n`` of a pax header say."""
    at = 0
    while at < len(data):
        digits, space, _ = data[at : at + 20].partition(b" ")
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[at + len(digits) + 1 : end - 1].partition(b"=")
        if not space or not equals or data[end - 1 : end] != b"\n":
            raise DamagedTarError("a pax header is damaged")
        if key in (b"path", b"GNU.sparse.name"):
            said = said._replace(path=value.decode(_ENCODING, _ERRORS))
        elif key == b"size":
            if not value.isdigit() or len(value) > 20:
                raise DamagedTarError("a pax header is damaged")
            said = said._replace(size=int(value))
        if key.startswith(b"GNU.sparse."):
            said = said._replace(sparse=True)
        at = end
    return said


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
