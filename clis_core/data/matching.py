"""Labels of pictures and the categories of a data set go in; which label is which category comes out."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from clis_core.categories import Category
from clis_core.data.map_file import Entry, read_map
from clis_core.data.taxonomy import Concept, wnid_of
from clis_core.errors import DataError

_SHOWN = 10  # labels in a message
_ALIKE = 0.75  # difflib's ratio from which a name is suggested


class Match(NamedTuple):
    """What a label was found to be.

    Attributes:
        category: the category.
        how: "map", "name", "spelling", "synonym", "synset" or "wnid", see `match_names`.
    """

    category: Category
    how: str


@dataclass(frozen=True)
class NameMatch:
    """Which label is which category; each label is in one of the three.

    Attributes:
        matched: by label.
        unmatched: why a label is no category, by label.
        ambiguous: the categories that a label fits equally well, by label.
    """

    matched: dict[str, Match]
    unmatched: dict[str, str]
    ambiguous: dict[str, list[Category]]


def match_names(labels: Iterable[str], concepts: Iterable[Concept], map_file: Path | None = None) -> NameMatch:
    """Find the category of each label.

    In this order, the first that fits anything decides: the map file; the name as it is written ("name"); the name
    but for upper and lower case, hyphens, underscores, spaces and Unicode's ways to write a letter ("spelling"), the
    same for synonyms ("synonym"); the WordNet synset, ``zebra.n.01``; the WordNet id, ``n02391049``. Nothing is
    guessed: neither plurals nor words that look alike, and a label that fits several categories is ambiguous.
    Several labels may be one category.

    Args:
        labels: labels of the source of pictures: names of folders, WordNet ids, class names.
        concepts: the categories.
        map_file: says for some labels which category they are, see `read_map`.

    Raises:
        DataError: the map file is none, or names a label or a category that there is not; names the line.
    """
    labels = list(dict.fromkeys(labels))
    concepts = list(concepts)
    mapped = _mapped(read_map(map_file), labels, concepts) if map_file is not None else {}
    levels = _levels(concepts)
    result = NameMatch({}, {}, {})
    for label in labels:
        if label in mapped:
            category = mapped[label]
            if category is None:
                result.unmatched[label] = "left out by the map file"
            else:
                result.matched[label] = Match(category, "map")
            continue
        how, found = next(((how, f) for how, key, known in levels if (f := known.get(key(label)))), ("", []))
        if len(found) == 1:
            result.matched[label] = Match(found[0], how)
        elif found:
            result.ambiguous[label] = found
        else:
            result.unmatched[label] = _reason(label)
    return result


def check(match: NameMatch, concepts: Iterable[Concept]) -> None:
    """Refuse labels that fit several categories, and sources without any label that fits.

    Raises:
        DataError: names the labels, what they could be, and lines for a map file that settle it.
    """
    if match.ambiguous:
        shown = list(match.ambiguous.items())[:_SHOWN]
        some = "; ".join(f"{label!r}: {' or '.join(map(_with_id, found))}" for label, found in shown)
        lines = "".join(f"\n{_cell(label)},{found[0].id}" for label, found in shown)
        raise DataError(
            f"{len(match.ambiguous)} label(s) fit several categories: {some}{_more(match.ambiguous)}.",
            hint=f"Say which in a file, by id, or - to leave a label out, and give it with --map FILE:\n"
            f"label,category{lines}",
        )
    if not match.matched:
        shown_labels = list(match.unmatched)[:_SHOWN]
        near = _near(shown_labels, concepts)
        some = ", ".join(f"{label!r}{_meant(near[label])}" for label in shown_labels)
        raise DataError(
            f"None of the {len(match.unmatched)} labels is a category: {some}{_more(match.unmatched)}."
            if shown_labels
            else "The source has no labels.",
            hint="Say which label is which category in a file, and give it with --map FILE:\nlabel,category"
            f"\n{_cell(shown_labels[0]) if shown_labels else 'LABEL'},NAME_OR_ID",
        )


def did_you_mean(label: str, concepts: Iterable[Concept]) -> list[str]:
    """Names of up to three categories whose name or synonym looks like a label, the most alike first."""
    return _near([label], concepts)[label]


def rows(match: NameMatch, concepts: Iterable[Concept]) -> list[tuple[str, str, str]]:
    """A table of (label, category, how): what matched, what is ambiguous, what did not and why."""
    near = _near(match.unmatched, concepts)
    return [
        *((label, _with_id(found.category), found.how) for label, found in match.matched.items()),
        *((label, " or ".join(map(_with_id, found)), "ambiguous") for label, found in match.ambiguous.items()),
        *((label, "", f"{reason}{_meant(near[label])}") for label, reason in match.unmatched.items()),
    ]


def matching_json(match: NameMatch, concepts: Iterable[Concept]) -> str:
    """A match as json: lists ``matched``, ``ambiguous`` and ``unmatched``, each entry with its ``label``."""
    near = _near(match.unmatched, concepts)
    content = {
        "matched": [
            {"label": label, "category_id": found.category.id, "category": found.category.name, "how": found.how}
            for label, found in match.matched.items()
        ],
        "ambiguous": [
            {"label": label, "categories": [{"category_id": c.id, "category": c.name} for c in found]}
            for label, found in match.ambiguous.items()
        ],
        "unmatched": [
            {"label": label, "reason": reason, "did_you_mean": near[label]} for label, reason in match.unmatched.items()
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


_Level = tuple[str, Callable[[str], str], Mapping[str, list[Category]]]


def _levels(concepts: Sequence[Concept]) -> list[_Level]:
    """How a label may fit, first things first: what to call it, what to look up, and where."""

    def index(keys: Callable[[Concept], Iterable[str | None]]) -> dict[str, list[Category]]:
        found: dict[str, list[Category]] = {}
        for concept in concepts:
            for key in set(keys(concept)):
                if key:
                    found.setdefault(key, []).append(concept.category)
        return found

    return [
        ("name", str, index(lambda c: [c.category.name])),
        ("spelling", plain_name, index(lambda c: [plain_name(c.category.name)])),
        ("synonym", plain_name, index(lambda c: map(plain_name, c.synonyms))),
        ("synset", str, index(lambda c: [c.category.synset])),
        ("wnid", str, index(lambda c: [wnid_of(c.category.synset or "")])),
    ]


def plain_name(name: str) -> str:
    """A name without the differences that mean nothing."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _mapped(entries: Iterable[Entry], labels: Sequence[str], concepts: Sequence[Concept]) -> dict[str, Category | None]:
    """Category by label, None for those to leave out."""
    known = {unicodedata.normalize("NFC", label).strip(): label for label in labels} | {x: x for x in labels}
    mapped: dict[str, Category | None] = {}
    for entry in entries:
        label = known.get(entry.label, known.get(unicodedata.normalize("NFC", entry.label).strip()))
        if label is None:
            near = difflib.get_close_matches(entry.label, known, n=1, cutoff=_ALIKE)
            raise DataError(
                f"{entry.where}: the source has no label {entry.label!r}{_meant(near)}.",
                hint="Write labels as the source has them, or take the line out.",
            )
        if label in mapped:
            raise DataError(f"{entry.where}: the label {label!r} has been mapped before.", hint="Keep one of the two.")
        mapped[label] = None if entry.category is None else _named(entry, entry.category, concepts)
    return mapped


def _named(entry: Entry, wanted: str | int, concepts: Sequence[Concept]) -> Category:
    """The category that a map file names: by its name as it is written or its id, else by its name's spelling."""
    found = [c.category for c in concepts if wanted in (c.category.name, c.category.id, str(c.category.id))]
    if not found and isinstance(wanted, str):
        found = [c.category for c in concepts if plain_name(c.category.name) == plain_name(wanted)]
    if not found:
        near = did_you_mean(str(wanted), concepts)
        raise DataError(
            f"{entry.where}: there is no category {wanted!r}{_meant(near)}.",
            hint="Write the name or the id of a category, or - to leave the label out.",
        )
    if len(found) > 1:
        raise DataError(
            f"{entry.where}: {wanted!r} could be {' or '.join(map(_with_id, found))}.",
            hint="Write the id of the one that you mean; in a JSON map a number without quotes is always an id.",
        )
    return found[0]


def _reason(label: str) -> str:
    if re.fullmatch(r"n\d{8}", label):
        return "no category has this WordNet id"
    if label.isdigit():
        return "a number: which category it means has to be said in a map file"
    return "no category has this name, synonym or synset"


def _near(labels: Iterable[str], concepts: Iterable[Concept]) -> dict[str, list[str]]:
    """Names of categories that look like labels, by label."""
    names: dict[str, str] = {}
    for concept in concepts:
        for name in (concept.category.name, *concept.synonyms):
            names.setdefault(plain_name(name), concept.category.name)
    near = {}
    for label in labels:
        coded = re.fullmatch(r"n\d{8}|\d+", label)  # numbers that look alike mean nothing
        alike = [] if coded else difflib.get_close_matches(plain_name(label), names, n=3, cutoff=_ALIKE)
        near[label] = list(dict.fromkeys(names[name] for name in alike))
    return near


def _meant(near: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def _more(shown: Mapping[str, object]) -> str:
    return f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""


def _with_id(category: Category) -> str:
    return f"{category.name} (id {category.id})"


def _cell(label: str) -> str:
    """A label as a CSV cell."""
    return '"' + label.replace('"', '""') + '"' if re.search(r'[",;\t\r\n]', label) else label
