"""What every source of labelled pictures gives: members, one after the other, in an order that never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """How far a source has been read; reading again from here gives every later member and no earlier one.

    Attributes:
        part: number of the part (a tar, a class, an entry of a tar of tars, the whole list).
        member: entries of that part that have been passed, whether wanted or not.
    """

    part: int = 0
    member: int = 0


START = Position()


@dataclass(frozen=True)
class Member:
    """One file that may be a picture.

    Attributes:
        label: what the source says it shows: a WordNet id, a class name; "" where it does not say.
        name: base name of the file, as the source has it; never a path.
        data: its bytes; None where they could not be had.
        problem: why not, in a word or two that can be counted ("too large", "no regular file"); None otherwise.
        after: the position behind it.
    """

    label: str
    name: str
    data: bytes | None
    problem: str | None
    after: Position


class Source(Protocol):
    """A place that holds labelled pictures.

    Attributes:
        kind: what it is, in words that a user knows: "class tars", "class folders".
    """

    kind: str

    def labels(self) -> list[str] | None:
        """The labels in it, where they can be had without reading it all; else None."""
        ...

    def size(self, wanted: Callable[[str], bool]) -> int:
        """About how many bytes the wanted pictures have, from file sizes alone; at least 1."""
        ...

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """The members whose label is wanted, from a position on.

        Args:
            wanted: asked for every member before it is read, so that it may change its mind; where a whole part
                has one label, asked once more for the part, which is then left unread.
            start: as a member's ``after`` said.

        Raises:
            DataError: the source cannot be read on: a tar that is cut short, a file that has gone.
        """
        ...
