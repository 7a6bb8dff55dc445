"""How often each class occurs in the training data, which some class losses are made from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from clis_core.errors import ConfigError


class ClassCounts(NamedTuple):
    """Counts by label - 1.

    Attributes:
        images: int64 ``[C]``, training images that hold the class.
        boxes: int64 ``[C]``, training boxes of the class.
        all_images: training images, with and without boxes.
    """

    images: Tensor
    boxes: Tensor
    all_images: int


UNKNOWN = -1


def images_of(counts: ClassCounts | None, num_classes: int) -> Tensor:
    """A buffer of the training images by class: int64 ``[C]``, unknown without counts."""
    return counts.images.clone() if counts else unknown(num_classes)


def unknown(num_classes: int) -> Tensor:
    """What stands in a buffer of counts until a checkpoint's are loaded: int64 ``[C]``."""
    return torch.full((num_classes,), UNKNOWN)


class KnownCounts:
    """Checks once, at its first call, that a buffer of counts was filled.

    Args:
        loss: the name of the loss that is made from them.
    """

    def __init__(self, loss: str) -> None:
        self._loss = loss
        self._checked = False

    def __call__(self, counts: Tensor) -> None:
        """Check the buffer.

        Raises:
            ConfigError: it was not filled.
        """
        if not self._checked and bool((counts < 0).any()):
            raise ConfigError(
                f"The {self._loss} loss learns from counts of the training data, and was built without them.",
                hint="build_detector(config, num_classes, counts), "
                "with clis_core.jobs.training_data.class_counts(table)",
            )
        self._checked = True
