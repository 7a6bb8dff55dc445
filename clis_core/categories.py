"""The classes of a data set: ids, names, synsets, image counts and the groups rare, common, frequent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from clis_core.errors import DataError

Group = Literal["r", "c", "f"]
GROUP_NAMES = {"r": "rare", "c": "common", "f": "frequent"}

RARE_MAX_IMAGES = 10
COMMON_MAX_IMAGES = 100


def group_of_count(images: int) -> Group:
    """Rare (1-10 training images), common (11-100) or frequent (more): LVIS, Gupta et al. 2019, sec. 5."""
    if images <= RARE_MAX_IMAGES:
        return "r"
    return "c" if images <= COMMON_MAX_IMAGES else "f"


@dataclass(frozen=True)
class Category:
    """One class.

    Attributes:
        id: the id in the annotation file; ids need not be contiguous.
        name: the name in the annotation file.
        synset: WordNet synset such as ``aerosol.n.02``, where the file gives one.
        group: ``r``, ``c`` or ``f``; None where neither the file nor training counts say.
        images: number of training images that hold the class, None where unknown.
    """

    id: int
    name: str
    synset: str | None = None
    group: Group | None = None
    images: int | None = None


class Categories(Sequence[Category]):
    """The classes of a data set in the order of their ids; label ``i`` (1..C) is ``categories[i - 1]``.

    Label 0 is background.

    Raises:
        DataError: two categories share an id, or there is none.
    """

    def __init__(self, categories: Iterable[Category]) -> None:
        self._items = tuple(sorted(categories, key=lambda c: c.id))
        if not self._items:
            raise DataError("The data set has no categories.", hint="Its json needs a 'categories' list.")
        self._label = {c.id: i for i, c in enumerate(self._items, start=1)}
        if len(self._label) != len(self._items):
            seen: set[int] = set()
            twice = next(c for c in self._items if c.id in seen or seen.add(c.id))  # type: ignore[func-returns-value]
            raise DataError(
                f"Category id {twice.id} ({twice.name!r}) occurs twice.", hint="Give each category an id of its own."
            )

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Category]:
        return iter(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categories) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __repr__(self) -> str:
        return f"Categories({len(self)} classes: {', '.join(c.name for c in self._items[:3])}, ...)"

    @property
    def ids(self) -> list[int]:
        """Category ids, by label."""
        return [c.id for c in self._items]

    def label(self, category_id: int) -> int:
        """Contiguous label 1..C of a category id.

        Raises:
            KeyError: no category has this id.
        """
        return self._label[category_id]

    def with_counts(self, images: Sequence[int]) -> Categories:
        """The same classes with training image counts; groups that the file did not give come from them."""
        return Categories(
            replace(c, images=int(n), group=c.group or group_of_count(int(n)))
            for c, n in zip(self._items, images, strict=True)
        )

    def labels_in_group(self, group: Group) -> list[int]:
        """Labels (1..C) of the classes of one group."""
        return [i for i, c in enumerate(self._items, start=1) if c.group == group]

    def to_records(self) -> list[dict[str, Any]]:
        """Plain records for json, toml or a checkpoint."""
        return [{k: v for k, v in vars(c).items() if v is not None} for c in self._items]

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> Categories:
        """The inverse of `to_records`."""
        return cls(Category(**r) for r in records)

    def check_same(self, other: Categories, mine: str, theirs: str) -> None:
        """Check that two files mean the same by an id.

        Args:
            other: the classes of the other file.
            mine: what to call this file in the message.
            theirs: what to call the other one.

        Raises:
            DataError: ``other`` has an id that is missing here, or that has another name here.
        """
        for c in other:
            label = self._label.get(c.id)
            if label is None:
                raise DataError(
                    f"{theirs} has category {c.id} ({c.name!r}), which {mine} does not have.",
                    hint="Train and val must list the same categories with the same ids.",
                )
            if self._items[label - 1].name != c.name:
                raise DataError(
                    f"Category {c.id} is {self._items[label - 1].name!r} in {mine} but {c.name!r} in {theirs}.",
                    hint="Train and val must list the same categories with the same ids.",
                )
