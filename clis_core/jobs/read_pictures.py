"""A source goes in; every picture of it that is wanted ends up in a builder of shards, from where that stands."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from clis_core.categories import Category
from clis_core.data.shards.builder import DUPLICATE, ShardBuilder
from clis_core.data.shards.sample import Sample
from clis_core.data.sources.member import START, Member, Position, Source
from clis_core.errors import DataError, Interrupted
from clis_core.jobs.build_options import BuildOptions, Selection
from clis_core.jobs.check_pictures import Checked, checked
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

ENOUGH = 200
"""Members to see before too many bad ones stop a build."""


class _StoppedError(Exception):
    """A signal came while the source was looking for the next member."""


class PictureReading:
    """Reads a source into a builder.

    Args:
        source: where the pictures are.
        selection: which of them, and as what.
        options: how.
        builder: open, and not complete.
        total: bytes to read; None where that is not known.
        reporter: gets progress and messages.
    """

    def __init__(
        self,
        source: Source,
        selection: Selection,
        options: BuildOptions,
        builder: ShardBuilder,
        total: int | None,
        reporter: Reporter,
    ) -> None:
        self._source, self._selection, self._options = source, selection, options
        self._builder, self._total, self._reporter = builder, total, reporter
        part, member, read = builder.cursor or (*START, 0)
        self._position, self._read = Position(part, member), int(read)
        self._failed: DataError | None = None
        self._kept = sum(builder.counts.values())
        self._seen = self._kept + sum(builder.refused.values())
        self._bad = self._seen - self._kept - builder.refused.get(DUPLICATE, 0)

    def run(self, stop: StopRequest) -> None:
        """Read to the end of the source.

        Raises:
            DataError: the source cannot be read on, holds nothing that is wanted, or too many members are no pictures;
                what was read until then is kept.
            Interrupted: a signal came; what was read until then is kept.
        """
        how = self._options
        chunks = checked(self._members(stop), workers=how.workers, min_side=how.min_side, max_side=how.max_side)
        with closing(chunks):
            for chunk in chunks:
                for found in chunk:
                    self._take(found)
                self._builder.passed(self._cursor)
                self._tell()
                if stop.name:
                    break
        if stop.name or self._failed is not None:
            self._builder.checkpoint(self._cursor)
        if self._failed is not None:
            raise self._failed
        if stop.name:
            raise Interrupted(
                f"Stopped by {stop.name} after {self._seen} files; what was built is kept.",
                hint="Run the same command again to go on.",
            )
        self._end()

    @property
    def _cursor(self) -> tuple[int, int, int]:
        return (*self._position, self._read)

    def _members(self, stop: StopRequest) -> Iterator[Member]:
        """The members to check; ends early when the source fails or a signal came."""
        selection = self._selection

        def wanted(label: str) -> bool:
            if stop.name:  # it may be long until the next member that is wanted
                raise _StoppedError
            category = selection.category_of.get(label)
            return category is not None and not self._is_full(category)

        try:
            for member in self._source.members(wanted, self._position):
                if selection.names is None or Path(member.name).stem in selection.names:
                    yield member
        except _StoppedError:
            return
        except DataError as error:  # what was read ahead of the fault comes first
            self._failed = error

    def _take(self, found: Checked) -> None:
        """Add one picture, or note why not."""
        self._position = found.after
        self._read += found.size
        category = self._selection.category_of[found.label]
        if self._is_full(category):  # it was read ahead
            return
        self._seen += 1
        if found.picture is None:
            self._bad += 1
            self._builder.refuse(found.label, found.name, found.reason, found.detail)
            if self._seen >= ENOUGH:
                self._judge()
            return
        picture = found.picture
        facts = dict(self._selection.facts.get(found.label, {}))
        if picture.changed:
            facts["changed"] = list(picture.changed)
        self._kept += self._builder.add(
            Sample(
                prefix=self._selection.prefix_of[found.label],
                name=found.name,
                category=category.id,
                jpeg=picture.data,
                height=picture.height,
                width=picture.width,
                record=facts,
                sha256=found.sha256,
            )
        )

    def _is_full(self, category: Category) -> bool:
        most = self._options.max_per_class
        return most is not None and self._builder.counts.get(category.id, 0) >= most

    def _judge(self) -> None:
        """Stop when too many members are no pictures.

        Raises:
            DataError: they are.
        """
        if self._bad <= self._options.max_bad_fraction * self._seen:
            return
        self._builder.checkpoint(self._cursor)
        refused = Counter(self._builder.refused)
        del refused[DUPLICATE]
        reasons = ", ".join(f"{n} {reason}" for reason, n in refused.most_common(5))
        enough = min(1.0, math.ceil(200 * self._bad / self._seen) / 100)
        raise DataError(
            f"{self._bad} of {self._seen} files are no usable pictures: {reasons}.",
            hint=f"Look at the source; to go on all the same: --max-bad-fraction {enough:.2f}",
        )

    def _tell(self, *, ends: bool = False) -> None:
        """Report how far the reading is."""
        done = self._read // 1_000_000
        total = None if self._total is None else max(done + 1, self._total // 1_000_000)
        self._reporter.progress("MB read", done, done if ends else total, {"kept": self._kept, "refused": self._bad})

    def _end(self) -> None:
        """The whole source has been read."""
        if not self._seen:
            raise DataError(
                "The source holds not one file of a category that is wanted.",
                hint="See what would match with --dry-run.",
            )
        self._judge()
        self._tell(ends=True)
        names = self._selection.names
        if names is not None and self._seen < len(names):
            self._reporter.info(f"{self._seen} of the {len(names)} files that are listed were found.")
