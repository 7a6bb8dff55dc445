"""Several sources go in; one comes out that gives their members in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from clis_core.data.sources.member import START, Member, Position, Source

_PARTS = 1 << 40
"""Part numbers kept for each source: a tar that is streamed does not know how many parts it has."""


class JoinedSources:
    """Sources one after the other; part ``p`` of source ``i`` becomes part ``i * 2^40 + p``.

    Args:
        sources: at least one.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self.kind = " and ".join(dict.fromkeys(source.kind for source in sources))

    def labels(self) -> list[str] | None:
        """See `Source`; unknown where one source's are."""
        found: set[str] = set()
        for source in self._sources:
            labels = source.labels()
            if labels is None:
                return None
            found.update(labels)
        return sorted(found)

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`."""
        return sum(source.size(wanted) for source in self._sources)

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        first, part = divmod(start.part, _PARTS)
        for number in range(first, len(self._sources)):
            begin = Position(part, start.member) if number == first else Position()
            for member in self._sources[number].members(wanted, begin):
                after = Position(number * _PARTS + member.after.part, member.after.member)
                yield replace(member, after=after)
