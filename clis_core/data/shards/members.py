"""A sample's picture, record and category go in; the bytes of its three tar members come out.

The members are what ``tar --format=ustar --mtime=@0 --owner=0 --group=0 --mode=0644`` writes, so that the same samples
give the same shard, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BLOCK = 512
RECORD = 10240
"""A tar ends with at least two empty blocks, and is filled up to a multiple of this."""

# Of a header of a regular file, mode 0644, owner and group 0, time 0, all but name, size and checksum:
_MODE_TO_SIZE = b"0000644\0" + b"0000000\0" * 2
_TIME = b"00000000000\0"
_TYPE_TO_END = b"0" + bytes(100) + b"ustar\0" + b"00" + bytes(247)
_SUM = sum(_MODE_TO_SIZE) + sum(_TIME) + 8 * ord(" ") + sum(_TYPE_TO_END)  # the checksum counts as spaces


def padded(size: int) -> int:
    """Bytes that a member's content takes in a tar."""
    return -(-size // BLOCK) * BLOCK


def sample_size(jpeg: int, record: int) -> int:
    """Bytes that a sample takes in a tar, by the sizes of its picture and its record."""
    return padded(jpeg) + padded(record) + 4 * BLOCK  # three headers, and the category


def header(name: str, size: int) -> bytes:
    """Header of a member.

    Args:
        name: ASCII, at most 100 characters.
        size: of its content, below 8 GiB.
    """
    field, digits = name.encode("ascii"), b"%011o\0" % size
    checksum = _SUM + sum(field) + sum(digits)
    return b"".join((field.ljust(100, b"\0"), _MODE_TO_SIZE, digits, _TIME, b"%06o\0 " % checksum, _TYPE_TO_END))


def members(key: str, jpeg: bytes, record: bytes, category: int) -> tuple[bytes, bytes, bytes]:
    """The three members of a sample: what goes before the picture, the picture, and what follows it."""
    digits = b"%d" % category
    rest = (
        bytes(-len(jpeg) % BLOCK),
        header(key + ".json", len(record)),
        record,
        bytes(-len(record) % BLOCK),
        header(key + ".cls", len(digits)),
        digits.ljust(BLOCK, b"\0"),
    )
    return header(key + ".jpg", len(jpeg)), jpeg, b"".join(rest)


def end_of(size: int) -> bytes:
    """What ends a tar whose members take ``size`` bytes."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % RECORD)


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """One line of json; halves of characters, as in names of unknown encoding, become question marks."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
