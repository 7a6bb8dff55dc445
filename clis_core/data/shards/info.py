"""The manifest of a folder of shards goes in; what it holds, by category and by group, comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.categories import Category
from clis_core.data.shards.manifest import read_manifest


@dataclass(frozen=True)
class GroupInfo:
    """The pictures of the rare, common or frequent categories.

    Attributes:
        categories: in the group.
        with_pictures: of them, how many have one or more.
        pictures: of all of them.
    """

    categories: int
    with_pictures: int
    pictures: int


@dataclass(frozen=True)
class Info:
    """What a folder of shards holds.

    Attributes:
        samples: in all.
        shards: number of files.
        size: of all tars, bytes.
        counts: samples of each category, those without one included.
        groups: by "r", "c", "f"; empty where the categories have no groups.
        without: categories that have no picture, each with the reason.
        refused: members refused, by reason.
        made: how the shards were made.
    """

    samples: int
    shards: int
    size: int
    counts: list[tuple[Category, int]]
    groups: dict[str, GroupInfo]
    without: list[tuple[Category, str]]
    refused: dict[str, int]
    made: dict[str, Any]

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {
            "samples": self.samples,
            "shards": self.shards,
            "size": self.size,
            "categories": len(self.counts),
            "groups": {group: vars(found) for group, found in self.groups.items()},
            "counts": {str(category.id): count for category, count in self.counts},
            "without": [{"id": c.id, "name": c.name, "why": why} for c, why in self.without],
            "refused": self.refused,
            "made": self.made,
        }


def info(folder: Path) -> Info:
    """What a finished folder of shards holds, by its manifest.

    Raises:
        DataError: it has no manifest, or a damaged one.
    """
    manifest = read_manifest(folder)
    counts = [(category, manifest.counts.get(category.id, 0)) for category in manifest.categories]
    groups = {}
    for group in ("r", "c", "f"):
        mine = [count for category, count in counts if category.group == group]
        if mine:
            groups[group] = GroupInfo(len(mine), sum(count > 0 for count in mine), sum(mine))
    other = "no picture of it was kept; refused.jsonl lists what was refused"
    return Info(
        samples=manifest.samples,
        shards=len(manifest.shards),
        size=sum(shard.size for shard in manifest.shards),
        counts=counts,
        groups=groups,
        without=[(c, manifest.unmatched.get(c.id, other)) for c, count in counts if not count],
        refused=dict(manifest.refused),
        made=dict(manifest.made),
    )
