"""A picture's region and a detection image's size in, a patch to be pasted and its box out (CLIS, fig. 3).

Everything random is a function of (seed, place). Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def make_patch(
    seed: int,
    place: int,
    picture: Tensor,
    region: NDArray[np.float32],
    label: int,
    source: int,
    size: tuple[int, int],
    config: Paste,
) -> Patch:
    """Crop the region with a margin, resize, mirror, and choose where it goes.

    Args:
        seed: the run's.
        place: the picture's place in the stream of pictures.
        picture: uint8 ``[3, h, w]``.
        region: xyxy, relative to the picture (0..1), float32 ``[4]``.
        label: of the picture, 1..C.
        source: which of the image's s pictures it is.
        size: (height, width) of the detection image as the network sees it.
        config: ranges.
    """
    random = np.random.Generator(np.random.Philox(key=(seed, _PASTE), counter=(0, 0, 0, place)))
    h, w = picture.shape[-2:]
    box = region.astype(np.float64) * (w, h, w, h)
    box[2:] = np.maximum(box[2:], box[:2] + 1)
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    grown = sides * random.uniform(*config.margin) / 2
    x0, y0 = (int(v) for v in np.maximum(np.floor(centre - grown), 0))
    x1, y1 = (int(v) for v in np.minimum(np.ceil(centre + grown), (w, h)))
    height, width = size
    wanted = max(config.min_side, random.uniform(*config.side) * np.sqrt(height * width))
    # The whole crop must fit into the image, however small that is.
    scale = min(wanted / max(sides), height / (y1 - y0), width / (x1 - x0))
    new = (max(1, min(height, round((y1 - y0) * scale))), max(1, min(width, round((x1 - x0) * scale))))
    patch = resize_uint8(picture[:, y0:y1, x0:x1], new)
    ratio = np.array([new[1] / (x1 - x0), new[0] / (y1 - y0)])
    inside = np.concatenate([(box[:2] - (x0, y0)) * ratio, (box[2:] - (x0, y0)) * ratio])
    inside = np.clip(inside, 0, (new[1], new[0], new[1], new[0]))
    if random.random() < config.flip:
        patch = patch.flip(-1)
        inside = np.array([new[1] - inside[2], inside[1], new[1] - inside[0], inside[3]])
    top, left = int(random.integers(0, height - new[0] + 1)), int(random.integers(0, width - new[1] + 1))
    opacity = 1.0 if config.mode == "opaque" else float(random.uniform(*config.opacity))
    placed = (inside + np.array([left, top, left, top])).astype(np.float32)
    return Patch(patch, top, left, opacity, torch.from_numpy(placed), label, source)
