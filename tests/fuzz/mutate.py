"""Good bytes and numbers of a dice in, damaged or hostile bytes out."""

from __future__ import annotations

import random
import re

TOKENS = (
    *(b"null", b"true", b"-1", b"0", b"1e999", b"-1e308", b"NaN", b"Infinity", b"1" * 400, b"9223372036854775808"),
    *(b'""', b"[]", b"{}", b"[" * 5000, b'{"a":' * 5000, b'"\\ud800"', b"\xff\xfe", b"\x00", b"\xef\xbb\xbf"),
    *(b"../../x", b"/etc/passwd", b"file:///etc/passwd", b"1000000000", b"2147483648", b"4294967295", b"1.5", b","),
    *(b"\n", b'"', b"'", b"=", b"[[", b"inf", b"nan", b"1979-05-27", b"ustar\x00", b"77777777777\x00", b"\x80" * 12),
    *("\u2028".encode(), "\u0130".encode(), b"\r", b"\t", b"id", b"format", b"%s", b"{0.__class__}"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_VALUE = re.compile(rb'"[^"]{0,80}"|-?\d+(?:\.\d+)?|\[[^\[\]]{0,80}\]|true|false|null')


def mutate(data: bytes, dice: random.Random, most: int = 4) -> bytes:
    """Change bytes at some places."""
    for _ in range(dice.randint(1, most)):
        data = dice.choice(_CHANGES)(data, dice)
    return data[: 1 << 20]


def _flip(data: bytes, dice: random.Random) -> bytes:
    if not data:
        return data
    place = dice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << dice.randrange(8))]) + data[place + 1 :]


def _byte(data: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(data) + 1)
    return data[:place] + bytes([dice.randrange(256)]) + data[place + 1 :]


def _cut(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data) + 1)
    return data[:start] + data[start + dice.choice([1, 2, 8, 64, 512, len(data)]) :]


def _repeat(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data) + 1)
    piece = data[start : start + dice.choice([1, 8, 64, 512])]
    return data[:start] + piece * dice.choice([2, 3, 20]) + data[start:]


def _token(data: bytes, dice: random.Random) -> bytes:
    start = dice.randrange(len(data) + 1)
    return data[:start] + dice.choice(TOKENS) + data[start + dice.choice([0, 0, 1, 4]) :]


def _number(data: bytes, dice: random.Random) -> bytes:
    return _replaced(data, dice, _NUMBER)


def _value(data: bytes, dice: random.Random) -> bytes:
    return _replaced(data, dice, _VALUE)


def _replaced(data: bytes, dice: random.Random, pattern: re.Pattern[bytes]) -> bytes:
    found = list(pattern.finditer(data[: 1 << 16]))
    if not found:
        return _byte(data, dice)
    chosen = dice.choice(found)
    return data[: chosen.start()] + dice.choice(TOKENS) + data[chosen.end() :]


def _swap(data: bytes, dice: random.Random) -> bytes:
    a, b = sorted(dice.randrange(len(data) + 1) for _ in range(2))
    size = dice.choice([1, 4, 32])
    return data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]


_CHANGES = (_flip, _byte, _cut, _repeat, _token, _number, _number, _value, _value, _value, _swap)
