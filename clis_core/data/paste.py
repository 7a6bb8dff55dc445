"""A picture's region and a detection image's size in, a patch to be pasted and its box out (CLIS, fig. 3).

Everything random is a function of (seed, place). Boxes are xyxy in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clis_core.batch import Patch
from clis_core.config.pictures import Paste
from clis_core.data.mosaic import resize_uint8

_PASTE, _PICK = 6, 7  # streams of random numbers


def pick(seed: int, position: int, counts: Sequence[int], t: int, rule: str) -> list[int]:
    """Choose t of the pictures of a detection image.

    Args:
        seed: the run's.
        position: the detection image's place in its stream.
        counts: training images of each picture's class.
        t: how many.
        rule: "uniform", or "rare" for those of the rarest classes, ties by chance.

    Returns:
        Their indices.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, _PICK), counter=(0, 0, 0, position)))
    order = random.permutation(len(counts))
    if rule == "rare":
        order = order[np.argsort(np.asarray(counts)[order], kind="stable")]
    return [int(i) for i in order[:t]]


@dataclass(frozen=True)
class DrawnPatch:
    """What is done to an instance before its picture is decoded.

    Attributes:
        margin: the crop is the region this many times as large.
        side: long side that the region gets, pixels of the detection image.
        flip: whether it is mirrored.
        place: where the patch goes: parts (0..1) of the room that it leaves above and to the left of it.
        opacity: its share where it is blended.
    """

    margin: float
    side: float
    flip: bool
    place: tuple[float, float]
    opacity: float

    def needed(self, size: tuple[int, int], region: NDArray[np.float32]) -> int:
        """Short side (pixels) from which on a picture of (height, width) need not be enlarged for the patch."""
        height, width = size
        longest = max(1.0, float((region[3] - region[1]) * height), float((region[2] - region[0]) * width))
        return max(1, math.ceil(min(size) * self.side / longest))


def draw_patch(seed: int, place: int, size: tuple[int, int], config: Paste) -> DrawnPatch:
    """Choose margin, size, place, flip and opacity of a patch.

    Args:
        seed: the run's.
        place: the picture's place in the stream of pictures.
        size: (height, width) of the detection image as the network sees it.
        config: ranges.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, _PASTE), counter=(0, 0, 0, place)))
    return DrawnPatch(
        margin=float(random.uniform(*config.margin)),
        side=max(config.min_side, float(random.uniform(*config.side)) * math.sqrt(size[0] * size[1])),
        flip=bool(random.random() < config.flip),
        place=(float(random.random()), float(random.random())),
        opacity=1.0 if config.mode == "opaque" else float(random.uniform(*config.opacity)),
    )


def cut_patch(
    drawn: DrawnPatch, picture: Tensor, region: NDArray[np.float32], label: int, source: int, size: tuple[int, int]
) -> Patch:
    """Crop the region with its margin, resize and mirror it, and put it where it was drawn.

    Args:
        drawn: how.
        picture: uint8 ``[3, h, w]``.
        region: xyxy, relative to the picture (0..1), float32 ``[4]``.
        label: of the picture, 1..C.
        source: which of the image's s pictures it is.
        size: (height, width) of the detection image as the network sees it.
    """
    sides = np.array([picture.shape[2], picture.shape[1]])  # [2], width and height
    low, high = region.astype(np.float64).reshape(2, 2) * sides  # [2], px of the picture
    high = np.maximum(high, low + 1)  # of a long picture, a region may be a part of a pixel
    grown = (high - low) * drawn.margin / 2
    first = np.clip(np.floor((low + high) / 2 - grown), 0, sides - 1).astype(int)
    last = np.clip(np.ceil((low + high) / 2 + grown), first + 1, sides).astype(int)
    crop = last - first
    room = np.array([size[1], size[0]])
    # The whole crop must fit into the image, however small that is.
    scale = min(drawn.side / (high - low).max(), *(room / crop))
    new = np.clip(np.round(crop * scale), 1, room).astype(int)  # [2], width and height of the patch
    pixels = resize_uint8(picture[:, first[1] : last[1], first[0] : last[0]], (int(new[1]), int(new[0])))
    low, high = ((corner - first) * new / crop for corner in (low, high))
    # No box is thinner than a pixel: logarithms of its sides are taken.
    low = np.clip(low, 0, new - 1)
    high = np.clip(high, low + 1, new)
    if drawn.flip:
        pixels = pixels.flip(-1)
        low[0], high[0] = new[0] - high[0], new[0] - low[0]
    corner = (np.array(drawn.place[::-1]) * (room - new + 1)).astype(int)  # [2], left and top
    box = torch.from_numpy(np.concatenate([low + corner, high + corner]).astype(np.float32))
    return Patch(pixels, int(corner[1]), int(corner[0]), drawn.opacity, box, label, source)
