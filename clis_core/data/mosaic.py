"""Pictures with their regions in, a mosaic of four of them with the regions carried along out (CLIS, sec. IV-A2).

Everything random is a function of (seed, place in the stream of pictures). Boxes are xyxy; those of a mosaic in its
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from clis_core.config.pictures import PicturesConfig

FILL = (124, 116, 104)
"""ImageNet's mean colour: zero after normalisation."""
_MOSAIC = 5  # the stream of random numbers; 1 to 4 are `sampling`'s and `augment`'s
_MOST_COVERED = 0.5
_TRIES = 8


@dataclass(frozen=True)
class Drawn:
    """What is done to one picture of a mosaic.

    Attributes:
        size: (height, width) that it is resized to.
        offset: (top, left) in its cell.
        flip: whether it is mirrored.
        hole: xyxy in pixels of the resized, mirrored picture, int64 ``[4]``; None for no hole.
        region: xyxy in pixels of the cell, float32 ``[4]``.
    """

    size: tuple[int, int]
    offset: tuple[int, int]
    flip: bool
    hole: NDArray[np.int64] | None
    region: NDArray[np.float32]


def draw_picture(
    seed: int, place: int, size: tuple[int, int], region: NDArray[np.float32], config: PicturesConfig
) -> Drawn:
    """Choose scale, place, flip and hole of a picture in its cell.

    Args:
        seed: the run's.
        place: the picture's place in the stream of pictures.
        size: (height, width) of the picture, pixels.
        region: xyxy, relative to the picture (0..1), float32 ``[4]``.
        config: ranges and probabilities.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, _MOSAIC), counter=(0, 0, 0, place)))
    cell = config.mosaic // 2
    scale = cell * random.uniform(*config.scale) / max(size)
    height, width = (max(1, min(cell, round(side * scale))) for side in size)
    top, left = (int(random.integers(0, cell - side + 1)) for side in (height, width))
    flip = bool(random.random() < config.flip)
    box = region.astype(np.float64) * (width, height, width, height)  # [4], px of the resized picture
    if flip:
        box = np.array([width - box[2], box[1], width - box[0], box[3]])
    hole = _draw_hole(random, (height, width), cell, box, config)
    box = box + np.array([left, top, left, top])
    return Drawn((height, width), (top, left), flip, hole, box.astype(np.float32))


def _draw_hole(
    random: np.random.Generator,
    size: tuple[int, int],
    cell: int,
    box: NDArray[np.float64],
    config: PicturesConfig,
) -> NDArray[np.int64] | None:
    """A square of random size and place, cut off at the picture's edge; drawn again while it covers the region."""
    if random.random() >= config.cutout:
        return None
    height, width = size
    for _ in range(_TRIES):
        side = int(random.integers(1, max(2, int(cell * config.hole) + 1)))
        # Its centre is anywhere in the picture, so that a hole may be cut off at each edge.
        y0, x0 = (int(random.integers(0, length)) - side // 2 for length in (height, width))
        hole = np.array([max(0, x0), max(0, y0), min(width, x0 + side), min(height, y0 + side)])
        if covered(box, hole[None]) <= _MOST_COVERED:
            return hole
    return None


def covered(box: NDArray[np.floating], patches: NDArray[np.generic]) -> float:
    """The largest part of a box ``[4]`` that one of the patches ``[P, 4]`` covers; all xyxy."""
    area = max(float((box[2] - box[0]) * (box[3] - box[1])), 1e-9)
    sides = np.minimum(box[2:], patches[:, 2:]) - np.maximum(box[:2], patches[:, :2])  # [P, 2]
    return float(np.clip(sides, 0, None).prod(axis=1).max(initial=0.0)) / area


def compose(pictures: Sequence[Tensor], drawn: Sequence[Drawn], side: int) -> tuple[Tensor, NDArray[np.float32]]:
    """Put four pictures into the cells of a mosaic, row by row.

    Args:
        pictures: four, uint8 ``[3, h, w]``.
        drawn: what is done to each.
        side: of the mosaic, pixels.

    Returns:
        uint8 ``[3, side, side]``, channels last in memory, and the regions, float32 ``[4, 4]``, xyxy in its pixels.
    """
    canvas = _blank(side).clone()  # [H, W, 3]
    cell = side // 2
    boxes = np.empty((len(pictures), 4), np.float32)
    for place, (pixels, what) in enumerate(zip(pictures, drawn, strict=True)):
        row, column = place // 2 * cell, place % 2 * cell
        top, left = row + what.offset[0], column + what.offset[1]
        height, width = what.size
        picture = resize_uint8(pixels, what.size)
        picture = picture.flip(-1) if what.flip else picture
        target = canvas[top : top + height, left : left + width]
        target.copy_(picture.permute(1, 2, 0))
        if what.hole is not None:
            x0, y0, x1, y1 = what.hole.tolist()
            target[y0:y1, x0:x1] = torch.tensor(FILL, dtype=torch.uint8)
        boxes[place] = what.region + np.array([column, row, column, row], np.float32)
    return canvas.permute(2, 0, 1), boxes


@lru_cache(maxsize=1)
def _blank(side: int) -> Tensor:
    """uint8 ``[side, side, 3]`` of `FILL`; to copy it takes a tenth of the time that filling takes."""
    return torch.tensor(FILL, dtype=torch.uint8).expand(side, side, 3).contiguous()


def resize_uint8(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 ``[3, h, w]`` to ``[3, *size]``, bilinear with antialiasing, channels last in memory."""
    if tuple(pixels.shape[-2:]) == size:
        return pixels
    x = pixels[None].contiguous(memory_format=torch.channels_last)
    return F.interpolate(x, size=size, mode="bilinear", antialias=True)[0]
