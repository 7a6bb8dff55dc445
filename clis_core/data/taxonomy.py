"""Categories go in, LVIS's own or those of a json; their meanings, WordNet ids and search queries come out."""

from __future__ import annotations

import csv
import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import msgspec
from msgspec import Struct

from clis_core.categories import Categories, Category, group_of_count
from clis_core.data.annotation_faults import FAULTS, explain
from clis_core.data.annotation_json import CategoryFields, json_text
from clis_core.data.annotations import load_annotations
from clis_core.errors import ConfigError, DataError

BUILT_IN = ("v1", "v0.5")
"""The LVIS releases whose categories come with clis."""

_BRACKETS = re.compile(r"\(([^)]*)\)")


@dataclass(frozen=True)
class Concept:
    """A category and what it means.

    Attributes:
        category: its id, name, synset, group and image count.
        synonyms: other names, the category's own mostly among them; empty where the file gives none.
        definition: WordNet's, as LVIS words it; "" where the file gives none.
    """

    category: Category
    synonyms: tuple[str, ...] = ()
    definition: str = ""


@dataclass(frozen=True)
class WnidMatch:
    """Which classes of ImageNet are categories.

    Attributes:
        by_wnid: category by WordNet id (``n02391049``).
        unmatched: why a category has no class, by its id.
    """

    by_wnid: dict[str, Category]
    unmatched: dict[int, str]


def concepts(which: str | Path) -> list[Concept]:
    """The categories of LVIS, or of a data set, in the order of their ids.

    Of a json only the list ``categories`` is read, without building the rest. Where a category has no
    ``image_count``, the images of the file are counted, which takes as long as loading the file. Categories
    without a synset have COCO's where both id and name are those of a COCO category: a name alone would be a guess
    (the mouse of COCO is a computer's).

    Args:
        which: "v1" or "v0.5" for LVIS's own categories, or an LVIS or COCO json, best that of the training split.

    Raises:
        ConfigError: there is no such LVIS release.
        DataError: the json is missing or no such json, or a category in it is wrong; names file and record.
    """
    if isinstance(which, Path):
        return _of_file(which)
    if which not in BUILT_IN:
        raise ConfigError(
            f"There are no built-in LVIS categories {which!r}.", hint="Use v1 or v0.5, or name an LVIS or COCO json."
        )
    return [_concept(r, r.images) for r in msgspec.json.decode(_asset(f"lvis_{which}.json"), type=list[_Record])]


def wnid_of(synset: str) -> str | None:
    """WordNet 3.0 id of a synset, or None.

    Known are the synsets of ImageNet's 21,841 classes, of LVIS and of COCO.
    """
    wnid, _ = _wnids().get(synset, ("", False))
    return wnid or None


def in_imagenet(wnid: str) -> bool:
    """Whether a WordNet id is one of the 21,841 classes of ImageNet's release of autumn 2011."""
    return wnid in _imagenet()


def match_wnids(concepts: Iterable[Concept], labels: Iterable[str] | None = None) -> WnidMatch:
    """Find the ImageNet class of each category by its synset.

    LVIS v1 has 997 of its 1,203 categories among the 21,841 classes, as Detic and CLIS have. LVIS v0.5 has 1,024
    of 1,230 by the same table, where CLIS states 1,023.

    Args:
        concepts: the categories.
        labels: the labels that the source of pictures holds; None takes ImageNet's 21,841 classes.
    """
    concepts = list(concepts)
    held = None if labels is None else set(labels)
    sharing = Counter(c.category.synset for c in concepts)
    by_wnid: dict[str, Category] = {}
    unmatched: dict[int, str] = {}
    for category in (c.category for c in concepts):
        wnid, problem = _class_of(category.synset, held)
        if not problem and sharing[category.synset] > 1:
            problem = f"another category has its synset {category.synset} too"
        if problem:
            unmatched[category.id] = problem
        else:
            by_wnid[wnid] = category
    return WnidMatch(by_wnid, unmatched)


def _class_of(synset: str | None, held: set[str] | None) -> tuple[str, str]:
    """(WordNet id, "") of a synset, or ("", why a source has no pictures of it)."""
    if not synset:
        return "", "no synset"
    if synset not in _wnids():
        return "", f"synset {synset} is not among ImageNet's 21,841 classes"
    wnid, _ = _wnids()[synset]
    if not wnid:
        return "", f"synset {synset} is not in WordNet 3.0"
    if wnid in (_imagenet() if held is None else held):
        return wnid, ""
    if wnid not in _imagenet():
        return "", f"{wnid} is not among ImageNet's 21,841 classes"
    return "", f"the source has no {wnid}"


def query(concept: Concept) -> str:
    """What to search for: name and definition (CLIS, sec. IV-D5).

    Asides of the definition, in brackets, are left out: many of them tell annotators what not to mark.
    """
    definition, _ = _without_brackets(concept.definition)
    return f"{fallback_query(concept)} {definition}".rstrip()


def fallback_query(concept: Concept) -> str:
    """What to search for where the definition leads nowhere: ``bow_(weapon)`` is "bow weapon"."""
    name, qualifiers = _without_brackets(concept.category.name.replace("_", " "))
    return " ".join([name, *qualifiers])


def _without_brackets(text: str) -> tuple[str, list[str]]:
    """The text without what it has in brackets, and that."""
    return " ".join(_BRACKETS.sub("", text).split()), _BRACKETS.findall(text)


class _Record(CategoryFields):
    """The fields of a category that are read."""

    synonyms: list[str] | None = None
    definition: str | None = msgspec.field(name="def", default=None)
    image_count: object = None

    @property
    def images(self) -> int | None:
        """Training images, where the file says so."""
        count = self.image_count
        return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


class _File(Struct):
    """Of a json, the categories alone; the decoder skips the rest."""

    categories: list[_Record]


def _of_file(path: Path) -> list[Concept]:
    text = json_text(path)
    try:
        records = msgspec.json.decode(text, type=_File).categories
    except FAULTS as error:
        raise explain(path, text, error, _File) from None
    counts = {r.id: r.images for r in records}
    try:
        categories = Categories(_concept(r, None).category for r in records)
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint or "Give every category its own id.") from None
    if None in counts.values():
        counted = dict(zip(categories.ids, load_annotations(path, None).image_counts().tolist(), strict=True))
        counts = {i: counted[i] if n is None else n for i, n in counts.items()}
    return sorted((_concept(r, counts[r.id]) for r in records), key=lambda c: c.category.id)


def _concept(record: _Record, images: int | None) -> Concept:
    """A concept; its group is the record's, or by the images where the record has none."""
    synset, definition = record.synset, record.definition
    if not synset:
        synset, meaning = _coco().get((record.id, record.name), (None, ""))
        definition = definition or meaning
    group = record.frequency if record.frequency in ("r", "c", "f") else None
    category = Category(record.id, record.name, synset, group, images)  # type: ignore[arg-type]
    if group is None and images is not None:
        category = replace(category, group=group_of_count(images))
    return Concept(category, tuple(record.synonyms or ()), definition or "")


@functools.cache
def _wnids() -> dict[str, tuple[str, bool]]:
    """(WordNet id or "", whether it is one of ImageNet's classes) by synset."""
    return {synset: (wnid, imagenet == "1") for synset, wnid, imagenet in _table("synset_wnid.tsv")}


@functools.cache
def _imagenet() -> frozenset[str]:
    return frozenset(wnid for wnid, imagenet in _wnids().values() if imagenet)


@functools.cache
def _coco() -> dict[tuple[int, str], tuple[str, str]]:
    """(synset, definition) by COCO's category id and name."""
    return {(int(number), name): (synset, meaning) for number, name, synset, meaning in _table("coco_synset.tsv")}


def _table(name: str) -> Iterator[Sequence[str]]:
    """The rows of a table, without its header."""
    rows = csv.reader(_asset(name).decode().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    next(rows)
    return rows


def _asset(name: str) -> bytes:
    return (resources.files("clis_core.data") / "assets" / name).read_bytes()
