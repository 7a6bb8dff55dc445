"""An image of a training batch in, the tiles of a sheet that show it out: a sample, its mosaics, its pasted pairs.

Boxes are xyxy; M boxes of an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from clis_core.batch import Batch, Companions, Mosaic, Patch
from clis_core.categories import Category
from clis_core.config.run import RunConfig
from clis_core.data.companions import CELLS, PictureSet
from clis_core.data.layout import Split
from clis_core.data.seen import seen_image
from clis_core.data.sheet import Tile
from clis_core.drawing.colours import Colour, colour_of

_PALE: Colour = (190, 190, 190)
_PASTED = {"truth": "pasted", "ignored": "pasted, ignored", "background": "pasted, no box"}
"""How a pasted box is called, by what it counts as."""


class Drawn(NamedTuple):
    """Something on a sheet.

    Attributes:
        tiles: that show it.
        record: what they show, as plain json values.
    """

    tiles: list[Tile]
    record: dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A detection image of a batch and where it is from.

    Attributes:
        step: of the training.
        number: of the image in its batch.
        index: of the image in the data set.
        data: the data set.
        pictures: the labelled pictures; None for none.
        config: the whole run.
        batch: the step's.
        companions: what comes with the image; None for nothing.
        chosen: which pictures these are: s indices into the numbers of ``pictures``.
    """

    step: int
    number: int
    index: int
    data: Split
    pictures: PictureSet | None
    config: RunConfig
    batch: Batch
    companions: Companions | None
    chosen: list[int]

    @property
    def patches(self) -> list[Patch]:
        """What is pasted into it."""
        return self.companions.patches if self.companions else []

    def category(self, label: int) -> Category:
        """The class of a label."""
        found: Category = self.data.table.categories[label - 1]
        return found

    def caption(self, label: int) -> str:
        """Name and group of the class of a label."""
        category = self.category(label)
        return f"{category.name} ({category.group})" if category.group else category.name

    def picture(self, source: int) -> dict[str, Any]:
        """Which picture of the shards one of the s pictures is."""
        assert self.pictures is not None
        number = int(self.pictures.numbers[self.chosen[source]])
        shards = self.pictures.shards
        return {"shard": shards.shard_of(number)[0], "key": shards.key(number), "number": number}


def sample_tile(seen: Seen) -> Drawn:
    """The image with its boxes, as the network sees it."""
    image, target, patches = seen.batch.images[seen.number], seen.batch.targets[seen.number], seen.patches
    own = _own_boxes(seen)
    rows = [(box, label, False) for box, label in zip(own, target.labels.tolist()[: len(own)], strict=True)]
    rows += [(patch.box.tolist(), patch.label, True) for patch in patches]
    height, width = image.size
    mirrored = ", mirrored" if image.flip else ""
    text = f"step {seen.step}, image {seen.number}: {seen.data.files.name(seen.index)}\n{width} x {height}{mirrored}"
    pasted = _PASTED[seen.config.pictures.paste.boxes]
    if patches:
        text += f", {len(patches)} pasted"
    tile = Tile(
        seen_image(image, patches),
        [box for box, _, _ in rows],
        text,
        [seen.caption(label) + (f" {pasted}" if is_pasted else "") for _, label, is_pasted in rows],
        [colour_of(seen.category(label).name) for _, label, _ in rows],
    )
    return Drawn([tile], {**_where(seen), "size": [height, width], "mirrored": image.flip, "boxes": _boxes(seen, rows)})


def mosaic_tiles(seen: Seen) -> list[Drawn]:
    """The mosaics that come with the image, with the regions of their pictures."""
    drawn = []
    for k, mosaic in enumerate(seen.companions.mosaics if seen.companions else []):
        labels = mosaic.labels.tolist()
        rows = [(box, label, False) for box, label in zip(mosaic.regions.tolist(), labels, strict=True)]
        sources = [seen.picture(CELLS * k + cell) for cell in range(len(rows))]
        tile = Tile(
            mosaic.pixels,
            [box for box, _, _ in rows],
            f"step {seen.step}, image {seen.number}, mosaic {k}\n{_keys(sources[:2])}\n{_keys(sources[2:])}",
            [seen.caption(label) for label in labels],
            [colour_of(seen.category(label).name) for label in labels],
        )
        regions = [{**region, **source} for region, source in zip(_boxes(seen, rows), sources, strict=True)]
        drawn.append(Drawn([tile], {**_where(seen), "mosaic": k, "regions": regions}))
    return drawn


def _keys(sources: list[dict[str, Any]]) -> str:
    return ", ".join(source["key"] for source in sources)


def pair_tiles(seen: Seen) -> list[Drawn]:
    """Each pasted instance: its picture with the region, the image that it is pasted into, and its mosaic."""
    drawn = []
    for number, patch in enumerate(seen.patches):
        assert seen.companions is not None  # or there were no patches
        source = seen.picture(patch.source)
        mosaic = seen.companions.mosaics[patch.source // CELLS]
        record = {
            **_where(seen),
            "class": seen.category(patch.label).name,
            "picture": source,
            "box": _rounded(patch.box.tolist()),
            "opacity": round(patch.opacity, 4),
            "mosaic": patch.source // CELLS,
            "cell": patch.source % CELLS,
            "region_in_mosaic": _rounded(mosaic.regions[patch.source % CELLS].tolist()),
        }
        name = f"step {seen.step}, image {seen.number}, pair {number}"
        tiles = [
            _picture_tile(seen, patch, source, name),
            _pasted_tile(seen, patch, name),
            _cell_tile(seen, patch, mosaic, name),
        ]
        drawn.append(Drawn(tiles, record))
    return drawn


def _picture_tile(seen: Seen, patch: Patch, source: dict[str, Any], name: str) -> Tile:
    """The whole picture with its region."""
    assert seen.pictures is not None
    pixels = seen.pictures.shards.image(source["number"])
    height, width = pixels.shape[-2:]
    box = (seen.pictures.regions.box(source["number"]) * (width, height, width, height)).tolist()
    text = f"{name}: the picture\n{source['key']}, {width} x {height}"
    return Tile(pixels, [box], text, [seen.caption(patch.label)], [_colour(seen, patch)])


def _pasted_tile(seen: Seen, patch: Patch, name: str) -> Tile:
    """The detection image with the pasted box; its own boxes are pale, other pasted ones have their colours."""
    others = [other for other in seen.patches if other is not patch]
    own = _own_boxes(seen)
    boxes = [patch.box.tolist(), *(other.box.tolist() for other in others), *own]
    captions = [seen.caption(patch.label), *([""] * (len(boxes) - 1))]
    colours = [_colour(seen, patch), *(_colour(seen, other) for other in others), *([_PALE] * len(own))]
    text = f"{name}: pasted, opacity {patch.opacity:.2f}\n{seen.data.files.name(seen.index)}"
    image = seen_image(seen.batch.images[seen.number], seen.patches)
    return Tile(image, boxes, text, captions, colours)


def _cell_tile(seen: Seen, patch: Patch, mosaic: Mosaic, name: str) -> Tile:
    """The mosaic with the region of the picture."""
    cell = patch.source % CELLS
    text = f"{name}: in its mosaic\nmosaic {patch.source // CELLS}, picture {cell}"
    region = mosaic.regions[cell].tolist()
    return Tile(mosaic.pixels, [region], text, [seen.caption(patch.label)], [_colour(seen, patch)])


def _own_boxes(seen: Seen) -> list[list[float]]:
    """The image's own boxes: those of patches, where they count, stand behind them."""
    boxes: list[list[float]] = seen.batch.targets[seen.number].boxes.tolist()
    pasted = len(seen.patches) if seen.config.pictures.paste.boxes == "truth" else 0
    return boxes[: len(boxes) - pasted]


def _colour(seen: Seen, patch: Patch) -> Colour:
    return colour_of(seen.category(patch.label).name)


def _where(seen: Seen) -> dict[str, Any]:
    """Which image of which step this is."""
    return {
        "step": seen.step,
        "image": seen.number,
        "image_id": int(seen.data.table.image_ids[seen.index]),
        "file": str(seen.data.files.path(seen.index)),
    }


def _boxes(seen: Seen, rows: list[tuple[list[float], int, bool]]) -> list[dict[str, Any]]:
    return [
        {"box": _rounded(box), "class": seen.category(label).name, **({"pasted": True} if pasted else {})}
        for box, label, pasted in rows
    ]


def _rounded(box: list[float]) -> list[float]:
    return [round(side, 3) for side in box]
