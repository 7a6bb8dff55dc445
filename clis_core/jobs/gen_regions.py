"""`clis gen-regions`: a trained detector and shards in, the region of each picture's class out (CLIS, sec. IV-A3).

The pictures are cut into blocks. Each block's regions go to a file of their own as soon as they are found; when all
are there, they become one file for each shard, and regions.json says that the folder is finished.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clis_core import __version__
from clis_core.data.regions import (
    REGIONS,
    RegionFiles,
    name_of,
    read_about,
    read_part,
    shard_hashes,
    write_about,
    write_part,
)
from clis_core.data.shards.reader import Shards
from clis_core.data.sheet import Tile, draw_sheet
from clis_core.data.workers import naming_dead_workers
from clis_core.errors import JSON_DAMAGE, ClisError, DataError, Interrupted
from clis_core.files import locked, write_text
from clis_core.jobs.device import naming_full_memory
from clis_core.jobs.region_finders import Finder, RegionOptions, open_finder
from clis_core.report import Reporter, SilentReporter
from clis_core.training.interrupt import StopRequest
from clis_core.training.joining import ranks
from clis_core.training.ranks import Ranks

__all__ = ["RegionOptions", "RegionResult", "gen_regions"]

BLOCK = 128
"""Pictures whose regions are written at a time: what a kill can cost."""
PREVIEW = "preview.jpg"
STAGING = ".staging"


@dataclass(frozen=True)
class RegionResult:
    """What was made.

    Attributes:
        folder: of the regions.
        pictures: how many.
        fallbacks: pictures whose region is the whole picture because nothing sensible was found.
        mean_score: of the pictures' own classes, without fallbacks; None where nothing was scored.
    """

    folder: Path
    pictures: int
    fallbacks: int
    mean_score: float | None


class Block(NamedTuple):
    """Pictures of a shard whose regions are written together.

    Attributes:
        shard: name of the shard.
        file: where their regions go while the folder is not finished.
        numbers: the pictures.
    """

    shard: str
    file: Path
    numbers: range


def gen_regions(
    checkpoint: Path | None, folder: Path, out: Path, options: RegionOptions, *, reporter: Reporter
) -> RegionResult:
    """Find the region of every picture; goes on where an earlier run of the same command stopped.

    Under torchrun the processes share the blocks; the files are those of one process.

    Args:
        checkpoint: of the detector; None for rules that need none.
        folder: of the shards.
        out: folder of the regions.
        options: how.
        reporter: gets progress and messages.

    Raises:
        ConfigError: the rule needs a detector.
        DataError: the shards cannot be used, or ``out`` holds regions that were made otherwise or is in use.
        CheckpointError: the detector cannot be read.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    shards = Shards(folder)
    if out.resolve() == folder.resolve():
        raise DataError(f"{out} holds the shards, which never change.", hint="Choose another folder: -o FOLDER")
    with (
        ranks() as all_ranks,
        StopRequest() as stop,
        naming_dead_workers(),
        naming_full_memory("Take a smaller --batch, or a smaller --short-side"),
        contextlib.ExitStack() as held,
    ):
        reporter = reporter if all_ranks.first else SilentReporter()
        finder = open_finder(checkpoint, shards, replace(options, device=all_ranks.device(options.device)))
        plan = {**finder.about(), "shards": shard_hashes(shards.manifest)}
        # The first process alone makes and holds the folder, since that changes what the others would see.
        all_ranks.on_first(lambda: _begin(out, plan, held))
        if (out / REGIONS).is_file():
            reporter.info(f"{out} is finished already.")
            all_ranks.wait()
        else:
            _fill(finder, blocks_of(shards, out / STAGING), all_ranks, stop, reporter, out)
            all_ranks.on_first(lambda: _join(shards, out, plan))
        regions = RegionFiles(out, folder, shards.manifest)
        if options.preview and all_ranks.first:
            preview(shards, regions, out / PREVIEW, options.preview)
            reporter.info(f"Look at them: {out / PREVIEW}")
    return _result(regions, out, plan, reporter)


def _begin(out: Path, plan: Mapping[str, Any], held: contextlib.ExitStack) -> None:
    """Hold a folder until ``held`` ends, and note what is made there, unless it is finished.

    Raises:
        DataError: it was begun or made otherwise, or another process holds it.
    """
    if not (out / REGIONS).is_file():
        (out / STAGING).mkdir(parents=True, exist_ok=True)
        if not held.enter_context(locked(out / STAGING / "lock")):
            raise DataError(
                f"{out}: another process is making regions in this folder.",
                hint="Wait until it has ended, or take another folder: -o FOLDER",
            )
    if (out / REGIONS).is_file():
        _check_plan(read_about(out), plan, out)
        shutil.rmtree(out / STAGING, ignore_errors=True)  # of a process that was killed at the very end
        return
    file = out / STAGING / "plan.json"
    if not file.is_file():
        write_text(file, json.dumps(plan, indent=1) + "\n")
        return
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, *JSON_DAMAGE) as error:
        raise DataError(
            f"{file} cannot be read: {error}.", hint=f"Begin anew: remove {out}, and run the same command again."
        ) from None
    _check_plan(made, plan, out)


def _check_plan(made: Any, plan: Mapping[str, Any], out: Path) -> None:
    other = [key for key in plan if not isinstance(made, dict) or made.get(key) != plan[key]]
    if other:
        raise DataError(
            f"{out} holds regions that were made otherwise, or the beginning of them: another {', '.join(other)}.",
            hint="Choose another folder: -o FOLDER",
        )


def blocks_of(shards: Shards, staging: Path) -> list[Block]:
    """Every block, in the order of the pictures."""
    blocks, first = [], 0
    for shard in shards.manifest.shards:
        for number, start in enumerate(range(0, shard.samples, BLOCK)):
            file = staging / f"{shard.name.removesuffix('.tar')}-{number:05d}.npy"
            stop = min(start + BLOCK, shard.samples)
            blocks.append(Block(shard.name, file, range(first + start, first + stop)))
        first += shard.samples
    return blocks


def _fill(
    finder: Finder, blocks: list[Block], all_ranks: Ranks, stop: StopRequest, reporter: Reporter, out: Path
) -> None:
    """Find the regions of this rank's blocks that are not there yet; ends in all processes alike."""
    mine = blocks[all_ranks.rank :: all_ranks.world]
    missing = [block for block in mine if not block.file.is_file()]
    total = sum(len(block.numbers) for block in mine)
    done = total - sum(len(block.numbers) for block in missing)
    waiting = iter(missing)
    problem: ClisError | None = None
    try:
        with contextlib.closing(finder.find([block.numbers for block in missing])) as steps:
            for found in steps:
                if found.entries is not None:
                    write_part(next(waiting).file, found.entries)
                done += found.pictures
                if found.pictures:
                    reporter.progress("regions", done, total)
                if done < total and all_ranks.stopping(stop.name):
                    break
    except ClisError as error:
        problem = error
        all_ranks.stopping("a problem")  # the others need not finish their share
    if all_ranks.agree(int(done < total), problem):
        raise all_ranks.of_all(
            Interrupted(
                f"Stopped by {all_ranks.stopping(stop.name) or 'a signal'} after {done} of {total} pictures; "
                f"what was found is kept in {out}.",
                hint="Run the same command again to go on.",
            )
        )


def _join(shards: Shards, out: Path, plan: Mapping[str, Any]) -> None:
    """One file for each shard, and regions.json at last."""
    by_shard: dict[str, list[Block]] = {}
    for block in blocks_of(shards, out / STAGING):
        by_shard.setdefault(block.shard, []).append(block)
    for shard, blocks in by_shard.items():
        parts = [read_part(block.file, len(block.numbers)) for block in blocks]
        write_part(out / name_of(shard), np.concatenate(parts))
    write_about(out, shards.manifest, {"clis": __version__, **plan})
    shutil.rmtree(out / STAGING, ignore_errors=True)


def _result(regions: RegionFiles, out: Path, plan: Mapping[str, Any], reporter: Reporter) -> RegionResult:
    entries = regions.entries()
    fallbacks = int(entries["fallback"].sum())
    found = entries["score"][(entries["rank"] > 0) & ~entries["fallback"]]
    if fallbacks:
        why = "not in the list" if plan["rule"] == "from-file" else "nothing sensible found"
        reporter.warn(f"{fallbacks} of {len(entries)} pictures: {why}, the whole picture taken.")
    return RegionResult(out, len(entries), fallbacks, float(found.mean()) if len(found) else None)


def preview(shards: Shards, regions: RegionFiles, file: Path, count: int) -> None:
    """Draw some pictures with their regions, always the same ones."""
    entries = regions.entries()
    numbers = np.random.Generator(np.random.Philox(0)).permutation(len(shards))[:count]
    tiles = []
    for number in sorted(numbers.tolist()):
        pixels = shards.image(number)
        height, width = pixels.shape[-2:]
        entry = entries[number]
        name = shards.categories[int(shards.labels[number]) - 1].name
        text = f"{name} {float(entry['score']):.3f} #{int(entry['rank'])}" + (" fallback" if entry["fallback"] else "")
        tiles.append(Tile(pixels, [(entry["box"] * (width, height, width, height)).tolist()], text))
    draw_sheet(tiles, file)
