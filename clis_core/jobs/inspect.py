"""`clis inspect`: a config in, sheets and counts of what its training sees out; nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from clis_core.batch import Batch
from clis_core.config.methods import learns_from_pictures
from clis_core.config.run import RunConfig
from clis_core.data.companions import CELLS, PictureSet
from clis_core.data.epoch_counts import EpochCounts, count_epoch
from clis_core.data.layout import Split
from clis_core.data.loader import TrainingLoader
from clis_core.data.sheet import draw_sheet
from clis_core.errors import JSON_DAMAGE, ConfigError
from clis_core.files import write_text
from clis_core.jobs.inspect_tiles import Drawn, Seen, mosaic_tiles, pair_tiles, sample_tile
from clis_core.jobs.training_data import (
    PICTURES,
    open_companions,
    open_training_split,
    pictures_record,
    training_loader,
)
from clis_core.report import Reporter

Part = Literal["samples", "mosaics", "pairs", "counts"]
PARTS: tuple[Part, ...] = get_args(Part)
RECORD, TABLE = "inspect.json", "counts.txt"
_PAIR = 3  # tiles of a pasted pair


@dataclass(frozen=True)
class InspectOptions:
    """What is shown.

    Attributes:
        parts: which of `PARTS`; empty for all that there are.
        count: samples, mosaics and pairs on their sheets.
        from_step: the step whose batch is shown first.
        side: of a tile, pixels.
        suffix: of the sheets, ".jpg" or ".png".
    """

    parts: Collection[Part] = ()
    count: int = 16
    from_step: int = 0
    side: int = 384
    suffix: str = ".jpg"


class InspectResult(NamedTuple):
    """What was written.

    Attributes:
        files: the sheets, and the tables of counts.
        record: what is on them, as plain json values.
        counts: of an epoch; None where they were not asked for.
    """

    files: list[Path]
    record: dict[str, Any]
    counts: EpochCounts | None


def inspect(
    config: RunConfig,
    out: Path,
    options: InspectOptions,
    *,
    cache: Path | None,
    run: Path | None = None,
    reporter: Reporter,
) -> InspectResult:
    """Draw what the training of a config sees from a step on, and count what an epoch shows.

    Args:
        config: the whole run.
        out: folder for the sheets and tables; those of an earlier call are replaced.
        options: what is shown.
        cache: folder for the arrays of annotations, see `load_annotations`.
        run: the run folder that the config is of; says whether the pictures are still those of the run.
        reporter: gets messages and progress.

    Raises:
        ConfigError: no data set is named, or there is nothing of a part that was asked for.
        DataError: the data cannot be used.
    """
    data = open_training_split(config, cache)
    pictures = open_companions(config, data.table.categories)
    parts = _parts(config, pictures, options.parts, reporter)
    if run is not None and pictures is not None:
        _compare_pictures(run, pictures, reporter)
    loader = training_loader(
        config.model_copy(update={"data": config.data.model_copy(update={"workers": 0})}),
        data,
        pictures,
        options.from_step,
        options.from_step + _steps(config, parts, options.count),
    )
    record: dict[str, Any] = {"seed": config.seed, "from_step": options.from_step, "batch": config.train.batch}
    files = []
    for part, drawn in _draw(loader, data, pictures, config, parts, options, reporter).items():
        record[part] = [one.record for one in drawn]
        if not drawn:
            reporter.warn(f"There are no {part} in the steps from {options.from_step} on.")
            continue
        file = out / f"{part}{options.suffix}"
        columns = None if part != "pairs" else _PAIR * (2 if len(drawn) > 4 else 1)
        draw_sheet([tile for one in drawn for tile in one.tiles], file, side=options.side, columns=columns)
        files.append(file)
    counts = None
    if "counts" in parts:
        counts = count_epoch(
            loader,
            data.table,
            pictures,
            loader.order.epoch(options.from_step),
            lambda done, total: reporter.progress("images of the epoch", done, total),
        )
        record["counts"] = counts.to_record()
        write_text(out / TABLE, counts_text(counts))
        files.append(out / TABLE)
    write_text(out / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return InspectResult([*files, out / RECORD], record, counts)


def _parts(
    config: RunConfig, pictures: PictureSet | None, asked: Collection[Part], reporter: Reporter
) -> tuple[Part, ...]:
    """The parts to show; those that there are not are told, or refused where they were asked for."""
    missing: dict[Part, tuple[str, str]] = {}
    if pictures is None:
        learns = learns_from_pictures(config.method)
        what = "pictures.s is 0" if learns else f"the method {config.method.kind} learns from boxes alone"
        how = "--set pictures.s=4" if learns else "clis inspect --preset clis-small --images SHARDS --data DIR"
        missing = {"mosaics": (what, how), "pairs": (what, how)}
    elif not config.pictures.t:
        missing = {"pairs": ("pictures.t is 0: nothing is pasted", "--set pictures.t=2")}
    for part, (what, how) in missing.items():
        if part in asked:
            raise ConfigError(f"There are no {part} to show: {what}.", hint=how)
    if missing and not asked:
        reporter.info(f"No {' and no '.join(missing)}: {next(iter(missing.values()))[0]}.")
    return tuple(part for part in PARTS if part not in missing and (not asked or part in asked))


def _steps(config: RunConfig, parts: Collection[Part], count: int) -> int:
    """Steps that hold ``count`` of each part."""
    each = {"samples": 1, "mosaics": config.pictures.s // CELLS, "pairs": config.pictures.t}
    return max((-(-count // (config.train.batch * n)) for part, n in each.items() if part in parts and n), default=0)


def _draw(
    loader: TrainingLoader,
    data: Split,
    pictures: PictureSet | None,
    config: RunConfig,
    parts: Collection[Part],
    options: InspectOptions,
    reporter: Reporter,
) -> dict[Part, list[Drawn]]:
    """What is on each sheet."""
    drawn: dict[Part, list[Drawn]] = {part: [] for part in parts if part != "counts"}
    for done, (step, batch) in enumerate(zip(_numbers(options.from_step), loader, strict=False), start=1):
        for seen in _seen(loader, data, pictures, config, step, batch):
            for part, found in drawn.items():
                if len(found) < options.count:
                    found.extend(_drawn(part, seen))
        reporter.progress("steps", done, len(loader))
    return {part: found[: options.count] for part, found in drawn.items()}


def _drawn(part: Part, seen: Seen) -> list[Drawn]:
    match part:
        case "samples":
            return [sample_tile(seen)]
        case "mosaics":
            return mosaic_tiles(seen)
        case _:
            return pair_tiles(seen)


def _numbers(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


def _seen(
    loader: TrainingLoader, data: Split, pictures: PictureSet | None, config: RunConfig, step: int, batch: Batch
) -> Iterator[Seen]:
    """The images of a batch, each with where it is from."""
    for number, (index, place) in enumerate(loader.order.images(step)):
        companions = batch.companions[number] if batch.companions else None
        chosen = [] if loader.companions is None else loader.companions.choose(place)[0].tolist()
        yield Seen(step, number, index, data, pictures, config, batch, companions, chosen)


def _compare_pictures(run: Path, pictures: PictureSet, reporter: Reporter) -> None:
    """Warn where the pictures or regions are no longer those that the run learnt from."""
    try:
        of_run = json.loads((run / PICTURES).read_text(encoding="utf-8"))
    except (OSError, *JSON_DAMAGE):
        return
    if of_run != pictures_record(pictures):
        reporter.warn(f"{run} learnt from other pictures or regions than those of {pictures.shards.folder}.")


def counts_text(counts: EpochCounts) -> str:
    """The counts as a table of text, by group and by class."""
    names = list(counts.by_class)
    groups = [[word, str(of["classes"]), *(str(of[name]) for name in names)] for word, of in counts.groups().items()]
    classes = [
        [c.name, c.group or "", *(str(int(counts.by_class[name][k])) for name in names)]
        for k, c in enumerate(counts.categories)
    ]
    head = f"Epoch {counts.epoch}: {counts.images_drawn} images, of {counts.images} in the data set.\n\n"
    return head + _table(["group", "classes", *names], groups) + "\n" + _table(["class", "group", *names], classes)


def _table(head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = []
    for first, *others in [head, *rows]:
        cells = (cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip() + "\n")
    return "".join(lines)
