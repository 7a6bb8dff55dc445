"""Shards and the classes of a data set go in; which class is which, and what does not fit, comes out.

N pictures of the shards.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clis_core.categories import Category
from clis_core.data.check.files import pick_sample
from clis_core.data.check.findings import SHOWN, Findings
from clis_core.data.check.look import Look, look_at, look_at_all
from clis_core.data.check.raw_file import CategoryRecord
from clis_core.data.matching import did_you_mean, plain_name
from clis_core.data.shards.manifest import MANIFEST
from clis_core.data.shards.reader import Shards
from clis_core.data.taxonomy import Concept
from clis_core.errors import DataError
from clis_core.report import Reporter


class Mapped(NamedTuple):
    """A category of the shards.

    Attributes:
        id: its id.
        name: in the shards.
        pictures: how many.
        status: "same", "other class" (the id means another class in the data), "not in the data".
        data_name: name of the class of this id in the data; None where there is none.
        did_you_mean: classes of the data with a name like it, "name (id 3)".
    """

    id: int
    name: str
    pictures: int
    status: str
    data_name: str | None
    did_you_mean: list[str]


def open_shards(folder: Path, findings: Findings) -> Shards | None:
    """Open a folder of shards; None, and a finding, where that is not possible."""
    try:
        shards = Shards(folder)
        _ = shards.labels  # reads the indices
    except DataError as error:
        findings.add("D601", "shards", folder, "", error.message)
        return None
    return shards


def map_categories(shards: Shards, categories: Sequence[CategoryRecord], findings: Findings) -> list[Mapped]:
    """Compare the categories of shards with those of the training json, the way training matches them."""
    counts = shards.manifest.counts
    ours = {c.id: c for c in reversed(categories)}
    concepts = [Concept(Category(c.id, c.name, c.synset)) for c in categories]
    ids_by_name: dict[str, list[int]] = {}
    for c in categories:
        ids_by_name.setdefault(plain_name(c.name), []).append(c.id)
    mapped = []
    for category in shards.categories:
        count, here = counts.get(category.id, 0), ours.get(category.id)
        status = "same" if here and here.name == category.name else "other class" if here else "not in the data"
        near = [] if status == "same" else _near(category.name, concepts, ids_by_name)
        mapped.append(Mapped(category.id, category.name, count, status, here.name if here else None, near))
        _note(mapped[-1], shards.folder / MANIFEST, findings)
    with_pictures = {m.id for m in mapped if m.pictures and m.status == "same"}
    if not with_pictures:
        findings.add("D608", "shards", shards.folder)
    without = [c for c in categories if c.id not in with_pictures]
    shown = ((shards.folder / MANIFEST, f"category {c.id}", repr(c.name)) for c in without[:SHOWN])
    findings.add_many("D604", "shards", len(without), shown)
    return mapped


def _near(name: str, concepts: list[Concept], ids_by_name: dict[str, list[int]]) -> list[str]:
    same = ids_by_name.get(plain_name(name))
    if same:
        return [f"{name} (id {number})" for number in same]
    return [f"{near} (id {ids_by_name[plain_name(near)][0]})" for near in did_you_mean(name, concepts)]


def _note(mapped: Mapped, manifest: Path, findings: Findings) -> None:
    if mapped.status == "same" or not (mapped.pictures or mapped.status == "other class"):
        return
    meant = f"; did you mean {' or '.join(mapped.did_you_mean)}?" if mapped.did_you_mean else ""
    if mapped.status == "other class":
        text = f"{mapped.name!r}, but {mapped.data_name!r} in the data{meant}"
        findings.add("D602", "shards", manifest, f"category {mapped.id}", text)
    else:
        text = f"{mapped.name!r} with {mapped.pictures} pictures{meant}"
        findings.add("D603", "shards", manifest, f"category {mapped.id}", text)


def look_at_pictures(
    shards: Shards, *, sample: int | None, workers: int, findings: Findings, reporter: Reporter
) -> Generator[tuple[Path, str, Look]]:
    """Look at the pictures of shards.

    Args:
        shards: where they are.
        sample: look at so many, drawn always alike; None looks at all.
        workers: threads.
        findings: gets those that cannot be read.
        reporter: gets progress.

    Yields:
        The shard, the picture's key, and what it shows.
    """
    chosen = pick_sample(np.arange(len(shards)), sample).tolist()
    looked = look_at_all(chosen, lambda number: look_at(shards.data(number), "the picture"), workers)
    for done, (number, seen) in enumerate(looked, start=1):
        reporter.progress("pictures", done, len(chosen))
        file = shards.folder / shards.shard_of(number)[0]
        if isinstance(seen, DataError):
            findings.add("D607", "shards", file, f"picture {number}", seen.message)
        else:
            yield file, shards.key(number), seen
