"""What was fetched goes in; which pictures become samples comes out, whatever the order in which they arrived."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.record import KEPT, Record
from clis_core.data.decode import decode, read_image
from clis_core.data.near_duplicates import LOOK, NearDuplicates, are_alike, colours_of, difference_hash
from clis_core.data.picture import RefusedPictureError, check_picture
from clis_core.errors import JSON_DAMAGE, DataError
from clis_core.files import write_text
from clis_core.report import Reporter

CHOSEN = "chosen.jsonl"
MOST_CATEGORIES = 2
"""A picture that was found for more categories says nothing about any of them: a placeholder, mostly."""


class Choice(NamedTuple):
    """A hit, and whether its picture becomes a sample.

    Attributes:
        record: what became of it when it was fetched.
        picture: its bytes' file; None if it does not become a sample.
        reason: why not; "" if it does.
        detail: more about that.
    """

    record: Record
    picture: Path | None
    reason: str
    detail: str


class _Entry(NamedTuple):
    """What is needed of a record to find its doubles."""

    rank: int
    place: int  # of the category
    category: int
    sha256: str
    hash: int


def choose(
    folder: CrawlFolder,
    categories: Sequence[int],
    validation: Sequence[Path],
    *,
    check: Callable[[], None],
    reporter: Reporter,
) -> None:
    """Find doubles among the pictures of a crawl, and write down which ones become samples.

    Pictures are gone through by rank, and within a rank in the order of the categories: of two that are the same,
    the one that was found earlier for its category stays. A picture that was found for more than two categories is
    left out everywhere, and so is one that repeats a validation image. Two pictures are the same if their bytes are,
    or if their difference hashes are near each other and their colours are alike.

    Args:
        folder: of the crawl; the result is its ``chosen.jsonl``.
        categories: ids of the categories, in order.
        validation: images that no sample may repeat.
        check: is called now and then; what it raises ends the work, and nothing is written.
        reporter: gets progress.

    Raises:
        DataError: a validation image cannot be read.
    """
    entries: list[_Entry] = []
    for place, category in enumerate(categories):
        for record in folder.records(category):
            if record.outcome == KEPT and record.sha256 and record.hash:
                entries.append(_Entry(record.rank, place, category, record.sha256, int(record.hash, 16)))
    finder = _Doubles(folder, validation)
    for number, path in enumerate(validation, start=1):
        check()
        finder.add_validation(path)
        reporter.progress("validation images", number, len(validation))
    for number, entry in enumerate(sorted(entries), start=1):
        check()
        finder.add(entry)
        reporter.progress("duplicates", number, len(entries))
    doubles = finder.result()
    lines = []
    for category in categories:
        for record in folder.records(category):
            reason, detail = doubles.get((category, record.rank), ("", ""))
            if record.outcome != KEPT:
                reason, detail = record.outcome, record.detail
            values = {"category": category, "rank": record.rank, "reason": reason, "detail": detail}
            lines.append(json.dumps(values) + "\n")
    write_text(folder.path / CHOSEN, "".join(lines))


def is_chosen(folder: CrawlFolder) -> bool:
    """Whether `choose` has been done; its result never changes, so that packing can go on where it was."""
    return (folder.path / CHOSEN).is_file()


def kept_pictures(folder: CrawlFolder) -> Iterator[Choice]:
    """Every hit in the order of categories and ranks, with its picture if that becomes a sample.

    Raises:
        DataError: the folder is damaged.
    """
    path = folder.path / CHOSEN
    records: dict[int, Record] = {}
    category = None
    with path.open(encoding="ascii") as file:
        for line in file:
            try:
                values = json.loads(line)
                if values["category"] != category:
                    category = values["category"]
                    records = {record.rank: record for record in folder.records(category)}
                record, reason = records[values["rank"]], str(values["reason"])
            except (*JSON_DAMAGE, KeyError, TypeError):
                raise DataError(f"{path} is damaged.", hint="Delete it and run the same command again.") from None
            picture = folder.picture(record.sha256) if not reason and record.sha256 else None
            yield Choice(record, picture, reason, str(values["detail"]))


class _Doubles:
    """Finds doubles among pictures that come one after the other.

    Args:
        folder: of the crawl.
        validation: images that no sample may repeat; each is given to `add_validation` before the first picture.
    """

    def __init__(self, folder: CrawlFolder, validation: Sequence[Path]) -> None:
        self._folder = folder
        self._validation = validation
        self._near = NearDuplicates()
        self._stay: list[_Entry] = []
        self._found_for: list[set[int]] = []  # categories of each one that stays
        self._of_bytes: dict[str, int] = {}  # which one stays for these bytes
        self._repeats: list[tuple[int, _Entry, str]] = []
        self._out: dict[tuple[int, int], tuple[str, str]] = {}

    def add_validation(self, path: Path) -> None:
        """Take the next validation image."""
        self._near.keep(difference_hash(read_image(path, at_least=LOOK)))

    def add(self, entry: _Entry) -> None:
        """Take the next picture."""
        same, first = "same bytes", self._of_bytes.get(entry.sha256)
        if first is None:
            same, near = "near-duplicate", self._near_one(entry)
            if near is not None and near < len(self._validation):
                self._out[entry.category, entry.rank] = ("repeats a validation image", self._validation[near].name)
                return
            first = None if near is None else near - len(self._validation)
        if first is None:
            self._near.keep(entry.hash)
            first = len(self._stay)
            self._stay.append(entry)
            self._found_for.append(set())
        else:
            self._repeats.append((first, entry, same))
        self._of_bytes[entry.sha256] = first
        self._found_for[first].add(entry.category)

    def result(self) -> dict[tuple[int, int], tuple[str, str]]:
        """Reason and detail of every picture that is left out, by category and rank."""
        for first, entry, same in self._repeats:
            stays = self._stay[first]
            reason = f"{'duplicate' if entry.category == stays.category else 'another category has it'}, {same}"
            self._out[entry.category, entry.rank] = (reason, f"category {stays.category}, rank {stays.rank}")
        many = {n for n, found in enumerate(self._found_for) if len(found) > MOST_CATEGORIES}
        entries = [(n, self._stay[n]) for n in many] + [(n, entry) for n, entry, _ in self._repeats if n in many]
        for n, entry in entries:
            detail = f"{len(self._found_for[n])} of them"
            self._out[entry.category, entry.rank] = ("found for many categories", detail)
        return self._out

    def _near_one(self, entry: _Entry) -> int | None:
        """Index of an earlier picture that looks the same; hashes alone take one thing on white for another."""
        near = self._near.find(entry.hash)
        if near is None:
            return None
        own = near - len(self._validation)
        other = self._validation[near] if own < 0 else self._folder.picture(self._stay[own].sha256)
        colours, others = _colours(self._folder.picture(entry.sha256)), _colours(other)
        return near if are_alike(colours, others) else None


def _colours(path: Path) -> NDArray[np.float32]:
    """Colours averaged over 16 x 16 cells: ``[16, 16, 3]``."""
    try:
        jpeg = check_picture(path.read_bytes(), str(path)).data
    except RefusedPictureError as error:
        raise DataError(f"{path}: {error.reason} {error.detail}", hint="Crawl into another folder: -o DIR") from None
    return colours_of(decode(jpeg, str(path), at_least=LOOK))
