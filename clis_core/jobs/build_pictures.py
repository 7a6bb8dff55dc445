"""Labelled pictures from a source go in, a folder of shards comes out: what every `clis build-...` command shares."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.categories import Categories, Category
from clis_core.data.picture import Picture, RefusedPictureError, check_picture
from clis_core.data.shards.builder import DUPLICATE, Sample, ShardBuilder, is_finished
from clis_core.data.shards.manifest import Manifest, read_manifest
from clis_core.data.sources.member import START, Member, Position, Source
from clis_core.errors import DataError, Interrupted
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

CHUNK = 16
"""Members that one thread checks in one go."""
ENOUGH = 200
"""Members to see before too many bad ones stop a build."""
BYTES_A_SHARD = 1_000_000_000
MOST_SHARDS = 256


@dataclass(frozen=True)
class BuildOptions:
    """How to build shards.

    Attributes:
        max_per_class: pictures of a category, the first ones of the source; None takes all.
        workers: threads that check pictures.
        max_bad_fraction: stop when more than this part of the members is refused (duplicates do not count).
        min_side: refuse pictures with a shorter side, pixels.
        max_side: make pictures smaller whose long side is longer, pixels; None keeps them as they are.
        shards: number of shards; None makes them about 1 GB.
        seed: of the order of the samples.
    """

    max_per_class: int | None = None
    workers: int = 2
    max_bad_fraction: float = 0.1
    min_side: int = 16
    max_side: int | None = None
    shards: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Selection:
    """Which members to take, and as what.

    Attributes:
        categories: the classes of the shards.
        category_of: category by the source's label.
        prefix_of: what keys start with, by label: the WordNet id or the class name.
        unmatched: why a category gets no picture, by its id.
        facts: more json fields of a sample, by label.
        names: only members of these names (without extension); None takes all.
    """

    categories: Categories
    category_of: Mapping[str, Category]
    prefix_of: Mapping[str, str]
    unmatched: Mapping[int, str] = field(default_factory=dict)
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: frozenset[str] | None = None


class Checked:
    """A member with what became of its bytes.

    Attributes:
        member: as the source gave it, without its bytes.
        picture: the picture; None where it was refused.
        sha256: of the picture's bytes, hexadecimal.
        reason: why it was refused.
        detail: more about that.
    """

    def __init__(self, member: Member, options: BuildOptions) -> None:
        self.after, self.label, self.name = member.after, member.label, member.name
        self.picture: Picture | None = None
        self.sha256 = self.reason = self.detail = ""
        if member.data is None:
            self.reason = member.problem or "unreadable"
            return
        try:
            self.picture = check_picture(member.data, member.name, min_side=options.min_side, max_side=options.max_side)
            self.sha256 = hashlib.sha256(self.picture.data).hexdigest()
        except RefusedPictureError as error:
            self.reason, self.detail = error.reason, error.detail


def build(
    source: Source,
    selection: Selection,
    out: Path,
    options: BuildOptions,
    *,
    plan: Mapping[str, Any],
    reporter: Reporter,
) -> Manifest:
    """Write the selected pictures of a source as shards; goes on where an earlier build of the same plan stopped.

    Args:
        source: where the pictures are.
        selection: which of them, and as what.
        out: folder of the shards.
        options: how.
        plan: what makes the same build: the command's name, its source and options, as plain json values.
        reporter: gets progress and messages.

    Returns:
        The manifest of the finished shards.

    Raises:
        DataError: the source or ``out`` cannot be used, or too many members are no pictures.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    shards = options.shards or _shards(source, selection)
    plan = {
        **plan,
        "max_per_class": options.max_per_class,
        "min_side": options.min_side,
        "max_side": options.max_side,
    }
    if is_finished(out):
        manifest = read_manifest(out)
        if all(manifest.made.get(key) == value for key, value in plan.items()):
            reporter.info(f"{out} is finished already; shards never change.")
            return manifest
    with ShardBuilder(out, selection.categories, plan, shards=shards, seed=options.seed) as builder:
        if not builder.complete:
            _read(source, selection, builder, out, options, reporter)
        return builder.finish(
            unmatched=_empty(selection, builder.counts),
            made={"clis": __version__, **plan},
            reporter=reporter,
        )


def _read(
    source: Source,
    selection: Selection,
    builder: ShardBuilder,
    out: Path,
    options: BuildOptions,
    reporter: Reporter,
) -> None:
    """Add every selected picture of the source, from where the builder is on."""
    start = START
    if builder.cursor:
        start = Position(*builder.cursor)
        reporter.info(f"{out}: goes on after {sum(builder.counts.values())} pictures.")

    def wanted(label: str) -> bool:
        category = selection.category_of.get(label)
        return category is not None and not _full(builder, category, options)

    watch = Watch(builder, options, reporter)
    with StopRequest() as stop:
        for chunk in _checked(source.members(wanted, start), options, selection.names):
            for checked in chunk:
                _take(builder, checked, selection, options)
            watch.after(chunk[-1].after)
            if stop.name:
                builder.checkpoint(chunk[-1].after)
                raise Interrupted(
                    f"Stopped by {stop.name} after {watch.seen} files; what was built is kept in {out}.",
                    hint="Run the same command again to go on.",
                )
    watch.end()


def _shards(source: Source, selection: Selection) -> int:
    size = source.size(lambda label: label in selection.category_of)
    return min(MOST_SHARDS, max(1, -(-size // BYTES_A_SHARD)))


@dataclass
class Watch:
    """Says how far a build is, and stops it when too much of the source is bad."""

    builder: ShardBuilder
    options: BuildOptions
    reporter: Reporter

    @property
    def kept(self) -> int:
        """Samples so far."""
        return sum(self.builder.counts.values())

    @property
    def bad(self) -> int:
        """Refused members so far, duplicates not counted."""
        return sum(n for reason, n in self.builder.refused.items() if reason != DUPLICATE)

    @property
    def seen(self) -> int:
        """Members so far."""
        return self.kept + sum(self.builder.refused.values())

    def after(self, position: Position) -> None:
        """A chunk is done."""
        self.builder.passed(position)
        self.reporter.progress("pictures", self.seen, None, {"kept": self.kept, "refused": self.bad})
        if self.seen >= ENOUGH:
            self._judge(position)

    def end(self) -> None:
        """The source has been read."""
        if not self.seen:
            raise DataError(
                "The source holds not one file of a category that is wanted.",
                hint="See what would match with --dry-run.",
            )
        self._judge(None)

    def _judge(self, position: Position | None) -> None:
        if self.bad <= self.options.max_bad_fraction * self.seen:
            return
        if position is not None:
            self.builder.checkpoint(position)
        reasons = ", ".join(f"{n} {r}" for r, n in Counter(self.builder.refused).most_common(5))
        enough = min(1.0, 2 * self.bad / self.seen)
        raise DataError(
            f"{self.bad} of {self.seen} files are no usable pictures: {reasons}.",
            hint=f"Look at the source; to go on all the same: --max-bad-fraction {enough:.2f}",
        )


def _take(builder: ShardBuilder, checked: Checked, selection: Selection, options: BuildOptions) -> None:
    """Add one picture, or note why not."""
    category = selection.category_of[checked.label]
    if checked.picture is None:
        builder.refuse(checked.label, checked.name, checked.reason, checked.detail)
        return
    if _full(builder, category, options):  # it was read ahead
        return
    picture = checked.picture
    facts = dict(selection.facts.get(checked.label, {}))
    if picture.changed:
        facts["changed"] = list(picture.changed)
    builder.add(
        Sample(
            prefix=selection.prefix_of[checked.label],
            name=checked.name,
            category=category.id,
            jpeg=picture.data,
            height=picture.height,
            width=picture.width,
            record=facts,
            sha256=checked.sha256,
        )
    )


def _full(builder: ShardBuilder, category: Category, options: BuildOptions) -> bool:
    return options.max_per_class is not None and builder.counts.get(category.id, 0) >= options.max_per_class


def _checked(members: Iterator[Member], options: BuildOptions, names: frozenset[str] | None) -> Iterator[list[Checked]]:
    """The members in their order, checked by threads: Pillow and hashlib work outside of Python's lock."""
    if names is not None:
        members = (m for m in members if Path(m.name).stem in names)

    def check(chunk: list[Member]) -> list[Checked]:
        return [Checked(member, options) for member in chunk]

    ahead: deque[Future[list[Checked]]] = deque()
    with ThreadPoolExecutor(max(1, options.workers)) as pool:
        try:
            while chunk := list(islice(members, CHUNK)):
                ahead.append(pool.submit(check, chunk))
                if len(ahead) > 2 * max(1, options.workers):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _empty(selection: Selection, counts: Mapping[int, int]) -> dict[int, str]:
    """Why each category without a picture has none."""
    why = dict(selection.unmatched)
    for category in selection.categories:
        if not counts.get(category.id) and category.id not in why:
            why[category.id] = "the source has no usable picture of it"
    return why
