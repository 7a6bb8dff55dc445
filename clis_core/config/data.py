"""Where the data lie and how training sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from clis_core.config.frozen import Frozen


class Uniform(Frozen):
    """Every image once an epoch."""

    kind: Literal["uniform"] = "uniform"


class RepeatFactor(Frozen):
    """Repeat-factor sampling: images of seldom classes more often (LVIS, Gupta et al. 2019, sec. 6)."""

    kind: Literal["repeat-factor"] = "repeat-factor"
    threshold: float = Field(default=1e-3, ge=0, le=1)
    """t in r(c) = max(1, sqrt(t / f(c))), f(c) the fraction of training images with class c."""
    rounding: Literal["stochastic", "ceil"] = "stochastic"
    """Repeats are whole numbers: rounded at random anew each epoch (stochastic), or up, once (ceil)."""


class ClassBalanced(Frozen):
    """Every class equally often: of N images of an epoch, N / C are drawn for each class from those that hold it."""

    kind: Literal["class-balanced"] = "class-balanced"


Sampler = Annotated[Uniform | RepeatFactor | ClassBalanced, Field(discriminator="kind")]


class DataConfig(Frozen):
    """The data set and its augmentation."""

    root: Path | None = None
    """Folder of a data set in a known layout; gives the json files and the images that are not named below."""
    train: Path | None = None
    """Annotation json of the training images (LVIS v1, LVIS v0.5 or COCO); or an image list of VOC."""
    val: Path | None = None
    """Annotation json of the validation images; or an image list of VOC."""
    train_images: Path | None = None
    """Folder that the training images' file names start from."""
    val_images: Path | None = None
    """Folder that the validation images' file names start from."""
    exif: bool = True
    """Turn images upright by their EXIF orientation (false where boxes were drawn on unturned pixels)."""
    sampler: Sampler = RepeatFactor()
    """Which images an epoch holds."""
    short_sides: tuple[int, ...] = (640, 672, 704, 736, 768, 800)
    """Training resizes the short side to one of these, at random (pixels)."""
    long_side: int = Field(default=1333, ge=32)
    """... but the long side to no more than this (pixels)."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring an image left to right."""
    group_by_shape: bool = True
    """Put wide images with wide ones and tall with tall, so that less of a batch is padding."""
    workers: int = Field(default=4, ge=0, le=256)
    """Processes that decode images, for each process that trains; 0 decodes in that one."""

    @field_validator("short_sides")
    @classmethod
    def _sides(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 32 or max(value) > 8192:
            raise ValueError("needs at least one length of 32 to 8192 pixels")
        return value
