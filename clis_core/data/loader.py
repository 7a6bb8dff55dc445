"""The images and boxes of a split go in; training batches come out.

Workers only decode: resizing and what follows is the network's first step, on its device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import Batch, RawImage, Target, Verified, fit_size
from clis_core.config.data import ClassBalanced, DataConfig, RepeatFactor
from clis_core.config.pictures import PicturesConfig
from clis_core.data.augment import draw, place_boxes
from clis_core.data.companions import (
    CompanionLoader,
    MosaicPart,
    PatchPart,
    PictureSet,
    add_patches,
    assemble,
    staying,
    with_patches,
)
from clis_core.data.decode import read_image
from clis_core.data.layout import Split
from clis_core.data.masks import PackedMasks, place_masks
from clis_core.data.sampling import ALONE, ImageOrder, Portion, class_balanced_factors, mixed, repeat_factors
from clis_core.data.segmentations import Segmentations
from clis_core.data.workers import load_batches


class TrainingLoader:
    """The batches of steps ``start_step`` to ``stop_step - 1``, functions of seed and step alone.

    So they are the same for any number of workers, and a resumed run sees what it would have seen.

    Args:
        split: the training images.
        data: sampler, sizes, flip, workers, ...
        batch: images a step, of all processes.
        seed: the run's.
        start_step: first step.
        stop_step: the step before which it ends.
        pin: put pixels into page-locked memory, so that they are copied to a GPU while it works.
        pictures: image-level data to come with each image; None for none.
        companions: how they come.
        iterations: steps of the whole run, of which parts are counted; None takes ``stop_step``.
        portion: which images of a step this process has; it must divide ``batch``.
        segmentations: of the split's boxes, where masks are learnt.

    Attributes:
        order: which images each step holds.
        companions: what comes with each image; None for nothing.

    Raises:
        DataError: (while iterating) an image cannot be read, or a worker died.
    """

    def __init__(
        self,
        split: Split,
        data: DataConfig,
        batch: int,
        seed: int,
        start_step: int,
        stop_step: int,
        *,
        pin: bool = False,
        pictures: PictureSet | None = None,
        companions: PicturesConfig | None = None,
        iterations: int | None = None,
        portion: Portion = ALONE,
        segmentations: Segmentations | None = None,
    ) -> None:
        places = batch * (stop_step if iterations is None else iterations)
        maker = CompanionLoader(pictures, companions, seed, places) if pictures and companions else None
        self._load = _TrainingImages(split, data, seed, maker, portion, segmentations)
        self._companions = companions if maker else None
        self.order = _image_order(split, data, batch, seed)
        self.companions = maker
        self._steps = range(start_step, stop_step)
        self._workers = data.workers
        # A patch is no larger than its image as the network sees it.
        patches = companions.t * 3 * max(data.short_sides) * data.long_side if maker and companions else 0
        self._largest = batch // portion.world * (_largest(split) + (maker.largest if maker else 0) + patches)
        self._pin = pin

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        batches = map(self.order.images, self._steps)
        for pixels, parts in load_batches(
            self._load, batches, workers=self._workers, largest=self._largest, pin=self._pin
        ):
            yield self._batch(pixels, parts)

    def _batch(self, pixels: Sequence[Tensor], parts: Sequence[_Sample | MosaicPart | PatchPart]) -> Batch:
        """An image, then what comes with it; and again."""
        batch = Batch([], [], [], [])
        starts = [n for n, part in enumerate(parts) if isinstance(part, _Sample)]
        for start, stop in zip(starts, [*starts[1:], len(parts)], strict=True):
            sample = parts[start]
            assert isinstance(sample, _Sample)
            boxes, labels, ignored = sample.boxes, sample.labels, None
            known = sample.verified
            verified = known and Verified(*(torch.from_numpy(part.astype(np.int64)) for part in known))
            own = np.arange(len(boxes))  # those of the boxes that the annotations have
            if self._companions is not None:
                companions = assemble(list(zip(pixels[start + 1 : stop], parts[start + 1 : stop], strict=True)))  # type: ignore[arg-type]
                own = np.flatnonzero(staying(boxes, companions.patches, self._companions))
                boxes, labels, ignored = add_patches(boxes, labels, companions.patches, self._companions)
                verified = verified and with_patches(verified, sample.labels, companions.patches)
                batch.companions.append(companions)
            batch.images.append(RawImage(pixels[start], sample.size, sample.flip, sample.frame))
            no_background = None if ignored is None else torch.from_numpy(ignored)
            masks = None
            if sample.masks is not None:  # pasted instances have none
                masks = sample.masks.unpacked(own.tolist()).extended(len(boxes) - len(own))
            target = Target(torch.from_numpy(boxes), torch.from_numpy(labels), no_background, sample.seed)
            batch.targets.append(target._replace(verified=verified, masks=masks))
            batch.names.append(sample.name)
        return batch


@dataclass
class _Sample:
    """What belongs to a training image beside its pixels; see `RawImage` and `Target`."""

    size: tuple[int, int]
    flip: bool
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    name: str
    frame: tuple[int, int]
    seed: int
    verified: tuple[NDArray[np.int32], NDArray[np.int32]] | None
    masks: PackedMasks | None


class _TrainingImages:
    """(image, place in the stream) pairs of a step to the images of this process, and what belongs to them."""

    def __init__(
        self,
        split: Split,
        data: DataConfig,
        seed: int,
        companions: CompanionLoader | None,
        portion: Portion,
        segmentations: Segmentations | None,
    ) -> None:
        self._split = split
        self._data = data
        self._seed = seed
        self._companions = companions
        self._portion = portion
        self._segmentations = segmentations

    def __call__(self, step: Sequence[tuple[int, int]]) -> Iterator[tuple[Tensor, _Sample | MosaicPart | PatchPart]]:
        for part in self._portion.cut(step):
            sizes = [self._draw(index, position)[0] for index, position in part]
            frame = max(h for h, _ in sizes), max(w for _, w in sizes)
            for index, position in self._portion.own(part):
                pixels, sample = self._sample(index, position, frame)
                yield pixels, sample
                if self._companions is not None:
                    yield from self._companions.load(position, sample.size)

    def _draw(self, index: int, position: int) -> tuple[tuple[int, int], bool]:
        """The (height, width) that the network sees, and whether it is mirrored."""
        short, flip = draw(self._seed, position, self._data.short_sides, self._data.flip)
        height, width = self._split.table.sizes[index].tolist()
        return fit_size(height, width, short, self._data.long_side), flip

    def _sample(self, index: int, position: int, frame: tuple[int, int]) -> tuple[Tensor, _Sample]:
        data, table = self._data, self._split.table
        size, flip = self._draw(index, position)
        height, width = table.sizes[index].tolist()
        path = self._split.files.path(index)
        pixels = read_image(path, exif=data.exif, at_least=min(size), size=(height, width))
        boxes, labels = table.target(index)
        boxes = place_boxes(boxes, (height, width), size, flip)
        seed = mixed(self._seed, position) >> 1
        verified = table.verified(index)
        masks = None
        if self._segmentations is not None:
            masks = place_masks(self._segmentations.of_image(index), (height, width), size, flip)
        return pixels, _Sample(size, flip, boxes, labels.astype(np.int64), str(path), frame, seed, verified, masks)


def _image_order(split: Split, data: DataConfig, batch: int, seed: int) -> ImageOrder:
    table = split.table
    wide = table.sizes[:, 1] > table.sizes[:, 0] if data.group_by_shape else None
    if isinstance(data.sampler, RepeatFactor):
        repeats = repeat_factors(table, data.sampler.threshold)
        return ImageOrder(repeats, seed, data.sampler.rounding, batch, wide)
    if isinstance(data.sampler, ClassBalanced):
        return ImageOrder(class_balanced_factors(table), seed, "stochastic", batch, wide)
    return ImageOrder(np.ones(len(table)), seed, "ceil", batch, wide)


def _largest(split: Split) -> int:
    """Bytes of the largest image."""
    return int(split.table.sizes.astype(np.int64).prod(axis=1).max()) * 3
