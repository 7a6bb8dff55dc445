"""`clis build-imagenet-subset`: ImageNet in any packing and a vocabulary in, shards of the classes that match out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clis_core.categories import Categories
from clis_core.data.shards.manifest import Manifest
from clis_core.data.sources.member import Source
from clis_core.data.sources.open import open_sources
from clis_core.data.taxonomy import Concept, WnidMatch, concepts, match_wnids
from clis_core.errors import DataError
from clis_core.jobs.build_pictures import BuildOptions, Selection, build
from clis_core.report import Reporter

_WNID = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class SubsetPlan:
    """What a build would do.

    Attributes:
        source: where the pictures are.
        vocabulary: the categories.
        match: which of them are which WordNet id.
        others: labels of the source that are no category; None where they are known only by reading it all.
        selection: the same for the build.
        facts: what makes the same build, as plain json values.
    """

    source: Source
    vocabulary: Sequence[Concept]
    match: WnidMatch
    others: list[str] | None
    selection: Selection
    facts: Mapping[str, Any]

    def coverage(self) -> dict[str, tuple[int, int]]:
        """Matched categories and all categories, by group r, c, f."""
        matched = {category.id for category in self.match.by_wnid.values()}
        return {
            group: (
                sum(c.category.id in matched for c in self.vocabulary if c.category.group == group),
                sum(c.category.group == group for c in self.vocabulary),
            )
            for group in ("r", "c", "f")
        }


def plan_subset(
    sources: Sequence[Path],
    lvis: str | Path,
    *,
    split_file: Path | None = None,
    label_from: str | None = None,
    class_list: Path | None = None,
) -> SubsetPlan:
    """Match a source's classes with a vocabulary by their WordNet ids.

    Args:
        sources: tars, folders or shards of ImageNet.
        lvis: "v1", "v0.5", or an LVIS json whose categories have synsets.
        split_file: takes only the classes, or only the files, that it lists, one a line.
        label_from: where WebDataset shards have their labels.
        class_list: the classes behind their numbers, one a line.

    Raises:
        DataError: a source is none, the vocabulary has no synsets, or nothing matches.
    """
    source = open_sources(sources, label_from=label_from, class_list=class_list)
    vocabulary = concepts(lvis)
    if not any(concept.category.synset for concept in vocabulary):
        raise DataError(
            f"{lvis}: its categories have no synsets, so they cannot be matched with WordNet ids.",
            hint=f"Match them by name: clis build-images {sources[0]} --data {lvis}",
        )
    labels = source.labels()
    match = match_wnids(vocabulary, labels)
    listed = _Listed.read(split_file) if split_file else None
    by_wnid = {
        wnid: category
        for wnid, category in match.by_wnid.items()
        if listed is None or listed.classes is None or wnid in listed.classes
    }
    if not by_wnid:
        raise DataError(
            f"{', '.join(map(str, sources))}: no class of the {source.kind} is one of {len(vocabulary)} categories.",
            hint="Labels must be WordNet ids such as n02084071; for classes by name: clis build-images",
        )
    synsets = {wnid: category.synset for wnid, category in by_wnid.items()}
    unmatched = dict(match.unmatched)
    for category in match.by_wnid.values():
        if category not in by_wnid.values():
            unmatched[category.id] = f"{split_file} does not list it"
    selection = Selection(
        categories=Categories(concept.category for concept in vocabulary),
        category_of=by_wnid,
        prefix_of={wnid: wnid for wnid in by_wnid},
        unmatched=unmatched,
        facts={wnid: {"wnid": wnid, "synset": synset} for wnid, synset in synsets.items()},
        names=listed.names if listed else None,
    )
    facts = {
        "command": "build-imagenet-subset",
        "source": [str(path.absolute()) for path in sources],
        "lvis": str(lvis),
        "split_file": str(split_file.absolute()) if split_file else None,
        "label_from": label_from,
        "class_list": str(class_list.absolute()) if class_list else None,
    }
    others = None if labels is None else [label for label in labels if label not in match.by_wnid]
    return SubsetPlan(source, vocabulary, match, others, selection, facts)


def build_imagenet_subset(plan: SubsetPlan, out: Path, options: BuildOptions, *, reporter: Reporter) -> Manifest:
    """Write the matched classes as shards; see `build`."""
    return build(plan.source, plan.selection, out, options, plan=plan.facts, reporter=reporter)


@dataclass(frozen=True)
class _Listed:
    """What a split file lists: classes, or names of files without extension."""

    classes: frozenset[str] | None
    names: frozenset[str] | None

    @classmethod
    def read(cls, path: Path) -> _Listed:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"Split file {path} cannot be read: {error}.", hint="One class or one file name a line."
            ) from None
        entries = [
            (number, line.split()[0])
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not entries:
            raise DataError(f"Split file {path} lists nothing.", hint="One class or one file name a line.")
        are_classes = _WNID.fullmatch(entries[0][1]) is not None
        for number, entry in entries:
            if (_WNID.fullmatch(entry) is not None) != are_classes:
                raise DataError(
                    f"{path}, line {number}: {entry!r}, but the lines before are "
                    f"{'classes' if are_classes else 'files'}.",
                    hint="List either classes (n02084071) or files (n02084071_123.JPEG), not both.",
                )
        if are_classes:
            return cls(frozenset(entry for _, entry in entries), None)
        return cls(None, frozenset(Path(entry).stem for _, entry in entries))
