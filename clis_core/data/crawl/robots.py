"""A host's robots.txt and a picture's headers go in; whether its owner lets us have it comes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

TOKEN = "clis"
"""The name by which a robots.txt or a header may speak to this crawler."""
MOST_BYTES = 500 << 10
"""Of a robots.txt that are read; RFC 9309, sec. 2.5."""
MOST_RULES = 5000

OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex", "none")
"""Directives of ``X-Robots-Tag`` that keep a picture out: those that img2dataset respects, and ``none``."""
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
_NAME = re.compile(r"\s*([A-Za-z0-9_*-]+)\s*:(.*)", re.S)


class Rule(NamedTuple):
    """A line of a robots.txt.

    Attributes:
        allow: whether it allows.
        pieces: what must follow each other in the path, with anything in between.
        to_end: whether the last piece must end the path.
        weight: length of the pattern; the longest one that matches decides.
    """

    allow: bool
    pieces: tuple[str, ...]
    to_end: bool
    weight: int

    def matches(self, path: str) -> bool:
        """Whether a path (with its query) matches; in linear time, whatever the pattern."""
        first, *others = self.pieces
        if not path.startswith(first):
            return False
        if self.to_end and not others:
            return path == first
        at = len(first)
        for piece in others[:-1] if self.to_end else others:
            found = path.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return not self.to_end or (path.endswith(others[-1]) and len(path) - len(others[-1]) >= at)


class RobotRules:
    """The rules of a robots.txt (RFC 9309) that are meant for this crawler, or else for all.

    Args:
        text: the file.
    """

    def __init__(self, text: str) -> None:
        mine: list[Rule] = []
        all_: list[Rule] = []
        named = False
        agents: set[str] = set()
        in_rules = False
        for key, value in _lines(text):
            if key == "user-agent":
                if in_rules:
                    agents, in_rules = set(), False
                agents.add(value.lower())
                named = named or value.lower() == TOKEN
            elif key in ("allow", "disallow"):
                in_rules = True
                if value and len(mine) + len(all_) < MOST_RULES:
                    rule = _rule(key == "allow", value)
                    if TOKEN in agents:
                        mine.append(rule)
                    if "*" in agents:
                        all_.append(rule)
        self._rules = mine if named else all_

    def allows(self, address: str) -> bool:
        """Whether the address may be fetched."""
        parts = urlsplit(address)
        path = unquote(parts.path or "/") + (f"?{unquote(parts.query)}" if parts.query else "")
        found = [rule for rule in self._rules if rule.matches(path)]
        return max(found, key=lambda rule: (rule.weight, rule.allow)).allow if found else True


def opt_out(headers: Mapping[str, Sequence[str]]) -> str | None:
    """The header by which a picture's owner keeps it out of data sets, None where there is none.

    Args:
        headers: lines by name in lower case.
    """
    for line in headers.get("x-robots-tag", ()):
        for directive in _for_us(line):
            if directive in OPT_OUTS:
                return f"X-Robots-Tag: {directive}"
    if any(line.strip() == "1" for line in headers.get("tdm-reservation", ())):
        return "TDM-Reservation: 1"
    return None


def _for_us(line: str) -> Iterable[str]:
    """The directives of an ``X-Robots-Tag`` that are meant for all crawlers or for this one."""
    agent = "*"
    for part in line.split(","):
        found = _NAME.fullmatch(part)
        if found and found[1].lower() not in _WITH_VALUE:
            agent, part = found[1].lower(), found[2]  # noqa: PLW2901
        if agent in ("*", TOKEN):
            yield part.strip().lower()


def _lines(text: str) -> Iterable[tuple[str, str]]:
    for line in text[:MOST_BYTES].lstrip("\ufeff").splitlines():
        key, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield key.strip().lower(), value.strip()


def _rule(allow: bool, pattern: str) -> Rule:
    to_end = pattern.endswith("$")
    pieces = pattern.removesuffix("$").split("*")
    return Rule(allow, tuple(unquote(piece) for piece in pieces), to_end, len(pattern))
