"""The shapes that travel between data, methods and detectors.

N images of a batch, M boxes of an image, K detections of an image, C classes. Boxes are xyxy in pixels.
Labels are 1..C; 0 is background.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

Losses = dict[str, Tensor]
"""Scalars by name, already weighted: their sum is what is minimised (CLIS, eq. 2)."""


class Verified(NamedTuple):
    """What a federated data set says of an image beside its boxes (LVIS, Gupta et al. 2019, sec. 3).

    Classes that are in neither and have no box in the image may be there all the same.

    Attributes:
        absent: int64 ``[A]``, labels 1..C that were looked for and are not there.
        partial: int64 ``[E]``, labels 1..C of which some objects may have no box.
    """

    absent: Tensor
    partial: Tensor


class Masks(NamedTuple):
    """Which pixels the objects of an image cover: a bitmap for each of its M boxes.

    Attributes:
        pixels: uint8 ``[T]``, 0 or 1, one bitmap after the other, row by row.
        shapes: (height, width) of each; (0, 0) where a box has no mask.
        windows: float32 ``[M, 4]``, xyxy, pixels of the image as the network sees it: where each bitmap lies, which is
            stretched over it. Beyond it the object covers nothing.
    """

    pixels: Tensor
    shapes: list[tuple[int, int]]
    windows: Tensor

    def extended(self, count: int) -> Masks:
        """With so many boxes more that have no mask."""
        windows = torch.cat((self.windows, self.windows.new_zeros(count, 4)))
        return Masks(self.pixels, [*self.shapes, *[(0, 0)] * count], windows)

    def bitmaps(self) -> list[Tensor]:
        """The bitmaps, uint8 ``[h, w]`` each."""
        parts = torch.split(self.pixels, [h * w for h, w in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


class Target(NamedTuple):
    """The boxes of one training image.

    Attributes:
        boxes: float32 ``[M, 4]``, xyxy, pixels of the image as the network sees it (resized, flipped).
        labels: int64 ``[M]``, 1..C.
        ignored: float32 ``[G, 4]``, xyxy likewise: what lies on these is no background; None where there are none.
        seed: of what training draws at random for the image, 0..2^62 - 1; None: from torch's global random numbers.
        verified: what is known of classes without a box; None where every object of every class has its box.
        masks: of the boxes, in their order; None where there are none, or nobody looks at them.
    """

    boxes: Tensor
    labels: Tensor
    ignored: Tensor | None = None
    seed: int | None = None
    verified: Verified | None = None
    masks: Masks | None = None

    def to(self, device: torch.device) -> Target:
        """The same on a device."""
        ignored = None if self.ignored is None else self.ignored.to(device, non_blocking=True)
        boxes, labels = (x.to(device, non_blocking=True) for x in (self.boxes, self.labels))
        masks = self.masks
        if masks is not None:
            pixels, windows = (x.to(device, non_blocking=True) for x in (masks.pixels, masks.windows))
            masks = Masks(pixels, masks.shapes, windows)
        # The rest is needed on the CPU.
        return self._replace(boxes=boxes, labels=labels, ignored=ignored, masks=masks)


class Detection(NamedTuple):
    """What a detector found in one image, best first.

    Attributes:
        boxes: float32 ``[K, 4]``, xyxy, pixels of the image that was handed in.
        labels: int64 ``[K]``, 1..C.
        scores: float32 ``[K]``, 0..1.
        masks: float32 ``[K, S, S]``, 0..1, stretched over the boxes; None of a detector without a mask head.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def to(self, device: torch.device | str) -> Detection:
        """The same on a device."""
        boxes, labels, scores = (x.to(device) for x in self[:3])
        return Detection(boxes, labels, scores, None if self.masks is None else self.masks.to(device))

    def only(self, which: Tensor) -> Detection:
        """Those that ``which``, an index or bool ``[K]``, takes."""
        boxes, labels, scores = (x[which] for x in self[:3])
        return Detection(boxes, labels, scores, None if self.masks is None else self.masks[which])


class RawImage(NamedTuple):
    """A decoded image and what the network's first step shall do to it.

    Attributes:
        pixels: uint8 ``[3, h, w]``, RGB, upright, at its own size.
        size: (height, width) to resize it to.
        flip: whether to mirror it left to right after resizing.
        frame: (height, width) that its batch is padded to at least: that of the images which other processes have.
    """

    pixels: Tensor
    size: tuple[int, int]
    flip: bool = False
    frame: tuple[int, int] = (0, 0)


def fit_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """The (height, width) whose short side is ``short``, unless the long side then exceeds ``long``; both >= 1."""
    scale = min(short / min(height, width), long / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


class Mosaic(NamedTuple):
    """Four pictures with a class label each (CLIS, sec. IV-A2).

    Attributes:
        pixels: uint8 ``[3, S, S]``, RGB.
        regions: float32 ``[4, 4]``, xyxy, pixels of the mosaic: where in each picture its class is.
        labels: int64 ``[4]``, 1..C.
    """

    pixels: Tensor
    regions: Tensor
    labels: Tensor


class Patch(NamedTuple):
    """An instance of a picture that is pasted into a detection image (CLIS, sec. III-B3).

    Attributes:
        pixels: uint8 ``[3, h, w]``, RGB.
        top: its place in the resized detection image, pixels.
        left: likewise.
        opacity: its share where it is blended with the image; 1 covers.
        box: float32 ``[4]``, xyxy of the instance, pixels of the resized detection image.
        label: 1..C.
        source: which of the image's s pictures it is, in the order of its mosaics.
    """

    pixels: Tensor
    top: int
    left: int
    opacity: float
    box: Tensor
    label: int
    source: int


class Companions(NamedTuple):
    """What comes with a detection image from the image-level data.

    Attributes:
        mosaics: s / 4 of them.
        patches: t of them, or fewer.
    """

    mosaics: list[Mosaic]
    patches: list[Patch]


class ImageBatch(NamedTuple):
    """Images as the backbone takes them.

    Attributes:
        pixels: float ``[N, 3, H, W]``, normalised, padded with zeros at the right and the bottom.
        sizes: (height, width) of each image without the padding.
    """

    pixels: Tensor
    sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class Batch:
    """One training step's data.

    Attributes:
        images: N decoded images.
        targets: N targets, in pixels of ``images[i].size``.
        names: N file names, for messages.
        companions: image-level data for each of the N images; empty where a method uses none.
    """

    images: list[RawImage]
    targets: list[Target]
    names: list[str] = field(default_factory=list)
    companions: list[Companions] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on ``device``."""
        return replace(
            self,
            images=[i._replace(pixels=i.pixels.to(device, non_blocking=True)) for i in self.images],
            targets=[target.to(device) for target in self.targets],
            companions=[_companions_to(c, device) for c in self.companions],
        )


def _companions_to(companions: Companions, device: torch.device) -> Companions:
    return Companions(
        [Mosaic(*(t.to(device, non_blocking=True) for t in mosaic)) for mosaic in companions.mosaics],
        [
            p._replace(pixels=p.pixels.to(device, non_blocking=True), box=p.box.to(device, non_blocking=True))
            for p in companions.patches
        ],
    )
