"""Drawn samples go in, folders of shards come out: what the tests of shards share."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.manifest import Manifest
from clis_core.data.shards.sample import Sample
from clis_core.report import SilentReporter

CATEGORIES = Categories(
    [
        Category(3, "bagel", "bagel.n.01", "r", 4),
        Category(5, "cat", "cat.n.01", "f", 900),
        Category(8, "dog", "dog.n.01", "c", 40),
        Category(9, "bow_(weapon)", "bow.n.04", "r", 2),
    ]
)
PLAN = {"command": "test", "source": "drawn"}


@cache
def jpeg(number: int, height: int = 8, width: int = 12) -> bytes:
    """A small picture of its own."""
    random = np.random.default_rng((number, height, width))
    out = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(out, "JPEG", quality=60)
    return out.getvalue()


@cache
def samples(count: int, classes: int = 3) -> tuple[Sample, ...]:
    """Pictures in the order of their classes, as sources have them."""
    ids = CATEGORIES.ids[:classes]
    drawn = []
    for number in range(count):
        category = ids[number * classes // count]
        height, width = 6 + number % 5, 9 + number % 7
        data = jpeg(number, height, width)
        wnid = f"n{category:08d}"
        drawn.append(Sample(wnid, f"{wnid}_{number}.JPEG", category, data, height, width, {"wnid": wnid}))
    return tuple(drawn)


def build(
    out: Path,
    chosen: Sequence[Sample],
    *,
    shards: int = 3,
    seed: int = 0,
    each: Callable[[ShardBuilder, int], None] | None = None,
    reporter: Any = None,
) -> Manifest:
    """Build a folder, or go on with it.

    Args:
        out: the folder.
        chosen: the source.
        shards: their number.
        seed: of the order.
        each: called after each sample with its number.
        reporter: gets progress.
    """
    with ShardBuilder(out, CATEGORIES, PLAN, shards=shards, seed=seed) as builder:
        for number in range(builder.cursor or 0, len(chosen)):
            builder.add(chosen[number])
            if number % 5 == 0:
                builder.refuse("n0", f"bad_{number}.JPEG", "empty" if number % 2 else "cut short", "as drawn")
            builder.passed(number + 1)
            if each:
                each(builder, number)
        return builder.finish(unmatched={9: "no such class"}, made=PLAN, reporter=reporter or SilentReporter())


def content(folder: Path) -> dict[str, str]:
    """Hash of each file of a folder, whatever its name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers(folder: Path) -> Iterator[tuple[str, str]]:
    """Name of the shard and key of every sample, as the standard library reads them."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".jpg"):
                    yield path.name, name.removesuffix(".jpg")
