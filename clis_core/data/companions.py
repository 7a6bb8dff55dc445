"""Shards and regions in; the mosaics and patches that come with a detection image out.

They are functions of (seed, place of the detection image in its stream) alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import Companions, Mosaic, Patch, Verified
from clis_core.categories import Categories
from clis_core.config.pictures import PicturesConfig
from clis_core.data.mosaic import compose, covered, draw_picture
from clis_core.data.paste import cut_patch, draw_patch, pick
from clis_core.data.regions import RegionFiles, Regions, open_regions
from clis_core.data.shards.pixels import decode_picture
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sampling import PictureSampler
from clis_core.errors import ConfigError, DataError

CELLS = 4
_FRACTION = 8  # a stream of random numbers


class PictureSet(NamedTuple):
    """The pictures that training draws from.

    Attributes:
        shards: where they are.
        regions: where in each its class is.
        numbers: int64 ``[N]``, which pictures of the shards.
        labels: int32 ``[N]``, 1..C in the order of the data set's categories.
        images: int64 ``[C]``, training images of each class, by label - 1.
    """

    shards: Shards
    regions: Regions
    numbers: NDArray[np.int64]
    labels: NDArray[np.int32]
    images: NDArray[np.int64]


def open_pictures(config: PicturesConfig, categories: Categories, shards: Shards) -> PictureSet:
    """The pictures of the classes of a data set.

    Args:
        config: regions and fraction.
        categories: of the data set, with training counts; classes are matched by id and name.
        shards: the pictures.

    Raises:
        ConfigError: a score is asked of regions that have none.
        DataError: the same id means another class in the two, no picture is of a class of the data set, or there are
            no regions.
    """
    regions = open_regions(config.regions, shards)
    label_of = np.zeros(len(shards.categories) + 1, np.int32)
    ids = {category.id: label for label, category in enumerate(categories, start=1)}
    for own, category in enumerate(shards.categories, start=1):
        label = ids.get(category.id)
        if label is None:
            continue
        if categories[label - 1].name != category.name:
            raise DataError(
                f"Category {category.id} is {category.name!r} in the shards {shards.folder} and "
                f"{categories[label - 1].name!r} in the data set.",
                hint="Build the shards for this data set: clis build-imagenet-subset --lvis TRAIN_JSON, "
                "or clis build-images --data TRAIN_JSON",
            )
        label_of[own] = label
    labels = label_of[shards.labels]
    numbers = np.flatnonzero(labels)
    if config.min_score:
        numbers = numbers[_scores(regions)[numbers] >= config.min_score]
        if not len(numbers):
            raise DataError(
                f"None of the regions of {shards.folder} has a score of {config.min_score:g} or more.",
                hint="--set pictures.min_score=0.1; scores are in the folder's *.regions.npy",
            )
    if config.fraction < 1:
        numbers = _part(numbers, labels[numbers], config.fraction)
    if not len(numbers):
        raise DataError(
            f"The shards {shards.folder} hold no picture of a class of the data set.",
            hint="Build them for it: clis build-imagenet-subset --lvis TRAIN_JSON",
        )
    images = np.array([category.images or 0 for category in categories], np.int64)
    return PictureSet(shards, regions, numbers, labels[numbers], images)


def _scores(regions: Regions) -> NDArray[np.float32]:
    """The score of each picture's own class in its region, 0 for a fallback: float32 ``[N]``, of all pictures."""
    if not isinstance(regions, RegionFiles):
        raise ConfigError(
            "pictures.min_score needs regions of a detector; others have no score.",
            hint="clis gen-regions --detector RUN SHARDS, or --set pictures.min_score=0",
        )
    entries = regions.entries()
    scores: NDArray[np.float32] = np.where(entries["fallback"], np.float32(0), entries["score"])
    return scores


def _part(numbers: NDArray[np.int64], labels: NDArray[np.int32], fraction: float) -> NDArray[np.int64]:
    """The same part of each class, drawn once for all runs; at least one picture of each."""
    random = np.random.Generator(np.random.Philox(key=(0, _FRACTION)))
    order = random.permutation(len(numbers))
    order = order[np.argsort(labels[order], kind="stable")]
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, counts)  # within its class
    kept = order[place < np.maximum(1, np.round(np.repeat(counts, counts) * fraction))]
    return np.sort(numbers[kept])


@dataclass
class MosaicPart:
    """What belongs to a mosaic beside its pixels; see `Mosaic`."""

    regions: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass
class PatchPart:
    """What belongs to a patch beside its pixels; see `Patch`. Arrays, since each tensor would be shared memory."""

    top: int
    left: int
    opacity: float
    box: NDArray[np.float32]
    label: int
    source: int


class CompanionLoader:
    """Makes the s / 4 mosaics and t patches of a detection image.

    Args:
        pictures: what to draw from.
        config: s, t and the augmentation.
        seed: the run's.
        places: detection images of the whole run, of which `Paste.until` takes a part.
    """

    def __init__(self, pictures: PictureSet, config: PicturesConfig, seed: int, places: int) -> None:
        self._pictures = pictures
        self._config = config
        self._seed = seed
        # Steps draw from windows of the stream: the last ones may reach behind its end.
        self._pasted = math.inf if config.paste.until == 1 else config.paste.until * places
        self._sampler = PictureSampler(pictures.labels, seed, config.order)

    @property
    def largest(self) -> int:
        """Bytes of the mosaics of an image."""
        return self._config.s // CELLS * 3 * self._config.mosaic**2

    def choose(self, position: int) -> tuple[NDArray[np.int64], list[int]]:
        """Which pictures come with a detection image.

        Args:
            position: the detection image's place in its stream.

        Returns:
            Indices into the set's ``numbers`` and ``labels``, int64 ``[s]``, and which of these s are pasted.
        """
        s = self._config.s
        if not s:
            return np.zeros(0, np.int64), []
        chosen = self._sampler(np.arange(position * s, (position + 1) * s))
        if position >= self._pasted:
            return chosen, []
        counts = self._pictures.images[self._pictures.labels[chosen] - 1].tolist()
        return chosen, pick(self._seed, position, counts, self._config.t, self._config.paste.pick)

    def load(self, position: int, size: tuple[int, int]) -> Iterator[tuple[Tensor, MosaicPart | PatchPart]]:
        """Mosaics, then patches, each with what belongs to it.

        Args:
            position: the detection image's place in its stream.
            size: its (height, width) as the network sees it.
        """
        config, s = self._config, self._config.s
        if not s:
            return
        places = np.arange(position * s, (position + 1) * s)
        chosen, picked = self.choose(position)
        labels = self._pictures.labels[chosen]
        patches = {i: draw_patch(self._seed, int(places[i]), size, config.paste) for i in picked}
        kept: dict[int, tuple[Tensor, NDArray[np.float32]]] = {}
        for first in range(0, s, CELLS):
            tensors, drawn = [], []
            for source in range(first, first + CELLS):
                number = int(self._pictures.numbers[chosen[source]])
                region = self._pictures.regions.box(number)
                full = self._pictures.shards.size(number)
                how = draw_picture(self._seed, int(places[source]), full, region, config)
                needed = min(how.size)
                if source in patches:
                    needed = max(needed, patches[source].needed(full, region))
                pixels = decode_picture(self._pictures.shards, number, needed)
                if source in patches:
                    kept[source] = (pixels, region)
                tensors.append(pixels)
                drawn.append(how)
            canvas, boxes = compose(tensors, drawn, config.mosaic)
            yield canvas, MosaicPart(boxes, labels[first : first + CELLS].astype(np.int64))
        for source in picked:
            pixels, region = kept.pop(source)
            patch = cut_patch(patches[source], pixels, region, int(labels[source]), source, size)
            rest = PatchPart(patch.top, patch.left, patch.opacity, patch.box.numpy(), patch.label, patch.source)
            yield _channels_last(patch.pixels), rest


def assemble(parts: Sequence[tuple[Tensor, MosaicPart | PatchPart]]) -> Companions:
    """Companions from the tensors and parts of `CompanionLoader.load`."""
    companions = Companions([], [])
    for pixels, part in parts:
        if isinstance(part, MosaicPart):
            companions.mosaics.append(Mosaic(pixels, torch.from_numpy(part.regions), torch.from_numpy(part.labels)))
        else:
            box = torch.from_numpy(part.box)
            companions.patches.append(Patch(pixels, part.top, part.left, part.opacity, box, part.label, part.source))
    return companions


def add_patches(
    boxes: NDArray[np.float32], labels: NDArray[np.int64], patches: Sequence[Patch], config: PicturesConfig
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32] | None]:
    """The ground truth of an image once patches are pasted over it, and the boxes on which nothing is background.

    Args:
        boxes: float32 ``[M, 4]``, xyxy, pixels of the resized image.
        labels: int64 ``[M]``.
        patches: what is pasted.
        config: whether pasted boxes count, and which covered boxes are dropped.
    """
    if not patches:
        return boxes, labels, None
    paste = config.paste
    stay = staying(boxes, patches, config)
    boxes, labels = boxes[stay], labels[stay]
    pasted = np.stack([p.box.numpy() for p in patches])
    if paste.boxes == "truth":
        boxes = np.concatenate([boxes, pasted])
        labels = np.concatenate([labels, np.array([p.label for p in patches], np.int64)])
    return boxes, labels, pasted if paste.boxes == "ignored" else None


def with_patches(verified: Verified, labels: NDArray[np.int64], patches: Sequence[Patch]) -> Verified:
    """What is known of an image's classes once patches are pasted over it.

    A pasted class is not absent any more; if the image says nothing of it, other objects of it may lack their boxes.

    Args:
        verified: of the image as it was.
        labels: int64 ``[M]``, of its own boxes.
        patches: what is pasted.
    """
    pasted = torch.tensor(sorted({p.label for p in patches}), dtype=torch.int64)
    known = torch.cat((torch.from_numpy(labels), verified.absent))
    unknown = pasted[~torch.isin(pasted, known)]
    absent = verified.absent[~torch.isin(verified.absent, pasted)]
    return Verified(absent, torch.cat((verified.partial, unknown)))


def staying(boxes: NDArray[np.float32], patches: Sequence[Patch], config: PicturesConfig) -> NDArray[np.bool_]:
    """Which boxes `add_patches` does not drop as covered, bool ``[M]``; they come first in what it gives."""
    limit = config.paste.drop_covered
    if limit >= 1 or not patches:
        return np.ones(len(boxes), np.bool_)
    areas = np.array([[p.left, p.top, p.left + p.pixels.shape[-1], p.top + p.pixels.shape[-2]] for p in patches])
    return np.array([covered(box, areas) <= limit for box in boxes], np.bool_)


def _channels_last(pixels: Tensor) -> Tensor:
    return pixels.permute(1, 2, 0).contiguous().permute(2, 0, 1)
