"""`clis build-imagenet-subset`: ImageNet in any packing and a vocabulary in, shards of the classes that match out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clis_core.categories import Categories, Category
from clis_core.data.layout import find_dataset
from clis_core.data.shards.manifest import Manifest
from clis_core.data.sources.member import Source
from clis_core.data.sources.open import open_sources
from clis_core.data.taxonomy import BUILT_IN, Concept, concepts, match_wnids
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.build_options import BuildOptions, Selection, source_facts
from clis_core.jobs.build_pictures import build
from clis_core.report import Reporter

_WNID = re.compile(r"n\d{8}")
_SHOWN = 5  # labels in a message
_SPLIT_LINES = "One class (n02084071) a line, or one file (n02084071_123.JPEG) a line; not both."


@dataclass(frozen=True)
class Vocabulary:
    """Categories, and which class of ImageNet each of them is.

    Attributes:
        categories: all of them.
        by_wnid: those that have a class, by its WordNet id.
        unmatched: why the others have none, by their id.
    """

    categories: Categories
    by_wnid: Mapping[str, Category]
    unmatched: Mapping[int, str]

    def coverage(self) -> dict[str, tuple[int, int]]:
        """Matched categories and all categories, by group r, c, f; without groups that have no category."""
        matched = {category.id for category in self.by_wnid.values()}
        groups = {g: [c.id in matched for c in self.categories if c.group == g] for g in ("r", "c", "f")}
        return {group: (sum(found), len(found)) for group, found in groups.items() if found}


@dataclass(frozen=True)
class SubsetPlan:
    """What a build would do.

    Attributes:
        source: where the pictures are.
        vocabulary: the categories that the build takes, and why not the others.
        others: labels of the source that are not taken; None where they are known only by reading it all.
        selection: the same for the build.
        facts: what makes the same build, as plain json values.
        notes: more that a person should know.
    """

    source: Source
    vocabulary: Vocabulary
    others: list[str] | None
    selection: Selection
    facts: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)


def imagenet_vocabulary(lvis: str | Path) -> Vocabulary:
    """Match a vocabulary with all 21,841 classes of ImageNet; no pictures are needed.

    Args:
        lvis: "v1", "v0.5", an LVIS json whose categories have synsets, or the folder of a data set.

    Raises:
        ConfigError, DataError: there is no such vocabulary, or it has no synsets.
    """
    return _match(_concepts(lvis), None)


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
        lvis: as for `imagenet_vocabulary`.
        split_file: takes only the classes, or only the files, that it lists, one a line.
        label_from: where WebDataset shards have their labels.
        class_list: the classes behind their numbers, one a line.

    Raises:
        ConfigError: an argument is none of its choices.
        DataError: a source is none, the vocabulary has no synsets, or nothing matches.
    """
    known = _concepts(lvis)
    source = open_sources(sources, label_from=label_from, class_list=class_list)
    labels = source.labels()
    vocabulary = _match(known, labels)
    names: frozenset[str] | None = None
    notes = []
    if not vocabulary.by_wnid:
        raise _no_match(sources, source, labels, vocabulary)
    if labels is not None and len(vocabulary.by_wnid) < (possible := len(_match(known, None).by_wnid)) // 2:
        notes.append(
            f"The source has {len(labels):,} classes. ImageNet-22k, all 21,841 of them, has {possible} of these "
            "categories; ImageNet-1k has few of them."
        )
    if split_file is not None:
        listed = _Listed.read(split_file)
        names = listed.names
        if listed.classes is not None:
            vocabulary = _only(vocabulary, listed.classes, split_file)
            notes.append(
                f"{split_file} lists {len(listed.classes)} classes; {len(vocabulary.by_wnid)} of them are taken."
            )
    selection = Selection(
        categories=vocabulary.categories,
        category_of=vocabulary.by_wnid,
        prefix_of={wnid: wnid for wnid in vocabulary.by_wnid},
        unmatched=vocabulary.unmatched,
        facts={wnid: {"wnid": wnid, "synset": c.synset} for wnid, c in vocabulary.by_wnid.items()},
        names=names,
    )
    facts = {
        "command": "build-imagenet-subset",
        **source_facts(sources, source, (split_file, class_list)),
        "lvis": lvis if isinstance(lvis, str) else str(lvis.absolute()),
        "split_file": str(split_file.absolute()) if split_file else None,
        "label_from": label_from,
    }
    others = None if labels is None else [label for label in labels if label not in vocabulary.by_wnid]
    return SubsetPlan(source, vocabulary, others, selection, facts, notes)


def build_imagenet_subset(plan: SubsetPlan, out: Path, options: BuildOptions, *, reporter: Reporter) -> Manifest:
    """Write the matched classes as shards; see `build`."""
    return build(plan.source, plan.selection, out, options, plan=plan.facts, reporter=reporter)


def _concepts(lvis: str | Path) -> list[Concept]:
    """The categories of a vocabulary, with synsets."""
    if isinstance(lvis, str) and lvis not in BUILT_IN:
        raise ConfigError(f"There are no LVIS categories {lvis!r}.", hint="Use v1 or v0.5, or name an LVIS json.")
    if isinstance(lvis, Path) and not lvis.exists():
        raise ConfigError(
            f"--lvis {lvis}: neither {' nor '.join(BUILT_IN)}, and there is no such file.",
            hint="--lvis v1, --lvis v0.5 or --lvis path/to/lvis_v1_train.json",
        )
    if isinstance(lvis, Path) and lvis.is_dir():
        found = find_dataset(lvis).train
        if found is None:
            raise DataError(f"{lvis} has no training json.", hint="Name a json: --lvis FILE")
        lvis = found
    known = concepts(lvis)
    if not any(concept.category.synset for concept in known):
        raise DataError(
            f"{lvis}: its categories have no synsets, so they cannot be matched with WordNet ids.",
            hint=f"Match them by name: clis build-images SOURCE -o DIR --data {lvis}",
        )
    return known


def _match(known: Sequence[Concept], labels: Sequence[str] | None) -> Vocabulary:
    match = match_wnids(known, labels)
    return Vocabulary(Categories(concept.category for concept in known), match.by_wnid, match.unmatched)


def _only(vocabulary: Vocabulary, classes: frozenset[str], split_file: Path) -> Vocabulary:
    """The vocabulary without classes that a split file does not list.

    Raises:
        DataError: none is left.
    """
    by_wnid = {wnid: category for wnid, category in vocabulary.by_wnid.items() if wnid in classes}
    if not by_wnid:
        raise DataError(
            f"{split_file} lists {len(classes)} classes, but none of the {len(vocabulary.by_wnid)} of the source "
            "that are categories.",
            hint="Look at what the source has: the same command without --split-file, and with --dry-run",
        )
    left_out = {c.id: f"{split_file} does not list {w}" for w, c in vocabulary.by_wnid.items() if w not in by_wnid}
    return Vocabulary(vocabulary.categories, by_wnid, {**vocabulary.unmatched, **left_out})


def _no_match(
    sources: Sequence[Path], source: Source, labels: Sequence[str] | None, vocabulary: Vocabulary
) -> DataError:
    place = ", ".join(map(str, sources[:3]))
    has = f"; it has {', '.join(labels[:_SHOWN])}{', ...' if len(labels) > _SHOWN else ''}" if labels else ""
    return DataError(
        f"{place}: no class of the {source.kind} is one of the {len(vocabulary.categories)} categories{has}.",
        hint="Classes must be WordNet ids such as n02084071. For classes by name: clis build-images SOURCE --data JSON",
    )


@dataclass(frozen=True)
class _Listed:
    """What a split file lists: classes, or names of files without extension."""

    classes: frozenset[str] | None
    names: frozenset[str] | None

    @classmethod
    def read(cls, path: Path) -> _Listed:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise DataError(
                f"Split file {path} cannot be read: {error.strerror or error}.", hint="Check the path."
            ) from None
        except UnicodeDecodeError:
            raise DataError(f"Split file {path} is no UTF-8 text.", hint=_SPLIT_LINES) from None
        entries = [
            (number, line.split()[0])
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        if not entries:
            raise DataError(f"Split file {path} lists nothing.", hint=_SPLIT_LINES)
        are_classes = _WNID.fullmatch(entries[0][1]) is not None
        for number, entry in entries:
            if (_WNID.fullmatch(entry) is not None) != are_classes:
                raise DataError(
                    f"{path}, line {number}: {entry!r}, but the lines before are "
                    f"{'classes' if are_classes else 'files'}.",
                    hint=_SPLIT_LINES,
                )
        if are_classes:
            return cls(frozenset(entry for _, entry in entries), None)
        return cls(None, frozenset(Path(entry).stem for _, entry in entries))
