"""Pictures whose regions are painted go in; the places where the paint is found again come out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clis_core.categories import Categories, Category
from clis_core.data.regions import REGION, name_of, regions_beside, write_about, write_part
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sample import Sample
from clis_core.report import SilentReporter

GROUND = (60, 60, 60)
PAINTS = ((250, 40, 40), (40, 250, 40), (40, 40, 250), (250, 250, 40))
"""Of classes: no two alike, and red is not blue where channels are exchanged."""


def painted(size: tuple[int, int], box: Sequence[float], paint: Sequence[int]) -> Tensor:
    """uint8 ``[3, h, w]``, channels last in memory: ``box`` (xyxy, relative) of one colour on a dark ground."""
    height, width = size
    pixels = np.full((height, width, 3), GROUND, np.uint8)
    x0, y0, x1, y1 = (round(v * side) for v, side in zip(box, (width, height) * 2, strict=True))
    pixels[y0:y1, x0:x1] = paint
    return torch.from_numpy(pixels).permute(2, 0, 1)


def find(pixels: Tensor, paint: Sequence[int], ground: Sequence[int] = GROUND) -> list[float]:
    """The box (xyxy, pixels) of all that is more like the paint than like the ground."""
    colours = pixels.permute(1, 2, 0).to(torch.float32)
    near = (colours - torch.tensor(paint)).square().sum(-1) < (colours - torch.tensor(ground)).square().sum(-1)
    near &= (colours - torch.tensor(paint)).abs().amax(-1) < 110  # and like no other paint
    rows, columns = near.any(1).nonzero()[:, 0], near.any(0).nonzero()[:, 0]
    assert len(rows), "the paint is nowhere"
    return [float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1]


def random_box(random: np.random.Generator, size: tuple[int, int], least: float = 0.3) -> NDArray[np.float32]:
    """A box (xyxy, relative) along the pixels of a picture."""
    sides = np.array([size[1], size[0]])
    extent = np.ceil(random.uniform(least, 1, 2) * sides)
    low = np.floor(random.uniform(0, 1, 2) * (sides - extent))
    return (np.concatenate([low, low + extent]) / np.tile(sides, 2)).astype(np.float32)


CATEGORIES = Categories(
    [Category(3, "bagel", images=2), Category(5, "cat", images=90), Category(8, "dog", images=30), Category(9, "eel")]
)


def painted_shards(
    folder: Path,
    count: int = 24,
    *,
    categories: Categories = CATEGORIES,
    shards: int = 3,
    sides: tuple[int, int] = (60, 140),
    regions: bool = True,
) -> Shards:
    """Shards of pictures whose region has the colour of the class, and the regions beside them."""
    random = np.random.default_rng(0)
    boxes = {}
    with ShardBuilder(folder, categories, {"command": "test"}, shards=shards) as builder:
        for k in range(count):
            category = categories[k % len(categories)]
            size = (int(random.integers(*sides)), int(random.integers(*sides)))
            box = boxes[f"n{category.id:08d}_{k}"] = random_box(random, size)
            out = io.BytesIO()
            picture = painted(size, box.tolist(), PAINTS[k % len(categories)])
            Image.fromarray(picture.permute(1, 2, 0).numpy()).save(out, "JPEG", quality=95, subsampling=0)
            wnid = f"n{category.id:08d}"
            builder.add(Sample(wnid, f"{wnid}_{k}.JPEG", category.id, out.getvalue(), *size, {}))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    made = Shards(folder)
    if regions:
        write_regions(made, [boxes[made.key(n)].tolist() for n in range(len(made))])
    return made


def write_regions(shards: Shards, boxes: Sequence[Sequence[float]], folder: Path | None = None) -> Path:
    """The regions of all pictures, in their order, to the folder beside the shards or to another one."""
    folder = folder or regions_beside(shards.folder)
    first = 0
    for shard in shards.manifest.shards:
        entries = np.zeros(shard.samples, REGION)
        entries["box"] = boxes[first : first + shard.samples]
        write_part(folder / name_of(shard.name), entries)
        first += shard.samples
    write_about(folder, shards.manifest, {"rule": "painted"})
    return folder
