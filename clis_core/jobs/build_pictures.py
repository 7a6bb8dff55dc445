"""Labelled pictures from a source go in, a folder of shards comes out: what every `clis build-...` command shares."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.categories import Categories
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.manifest import Manifest, read_manifest
from clis_core.data.shards.out_folder import is_finished
from clis_core.data.shards.staging import STAGING
from clis_core.data.sources.member import Source
from clis_core.errors import DataError, Interrupted
from clis_core.files import write_text
from clis_core.jobs.build_options import BuildOptions, Selection
from clis_core.jobs.read_pictures import PictureReading
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

BYTES_A_SHARD = 1_000_000_000
MOST_SHARDS = 256
USUAL_BYTES = 128_000
"""Of a photograph of 500 x 375, where only the number of pictures is known."""


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
        plan: what makes the same build, as plain json values: see `source_facts`, and more of the command's own.
        reporter: gets progress and messages.

    Returns:
        The manifest of the finished shards.

    Raises:
        DataError: the source or ``out`` cannot be used, too many members are no pictures, or ``out`` was built or
            begun otherwise.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    _check_outside(out, [Path(path) for path in plan["source"]])
    plan = {**plan, **options.facts()}
    if is_finished(out):
        shutil.rmtree(out / STAGING, ignore_errors=True)  # of a process that was killed at the very end
        manifest = read_manifest(out)
        _check_same(out, manifest, selection.categories, plan)
        reporter.info(f"{out} is finished already; shards never change.")
        return manifest
    size = source.size(lambda label: label in selection.category_of)
    shards = options.shards or _number_of_shards(size, selection, options)
    all_of_it = source.labels() is not None and selection.names is None and options.max_per_class is None
    with StopRequest() as stop, ShardBuilder(out, selection.categories, plan, shards=shards, seed=options.seed) as made:
        if made.cursor:
            reporter.info(f"{out}: goes on after {sum(made.counts.values())} pictures.")
        for name, text in selection.files.items():
            write_text(out / name, text)
        if not made.complete:
            PictureReading(source, selection, options, made, size if all_of_it else None, reporter).run(stop)
        return made.finish(
            unmatched=_empty(selection, made.counts),
            made={"clis": __version__, **plan},
            reporter=_StopsBetweenShards(reporter, stop),
        )


class _StopsBetweenShards:
    """A reporter that ends the writing of shards when a signal came: that goes on with the next one as well."""

    def __init__(self, inner: Reporter, stop: StopRequest) -> None:
        self._inner, self._stop = inner, stop

    def info(self, text: str) -> None:
        self._inner.info(text)

    def warn(self, text: str) -> None:
        self._inner.warn(text)

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        self._inner.record(kind, values)

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        self._inner.progress(task, done, total, figures)
        if self._stop.name and done != total:
            raise Interrupted(
                f"Stopped by {self._stop.name} after {done} of {total} shards; what was built is kept.",
                hint="Run the same command again to go on.",
            )


def _check_outside(out: Path, sources: Sequence[Path]) -> None:
    """Check that the shards do not become a class of their own source.

    Raises:
        DataError: they would.
    """
    for source in sources:
        if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
            raise DataError(
                f"{out} lies in {source}, where the next build would take it for a part of the source.",
                hint=f"Take a folder beside it: -o {shlex.quote(str(source.parent / 'shards'))}",
            )


def _check_same(out: Path, manifest: Manifest, categories: Categories, plan: Mapping[str, Any]) -> None:
    """Check that finished shards are what a plan makes.

    Raises:
        DataError: names what differs.
    """
    now = {**plan, "categories": categories.to_records()}
    then = {**manifest.made, "categories": manifest.categories.to_records()}
    differing = [_difference(key, then.get(key), now[key]) for key in now if now[key] != then.get(key)]
    if differing:
        raise DataError(
            f"{out} is finished already, and was built otherwise: {'; '.join(differing)}.",
            hint="Finished shards never change. To build others, take another folder: -o DIR",
        )


def _difference(key: str, then: Any, now: Any) -> str:
    short = all(len(str(value)) <= 100 for value in (then, now))
    return f"{key} was {then}, is {now}" if short else f"other {key}"


def _number_of_shards(size: int, selection: Selection, options: BuildOptions) -> int:
    if options.max_per_class is not None:
        wanted = len({category.id for category in selection.category_of.values()})
        size = min(size, wanted * options.max_per_class * USUAL_BYTES)
    return min(MOST_SHARDS, max(1, -(-size // BYTES_A_SHARD)))


def _empty(selection: Selection, counts: Mapping[int, int]) -> dict[int, str]:
    """Why each category without a picture has none."""
    why = dict(selection.unmatched)
    for category in selection.categories:
        if not counts.get(category.id) and category.id not in why:
            why[category.id] = "the source has no usable picture of it"
    return why
