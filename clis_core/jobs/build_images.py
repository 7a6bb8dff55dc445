"""`clis build-images`: own labelled pictures and a data set in, shards of the classes whose names match out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.categories import Categories
from clis_core.data.layout import find_dataset
from clis_core.data.matching import check, match_names, matching_json, rows
from clis_core.data.shards.manifest import Manifest
from clis_core.data.sources.member import Source
from clis_core.data.sources.open import open_sources
from clis_core.data.taxonomy import concepts
from clis_core.errors import DataError
from clis_core.jobs.build_options import BuildOptions, Selection, source_facts
from clis_core.jobs.build_pictures import build
from clis_core.report import Reporter

MATCHING = "matching.json"
"""Beside the shards: which label of the source is which category."""

_OFTEN = 1000  # members between two reports


@dataclass(frozen=True)
class ImagesPlan:
    """What a build would do.

    Attributes:
        source: where the pictures are.
        rows: (label, category, how that was found) of every label.
        selection: the same for the build.
        facts: what makes the same build, as plain json values.
    """

    source: Source
    rows: list[tuple[str, str, str]]
    selection: Selection
    facts: Mapping[str, Any]


def plan_images(
    sources: Sequence[Path],
    data: Path,
    *,
    map_file: Path | None = None,
    label_from: str | None = None,
    class_list: Path | None = None,
    root: Path | None = None,
    reporter: Reporter | None = None,
) -> ImagesPlan:
    """Match a source's labels with the categories of a data set by their names.

    Args:
        sources: a folder for each class, lists of path and label, tars or WebDataset shards.
        data: the training json, or the folder of a data set that holds one.
        map_file: says what labels mean, over what their names say.
        label_from: where WebDataset shards have their labels.
        class_list: the classes behind their numbers, one a line.
        root: folder that relative paths of a list start from; None takes the list's own.
        reporter: gets progress where all of a source has to be read for its labels.

    Raises:
        ConfigError: an argument is none of its choices.
        DataError: a source is none, a label fits several categories, or nothing matches.
    """
    json = _training_json(data)
    vocabulary = concepts(json)
    source = open_sources(sources, label_from=label_from, class_list=class_list, root=root)
    labels = source.labels()
    match = match_names(labels if labels is not None else _read_labels(source, reporter), vocabulary, map_file)
    check(match, vocabulary)
    text = matching_json(match, vocabulary)
    covered = {found.category.id for found in match.matched.values()}
    names = {concept.category.id: concept.category.name for concept in vocabulary}
    selection = Selection(
        categories=Categories(concept.category for concept in vocabulary),
        category_of={label: found.category for label, found in match.matched.items()},
        prefix_of={label: found.category.name for label, found in match.matched.items()},
        unmatched={id_: f"the source has no label {name!r}" for id_, name in names.items() if id_ not in covered},
        facts={label: {"label": label} for label in match.matched},
        files={MATCHING: text},
    )
    facts = {
        "command": "build-images",
        **source_facts(sources, source, (map_file, class_list)),
        "data": str(json.absolute()),
        "matching": f"{len(match.matched)} labels ({hashlib.sha256(text.encode()).hexdigest()[:16]})",
        "label_from": label_from,
        "root": str(root.absolute()) if root else None,
    }
    return ImagesPlan(source, rows(match, vocabulary), selection, facts)


def build_images(plan: ImagesPlan, out: Path, options: BuildOptions, *, reporter: Reporter) -> Manifest:
    """Write the matched classes as shards; see `build`."""
    return build(plan.source, plan.selection, out, options, plan=plan.facts, reporter=reporter)


def _training_json(data: Path) -> Path:
    if data.is_file():
        return data
    if not data.exists():
        raise DataError(
            f"--data {data} does not exist.", hint="Name a training json, or the folder of a data set that holds one."
        )
    found = find_dataset(data).train
    if found is None:
        raise DataError(f"{data} has no training json.", hint="Name the json: --data TRAIN_JSON")
    return found


def _read_labels(source: Source, reporter: Reporter | None) -> list[str]:
    """The labels of a source that tells them only member by member; no picture is read."""
    seen: set[str] = set()
    number = 0

    def look(label: str) -> bool:
        nonlocal number
        number += 1
        seen.add(label)
        if reporter is not None and number % _OFTEN == 0:
            reporter.progress("labels read", number, None, {"different": len(seen)})
        return False

    for _ in source.members(look):
        pass
    return sorted(seen)
