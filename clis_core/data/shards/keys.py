"""Names of pictures go in, keys of samples come out: safe as file names, unique in a folder of shards."""

from __future__ import annotations

import bisect
import hashlib
import re

import numpy as np
from numpy.typing import NDArray

MAX_KEY = 95
"""The name of a tar member takes 100 bytes, and ".json" is five of them."""

_SUFFIX = 9  # "-" and 8 hexadecimal digits
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")


def key_of(prefix: str, name: str, sha256: str) -> str:
    """The key that a picture would like to have.

    It is the prefix, ``_`` and the name's stem, of A-Z a-z 0-9 _ - only: webdataset splits a name at its first dot.
    A stem that starts with the prefix (``n01440764_10026``) does not get it twice. Where something had to be replaced
    or cut, ``-`` and 8 digits of the hash follow, so that different names stay different.

    Args:
        prefix: WordNet id or class name.
        name: the file's name in its source; only its last part is used.
        sha256: of the picture, hexadecimal.

    Returns:
        At most 86 characters, ASCII; `longer_keys` has room for more.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    stem = last.rpartition(".")[0] or last
    start, rest = _OTHER.sub("_", prefix), _OTHER.sub("_", stem)
    key = rest if not start or rest == start or rest.startswith((start + "_", start + "-")) else f"{start}_{rest}"
    clean = start == prefix and rest == stem and bool(key)
    if key.startswith("-"):  # it would be an option of a command
        key, clean = "_" + key[1:], False
    if len(key) > MAX_KEY - _SUFFIX or not clean:
        return f"{key[: MAX_KEY - 2 * _SUFFIX]}-{sha256[:8]}"
    return key


def longer_keys(key: str, sha256: str) -> list[str]:
    """The key, and what to try when another picture has it: with 8, 16, 32 and 64 digits of the hash."""
    return [key, *(f"{key[: MAX_KEY - n - 1]}-{sha256[:n]}" for n in (8, 16, 32, 64))]


def hash_of_key(key: str) -> int:
    """64 bits of a key; those that differ in upper and lower case only are one, as on some file systems."""
    return int.from_bytes(hashlib.blake2b(key.lower().encode(), digest_size=8).digest(), "little")


def hash_of_content(sha256: str, category: int) -> int:
    """64 bits of a picture and its category: the same picture in another class is another sample."""
    return int(sha256[:16], 16) ^ (category * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)


class SeenKeys:
    """The keys so far, each with the hash of its content: 16 bytes a key, and some MB for the newest.

    256 sorted tables by a hash's last byte; new keys wait in a dict until there are enough of them to be sorted in.
    Of a billion different keys, two share a hash with a probability of 3 %; the later one then gets a longer key.
    """

    _TABLES = 256
    _WAITING = 256

    def __init__(self) -> None:
        empty = np.zeros(0, np.uint64)
        self._sorted: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]] = [(empty, empty)] * self._TABLES
        self._new: list[dict[int, int]] = [{} for _ in range(self._TABLES)]

    def free(self, key: str, sha256: str, content: int) -> tuple[str, int, bool]:
        """The first of a picture's `longer_keys` that no other picture has.

        Returns:
            The key, its hash, and whether this very picture has it already.
        """
        for longer in longer_keys(key, sha256):
            hashed = hash_of_key(longer)
            there = self.content(hashed)
            if there is None or there == content:
                return longer, hashed, there is not None
        raise AssertionError(f"{key}: five keys are taken")  # of which one has the whole hash

    def content(self, key: int) -> int | None:
        """Hash of the content of a key, both as `hash_of_key` and `hash_of_content` give them; None for a new key."""
        table = key % self._TABLES
        if (found := self._new[table].get(key)) is not None:
            return found
        keys, contents = self._sorted[table]
        at = bisect.bisect_left(keys.data, key)  # NumPy's own lets go of Python's lock, and others are waiting for it
        return int(contents[at]) if at < len(keys) and int(keys[at]) == key else None

    def add(self, key: int, content: int) -> None:
        """Remember a new key."""
        table = key % self._TABLES
        new = self._new[table]
        new[key] = content
        if len(new) >= self._WAITING:
            count = len(new)
            self._merge(table, np.fromiter(new.keys(), np.uint64, count), np.fromiter(new.values(), np.uint64, count))
            new.clear()

    def fill(self, keys: NDArray[np.uint64], contents: NDArray[np.uint64]) -> None:
        """Remember many new keys at once."""
        tables = (keys % np.uint64(self._TABLES)).astype(np.int64)
        order = np.argsort(tables, kind="stable")
        ends = np.cumsum(np.bincount(tables, minlength=self._TABLES))
        for table, some in enumerate(np.split(order, ends[:-1])):
            if len(some):
                self._merge(table, keys[some], contents[some])

    def _merge(self, table: int, keys: NDArray[np.uint64], contents: NDArray[np.uint64]) -> None:
        all_keys = np.concatenate([self._sorted[table][0], keys])
        all_contents = np.concatenate([self._sorted[table][1], contents])
        order = np.argsort(all_keys, kind="stable")
        self._sorted[table] = (all_keys[order], all_contents[order])
