"""Shards and a rule, a list or a detector in; the regions of blocks of pictures out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import RawImage, fit_size
from clis_core.categories import Categories
from clis_core.data.region_list import RegionList, read_region_list
from clis_core.data.regions import CENTRE, REGION, WHOLE
from clis_core.data.shards.index import read_index
from clis_core.data.shards.pixels import decode_picture
from clis_core.data.shards.reader import Shards
from clis_core.data.workers import load_batches
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.detectors.convnorm import freeze
from clis_core.detectors.label_regions import Rule, check_rule, label_regions
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.device import open_device

RegionRule = Literal["rank-first", "max-score", "max-size", "full-image", "centre"]


@dataclass(frozen=True)
class RegionOptions:
    """How to make regions.

    Attributes:
        rule: which region of a picture.
        file: a list of regions made elsewhere, in place of a rule; see `read_region_list`.
        short_side: to which the detector's pictures are resized, pixels, the bound of the long side in proportion;
            None leaves it to the detector.
        max_enlarge: no picture is enlarged to more than so many times its own size.
        batch: pictures that the detector takes at a time.
        workers: processes that decode.
        device: "cpu", "cuda", ...; empty takes cuda where there is one.
        preview: pictures on a sheet to be looked at; 0 draws none.
    """

    rule: RegionRule = "rank-first"
    file: Path | None = None
    short_side: int | None = None
    max_enlarge: float = 1.5
    batch: int = 8
    workers: int = 1
    device: str = ""
    preview: int = 0


class Found(NamedTuple):
    """A step on the way.

    Attributes:
        pictures: how many were looked at.
        entries: `REGION` entries of a whole block, in its order, once the block is done; None before.
    """

    pictures: int
    entries: NDArray[Any] | None


class Finder(Protocol):
    """Gives the regions of pictures."""

    def about(self) -> dict[str, Any]:
        """What makes the same regions, plain json values."""
        ...

    def find(self, blocks: Sequence[range]) -> Generator[Found]:
        """The regions of blocks of pictures, block after block."""
        ...


def open_finder(checkpoint: Path | None, shards: Shards, options: RegionOptions) -> Finder:
    """What the options ask for.

    Raises:
        ConfigError: the rule needs a detector, and there is none.
        CheckpointError: the detector cannot be read.
        DataError: the list cannot be used, or the detector knows none of the classes.
    """
    if options.file is not None:
        return ListFinder(shards, options.file)
    match options.rule:
        case "full-image" | "centre":
            return ConstantFinder(options.rule)
        case rule:
            if checkpoint is None:
                raise ConfigError(
                    f"The rule {rule} needs a detector.",
                    hint="clis gen-regions --detector RUN; or --rule full-image",
                )
            return DetectorFinder(shards, checkpoint, rule, options)


class ConstantFinder:
    """The same region in every picture.

    Args:
        rule: which.
    """

    def __init__(self, rule: Literal["full-image", "centre"]) -> None:
        self._rule = rule

    def about(self) -> dict[str, Any]:
        """See `Finder`."""
        return {"rule": self._rule}

    def find(self, blocks: Sequence[range]) -> Generator[Found]:
        """See `Finder`."""
        for block in blocks:
            entries = np.zeros(len(block), REGION)
            entries["box"] = WHOLE if self._rule == "full-image" else CENTRE
            yield Found(len(block), entries)


class ListFinder:
    """Regions from a list that was made elsewhere; a picture that it does not have falls back.

    Args:
        shards: the pictures.
        file: the list.

    Raises:
        DataError: the list cannot be read, or has none of the pictures.
    """

    def __init__(self, shards: Shards, file: Path) -> None:
        self._shards = shards
        self._list: RegionList = read_region_list(file)
        if not any(shards.key(number) in self._list.rows for number in range(len(shards))):
            raise DataError(
                f"{file} has no box for any picture of {shards.folder}: its first key is "
                f"{next(iter(self._list.rows))!r}, the key of the first picture {shards.key(0)!r}.",
                hint="Keys are the names of the .jpg files in the shards, without the ending: "
                f"tar tf {shards.folder / shards.manifest.shards[0].name}",
            )

    def about(self) -> dict[str, Any]:
        """See `Finder`."""
        return {"rule": "from-file", "file_sha256": self._list.sha256}

    def find(self, blocks: Sequence[range]) -> Generator[Found]:
        """See `Finder`."""
        for block in blocks:
            entries = np.zeros(len(block), REGION)
            for entry, number in zip(entries, block, strict=True):
                box = self._list.get(self._shards.key(number))
                entry["box"] = WHOLE if box is None else box
                entry["fallback"] = box is None
            yield Found(len(block), entries)


class DetectorFinder:
    """Regions by a detector; pictures of a class that it does not know fall back.

    Args:
        shards: the pictures.
        checkpoint: of the detector.
        rule: which region.
        options: the others.

    Raises:
        CheckpointError: the detector cannot be read.
        ConfigError: it has no regions for the rule.
        DataError: it knows none of the classes.
    """

    def __init__(self, shards: Shards, checkpoint: Path, rule: Rule, options: RegionOptions) -> None:
        self._shards, self._rule, self._options = shards, rule, options
        self._detector, categories, self._step = detector_from_checkpoint(checkpoint, open_device(options.device))
        check_rule(self._detector, rule)
        self._sha256 = fingerprint(self._detector.state_dict())
        self._labels = labels_of(categories, shards)
        config = self._detector.config
        if options.short_side is not None:
            long = round(config.long_side * options.short_side / config.short_side)
            config = config.model_copy(update={"short_side": options.short_side, "long_side": long})
            self._detector.config = config
        self._short, self._long = config.short_side, config.long_side
        self._pictures = _Pictures(shards, self._short, self._long, options.max_enlarge)
        freeze(self._detector.encoder)  # so that the norms are folded into the weights once

    def about(self) -> dict[str, Any]:
        """See `Finder`."""
        return {
            "rule": self._rule,
            "detector_sha256": self._sha256,
            "detector_step": self._step,
            "short_side": self._short,
            "long_side": self._long,
            "max_enlarge": self._options.max_enlarge,
        }

    def find(self, blocks: Sequence[range]) -> Generator[Found]:
        """See `Finder`."""
        loaded = load_batches(
            self._pictures,
            (batch for block in blocks for batch in self._batches(block)),
            workers=self._options.workers,
            largest=self._options.batch * 3 * _most_pixels(self._shards),
            pin=False,
        )
        for block in blocks:
            entries = np.zeros(len(block), REGION)
            entries["box"] = WHOLE
            entries["fallback"] = True
            known = 0
            for _ in self._batches(block):
                images, numbers = next(loaded)
                labels = [int(self._labels[n]) for n in numbers]
                pictures = [RawImage(x, self._pictures.size(n)) for x, n in zip(images, numbers, strict=True)]
                regions = label_regions(self._detector, pictures, labels, self._rule)
                for number, region in zip(numbers, regions, strict=True):
                    entry = entries[number - block.start]
                    entry["score"], entry["rank"] = region.score, region.rank
                    if region.box is not None:
                        entry["box"], entry["fallback"] = region.box.numpy(), False
                known += len(numbers)
                yield Found(len(numbers), None)
            yield Found(len(block) - known, entries)

    def _batches(self, block: range) -> list[list[int]]:
        """The pictures of a block whose class the detector knows, those of like size together: less is padding."""
        numbers = [n for n in block if self._labels[n]]
        sizes = {n: self._pictures.size(n) for n in numbers}
        numbers.sort(key=lambda n: (sizes[n][0] / sizes[n][1], sizes[n]))
        return [numbers[i : i + self._options.batch] for i in range(0, len(numbers), self._options.batch)]


class _Pictures:
    """Numbers of a batch to its pictures, decoded no larger than the detector sees them."""

    def __init__(self, shards: Shards, short: int, long: int, max_enlarge: float) -> None:
        self._shards, self._short, self._long, self._max_enlarge = shards, short, long, max_enlarge

    def size(self, number: int) -> tuple[int, int]:
        """(height, width) in which the detector sees a picture."""
        height, width = self._shards.size(number)
        short = max(1, min(self._short, round(self._max_enlarge * min(height, width))))
        return fit_size(height, width, short, self._long)

    def __call__(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, int]]:
        for number in numbers:
            yield decode_picture(self._shards, number, min(self.size(number))), number


def labels_of(categories: Categories, shards: Shards) -> NDArray[np.int32]:
    """A detector's label 1..C of each picture, int32 ``[N]``; 0 where it does not know the class.

    Args:
        categories: the detector's.
        shards: the pictures.

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


def _most_pixels(shards: Shards) -> int:
    """Of the largest picture."""
    most = 1
    for shard in shards.manifest.shards:
        index = read_index(shards.folder / shard.index_name, shard.samples, shard.size)
        most = max(most, int((index["height"].astype(np.int64) * index["width"]).max()))
    return most
