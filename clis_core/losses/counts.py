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


def unknown(num_classes: int) -> Tensor:
    """What stands in a buffer of counts until a checkpoint's are loaded: int64 ``[C]``."""
    return torch.full((num_classes,), UNKNOWN)


def check_known(counts: Tensor, loss: str) -> None:
    """Check that a buffer of counts was filled.

    Raises:
        ConfigError: it was not.
    """
    if bool((counts < 0).any()):
        raise ConfigError(
            f"The {loss} loss learns from counts of the training data, and was built without them.",
            hint="build_detector(config, num_classes, counts), with clis_core.jobs.training_data.class_counts(table)",
        )
