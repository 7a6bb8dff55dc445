"""`clis gen-regions`: a trained detector and shards in, the region of each picture's class out (CLIS, sec. IV-A3)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core import __version__
from clis_core.batch import fit_size
from clis_core.categories import Categories
from clis_core.data.decode import decode
from clis_core.data.region_list import read_region_list
from clis_core.data.regions import (
    CENTRE,
    REGION,
    REGIONS,
    WHOLE,
    RegionFiles,
    name_of,
    read_about,
    shard_hashes,
    write_about,
    write_part,
)
from clis_core.data.shards.reader import Shards
from clis_core.data.sheet import Tile, draw_sheet
from clis_core.data.workers import load_batches, naming_dead_workers
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import fingerprint, load_detector
from clis_core.detectors.label_regions import label_regions
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.files import write_text
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.ranks import Ranks, ranks
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

RegionRule = Literal["rank-first", "max-score", "max-size", "full-image", "centre"]
BLOCK = 512
"""Pictures whose regions are written at a time."""
PREVIEW = "preview.jpg"
_STAGING = ".staging"


@dataclass(frozen=True)
class RegionOptions:
    """How to make regions.

    Attributes:
        rule: which region of a picture.
        file: a list of regions made elsewhere, in place of a rule; see `read_region_list`.
        batch: pictures that the detector takes at a time.
        workers: processes that decode.
        device: "cpu", "cuda", ...; empty takes cuda where there is one.
        preview: pictures on a sheet to be looked at; 0 draws none.
    """

    rule: RegionRule = "rank-first"
    file: Path | None = None
    batch: int = 8
    workers: int = 1
    device: str = ""
    preview: int = 0


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


def gen_regions(
    checkpoint: Path | None, folder: Path, out: Path, options: RegionOptions, *, reporter: Reporter
) -> RegionResult:
    """Find the region of every picture; goes on where an earlier run of the same command stopped.

    Args:
        checkpoint: of the detector; None for rules that need none.
        folder: of the shards.
        out: folder of the regions.
        options: how.
        reporter: gets progress and messages.

    Raises:
        ConfigError: the rule needs a detector.
        DataError: the shards cannot be used, or ``out`` holds regions that were made otherwise.
        CheckpointError: the detector cannot be read.
        Interrupted: SIGINT or SIGTERM; running the same command again goes on.
    """
    shards = Shards(folder)
    finder = _finder(checkpoint, shards, options)
    plan = {**finder.about(), "shards": shard_hashes(shards.manifest)}
    with (
        ranks() as all_ranks,
        StopRequest() as stop,
        naming_dead_workers(),
        naming_full_memory("Take a smaller --batch"),
    ):
        if (out / REGIONS).is_file():
            _check_plan(read_about(out), plan, out)
            reporter.info(f"{out} is finished already.")
        else:
            staging = _begin(out, plan, all_ranks)
            _fill(finder, shards, staging, all_ranks, stop, reporter, out)
            all_ranks.wait()
            if all_ranks.rank == 0:
                _join(shards, staging, out, plan)
            all_ranks.wait()
        result = _result(out, shards)
        if options.preview and all_ranks.rank == 0:
            preview(shards, out, options.preview)
            reporter.info(f"Look at them: {out / PREVIEW}")
    if result.fallbacks:
        reporter.warn(
            f"{result.fallbacks} of {result.pictures} pictures: nothing sensible found, the whole picture taken."
        )
    return result


class Finder:
    """Gives the regions of some pictures.

    Args:
        shards: the pictures.
        options: how.
    """

    def __init__(self, shards: Shards, options: RegionOptions) -> None:
        self.shards = shards
        self.options = options

    def about(self) -> dict[str, Any]:
        """What makes the same regions, plain json values."""
        return {"rule": self.options.rule}

    def find(self, numbers: Sequence[int]) -> NDArray[Any]:
        """`REGION` entries of pictures."""
        box = WHOLE if self.options.rule == "full-image" else CENTRE
        entries = np.zeros(len(numbers), REGION)
        entries["box"] = box
        return entries


class ListFinder(Finder):
    """Regions from a list that was made elsewhere."""

    def __init__(self, shards: Shards, options: RegionOptions, file: Path) -> None:
        super().__init__(shards, options)
        self._boxes, self._hash = read_region_list(file)

    def about(self) -> dict[str, Any]:
        """See `Finder`."""
        return {"rule": "from-file", "file_sha256": self._hash}

    def find(self, numbers: Sequence[int]) -> NDArray[Any]:
        """See `Finder`; a picture that the list does not have falls back."""
        entries = np.zeros(len(numbers), REGION)
        for entry, number in zip(entries, numbers, strict=True):
            box = self._boxes.get(self.shards.key(number))
            entry["box"] = WHOLE if box is None else box
            entry["fallback"] = box is None
        return entries


class DetectorFinder(Finder):
    """Regions by a detector.

    Args:
        shards: the pictures.
        options: how.
        checkpoint: of the detector.
    """

    def __init__(self, shards: Shards, options: RegionOptions, checkpoint: Path) -> None:
        super().__init__(shards, options)
        device = open_device(options.device)
        shipped = load_detector(checkpoint, device)
        self._detector: Detector = shipped.detector
        self._step = shipped.step
        self._labels = _labels_of(shipped.categories, shards)

    def about(self) -> dict[str, Any]:
        """See `Finder`."""
        return {
            **super().about(),
            "detector_sha256": fingerprint(self._detector.state_dict()),
            "detector_step": self._step,
            "short_side": self._detector.config.short_side,
        }

    def find(self, numbers: Sequence[int]) -> NDArray[Any]:
        """See `Finder`; pictures of a class that the detector does not know fall back."""
        entries = np.zeros(len(numbers), REGION)
        entries["box"] = WHOLE
        entries["fallback"] = True
        place = {number: i for i, number in enumerate(numbers)}
        known = [n for n in numbers if self._labels[n]]
        sizes = {n: self.shards.size(n) for n in known}
        # Pictures of like shape share a batch, so that less of it is padding.
        known.sort(key=lambda n: sizes[n][0] / sizes[n][1])
        batch = self.options.batch
        batches = [known[i : i + batch] for i in range(0, len(known), batch)]
        largest = batch * max((3 * h * w for h, w in sizes.values()), default=1)
        load = _Pictures(self.shards, self._detector.config.short_side, self._detector.config.long_side)
        rule = self.options.rule
        assert rule != "full-image"
        assert rule != "centre"
        for images, found in load_batches(load, batches, workers=self.options.workers, largest=largest, pin=False):
            labels = [int(self._labels[n]) for n in found]
            for number, region in zip(found, label_regions(self._detector, images, labels, rule), strict=True):
                entry = entries[place[number]]
                entry["score"], entry["rank"] = region.score, region.rank
                if region.box is not None:
                    entry["box"], entry["fallback"] = region.box.numpy(), False
        return entries


class _Pictures:
    """Numbers of a batch to its pictures."""

    def __init__(self, shards: Shards, short: int, long: int) -> None:
        self._shards, self._short, self._long = shards, short, long

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        for number in numbers:
            size = fit_size(*self._shards.size(number), self._short, self._long)
            name = f"{self._shards.folder}, picture {number}"
            yield decode(self._shards.data(number), name, at_least=min(size)), number


def _finder(checkpoint: Path | None, shards: Shards, options: RegionOptions) -> Finder:
    if options.file is not None:
        return ListFinder(shards, options, options.file)
    if options.rule in ("full-image", "centre"):
        return Finder(shards, options)
    if checkpoint is None:
        raise ConfigError(
            f"The rule {options.rule} needs a detector.", hint="clis gen-regions --detector RUN; or --rule full-image"
        )
    return DetectorFinder(shards, options, checkpoint)


def _labels_of(categories: Categories, shards: Shards) -> NDArray[np.int32]:
    """The detector's label of each picture; 0 where it does not know the class.

    Raises:
        DataError: it knows none of them.
    """
    by_id = {c.id: (label, c.name) for label, c in enumerate(categories, start=1)}
    table = np.zeros(len(shards.categories) + 1, np.int32)
    for own, category in enumerate(shards.categories, start=1):
        label, name = by_id.get(category.id, (0, ""))
        table[own] = label if name == category.name else 0
    labels: NDArray[np.int32] = table[shards.labels]
    if not labels.any():
        raise DataError(
            f"The detector knows none of the classes of the pictures in {shards.folder}.",
            hint="Train it on the data set that the shards were built for.",
        )
    return labels


def _begin(out: Path, plan: Mapping[str, Any], all_ranks: Ranks) -> Path:
    """The folder of what is not finished yet; its plan must be this one."""
    staging = out / _STAGING
    if all_ranks.rank == 0:
        file = staging / "plan.json"
        if file.is_file():
            _check_plan(json.loads(file.read_text(encoding="utf-8")), plan, out)
        else:
            write_text(file, json.dumps(plan, indent=1) + "\n")
    all_ranks.wait()
    return staging


def _check_plan(made: Mapping[str, Any], plan: Mapping[str, Any], out: Path) -> None:
    other = [key for key in plan if made.get(key) != plan[key]]
    if other:
        raise DataError(
            f"{out} holds regions that were made otherwise: another {', '.join(other)}.",
            hint="Choose another folder: -o FOLDER",
        )


def _blocks(shards: Shards) -> list[tuple[str, int, range]]:
    """(shard, number of the block in it, pictures) of every block."""
    blocks, first = [], 0
    for shard in shards.manifest.shards:
        for number, start in enumerate(range(0, shard.samples, BLOCK)):
            stop = min(start + BLOCK, shard.samples)
            blocks.append((shard.name, number, range(first + start, first + stop)))
        first += shard.samples
    return blocks


def _block_file(staging: Path, shard: str, number: int) -> Path:
    return staging / f"{shard.removesuffix('.tar')}-{number:05d}.npy"


def _fill(
    finder: Finder,
    shards: Shards,
    staging: Path,
    all_ranks: Ranks,
    stop: StopRequest,
    reporter: Reporter,
    out: Path,
) -> None:
    """Find the regions of this rank's blocks that are not there yet."""
    mine = _blocks(shards)[all_ranks.rank :: all_ranks.world]
    done, total = 0, sum(len(numbers) for _, _, numbers in mine)
    for shard, number, numbers in mine:
        file = _block_file(staging, shard, number)
        if not file.is_file():
            write_part(file, finder.find(list(numbers)))
        done += len(numbers)
        if all_ranks.rank == 0:
            reporter.progress("regions", done, total)
        if stop.name:
            raise Interrupted(
                f"Stopped by {stop.name} after {done} pictures; what was found is kept in {out}.",
                hint="Run the same command again to go on.",
            )


def _join(shards: Shards, staging: Path, out: Path, plan: Mapping[str, Any]) -> None:
    """One file for each shard, and regions.json at last."""
    by_shard: dict[str, list[NDArray[Any]]] = {}
    for shard, number, _ in _blocks(shards):
        by_shard.setdefault(shard, []).append(np.load(_block_file(staging, shard, number), allow_pickle=False))
    for shard, parts in by_shard.items():
        write_part(out / name_of(shard), np.concatenate(parts))
    write_about(out, shards.manifest, {"clis": __version__, **plan})
    shutil.rmtree(staging)


def _result(out: Path, shards: Shards) -> RegionResult:
    regions = RegionFiles(out, shards.folder, shards.manifest)
    entries = [regions.entry(n) for n in range(len(shards))]
    found = [float(e["score"]) for e in entries if e["rank"] and not e["fallback"]]
    return RegionResult(
        out,
        len(entries),
        sum(bool(e["fallback"]) for e in entries),
        float(np.mean(found)) if found else None,
    )


def preview(shards: Shards, out: Path, count: int) -> None:
    """Draw some pictures with their regions, always the same ones."""
    regions = RegionFiles(out, shards.folder, shards.manifest)
    numbers = np.random.Generator(np.random.Philox(0)).permutation(len(shards))[:count]
    tiles = []
    for number in sorted(numbers.tolist()):
        pixels = torch.as_tensor(shards.image(number))
        height, width = pixels.shape[-2:]
        entry = regions.entry(number)
        name = shards.categories[int(shards.labels[number]) - 1].name
        text = f"{name} {float(entry['score']):.3f} #{int(entry['rank'])}" + (" fallback" if entry["fallback"] else "")
        tiles.append(Tile(pixels, [(entry["box"] * (width, height, width, height)).tolist()], text))
    draw_sheet(tiles, out / PREVIEW)
