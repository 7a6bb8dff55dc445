"""Images with a class label alone: which, how they are shown to the detector, and how instances of them are pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from clis_core.config.frozen import Frozen, OrFile

WHOLE_PICTURE = "full-image"
REGION_RULES = (WHOLE_PICTURE, "centre")
"""Regions that need no detector."""


class Paste(Frozen):
    """Instances that are picked from the pictures and pasted into detection images (CLIS, sec. III-B3, fig. 3).

    The paper draws it and gives no numbers: they are ours.
    """

    mode: Literal["mixup", "opaque"] = "mixup"
    """Blend a patch with the image, or cover it."""
    opacity: tuple[float, float] = (0.5, 0.7)
    """The patch's share where it is blended: drawn between these."""
    margin: tuple[float, float] = (1.1, 1.3)
    """The crop is the region, this many times as large."""
    side: tuple[float, float] = (0.1, 0.4)
    """Long side of the pasted region, as a part of the square root of the image's area: drawn between these."""
    min_side: int = Field(default=32, ge=1)
    """... and no shorter than this (pixels)."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring a patch."""
    pick: Literal["uniform", "rare"] = "uniform"
    """Which of the s pictures: any, or those of classes with few training images first."""
    boxes: Literal["truth", "ignored", "background"] = "truth"
    """A pasted box is a ground truth for proposals, boxes, objectness and class (the figure shows so); or what lies on
    it teaches none of them, so that the contrast is left alone; or it is background like all that has no box."""
    drop_covered: float = Field(default=1.0, gt=0, le=1)
    """Drop ground truths of which a patch covers more than this part; 1 keeps all."""
    until: float = Field(default=1.0, ge=0, le=1)
    """Part of the training in which instances are pasted, from its start; the rest sees scenes as they are."""

    @model_validator(mode="after")
    def _ranges(self) -> Paste:
        for name in ("opacity", "margin", "side"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} needs two numbers above 0, the smaller first")
        if self.opacity[1] > 1 or self.side[1] > 1 or self.margin[0] < 1:
            raise ValueError("opacity and side are at most 1, margin is at least 1")
        return self


class PicturesConfig(Frozen):
    """The image-level data set D_i."""

    shards: Path | None = None
    """Folder of shards, of clis build-imagenet-subset, build-images or crawl-google."""
    regions: Annotated[str | None, OrFile(REGION_RULES)] = None
    """Folder of regions, of clis gen-regions; empty takes SHARDS-regions; "full-image" and "centre" need none."""
    s: int = Field(default=16, ge=0)
    """Pictures for each detection image, in s / 4 mosaics (CLIS, sec. IV-A2, table V); a multiple of 4."""
    t: int = Field(default=2, ge=0)
    """Instances of them that are pasted into the detection image (CLIS, sec. IV-A2, table VI)."""
    order: Literal["uniform", "class-balanced"] = "uniform"
    """Every picture equally often, or every class."""
    min_score: float = Field(default=0.0, ge=0, le=1)
    """Leave out pictures whose region has a lower score of their class."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Part of each class's pictures that is used (CLIS, table VIII)."""
    mosaic: int = Field(default=448, ge=32)
    """Side of a mosaic of 2 x 2 pictures (pixels)."""
    scale: tuple[float, float] = (0.5, 1.0)
    """Long side of a picture, as a part of its cell: drawn between these."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring a picture."""
    cutout: float = Field(default=0.5, ge=0, le=1)
    """Probability of a hole in a picture (DeVries and Taylor 2017); it never covers half of the region."""
    hole: float = Field(default=0.25, gt=0, le=1)
    """Largest side of a hole, as a part of the cell."""
    paste: Paste = Paste()

    @model_validator(mode="after")
    def _fits(self) -> PicturesConfig:
        if self.s % 4:
            raise ValueError(f"s ({self.s}) must be a multiple of 4: a mosaic holds four pictures")
        if self.t > self.s:
            raise ValueError(f"t ({self.t}) must not be above s ({self.s}): instances are picked from the s pictures")
        if self.mosaic % 2:
            raise ValueError("mosaic must be even")
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise ValueError("scale needs two numbers above 0 and up to 1, the smaller first")
        return self
