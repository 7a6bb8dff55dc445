"""Boxes and the sizes of their labels in; a place for each label out, where no two cover each other.

N labels, K places to choose from, P labels placed. Boxes and places are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REACH = 4
"""How far from its box a label may lie, in heights of labels."""
_PER_RANK, _PER_HEIGHT = 0.02, 0.15
"""What a less usual corner costs, and each height of distance from the box; hiding a whole box costs 1."""


def place_labels(
    size: tuple[int, int], boxes: Floats, labels: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int] | None]:
    """Find a place for one label after the other; what is first is served first.

    A place is within the picture and free of earlier labels. Of such places that one is taken that hides least of any
    box and is nearest to its own: above it first, then below, inside, and further off.

    Args:
        size: (height, width) of the picture.
        boxes: ``[N, 4]``.
        labels: (height, width) of each label; one of no size gets no place.

    Returns:
        For each label its place, or None where there is none within reach.
    """
    taken: Floats = np.zeros((0, 4))
    places: list[tuple[int, int, int, int] | None] = []
    for own, (height, width) in zip(boxes, labels, strict=True):
        place = None
        if 0 < height <= size[0] and 0 < width <= size[1]:
            at, cost = _candidates(size, own, height, width)  # [K, 4], [K]
            free = ~(_shared(at, taken) > 0).any(axis=1)
            if free.any():
                at, cost = at[free], cost[free] + _hidden(at[free], boxes)
                x1, y1, x2, y2 = (int(v) for v in at[int(np.argmin(cost))])
                place = (x1, y1, x2, y2)
                taken = np.concatenate([taken, at[[int(np.argmin(cost))]]])
        places.append(place)
    return places


def _candidates(size: tuple[int, int], box: Floats, height: int, width: int) -> tuple[Floats, Floats]:
    """Places ``[K, 4]`` at and around a box, and what each costs by itself, ``[K]``."""
    x1, y1, x2, y2 = np.round(box)
    corners = [
        *((x1, y1 - height), (x2 - width, y1 - height)),  # above
        *((x1, y2), (x2 - width, y2)),  # below
        *((x1, y1), (x2 - width, y1), (x1, y2 - height), (x2 - width, y2 - height)),  # inside
        *((x2, y1), (x1 - width, y1)),  # beside
    ]
    reach = REACH * height
    xs = np.arange(x1 - width - reach, x2 + reach + 1, max(1, width // 3))
    ys = np.arange(y1 - height - reach, y2 + reach + 1, max(1, height // 2))
    around = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    start = np.concatenate([np.array(corners), around])
    start = np.clip(start, 0, [size[1] - width, size[0] - height])
    rank = np.minimum(np.arange(len(start)), len(corners)) * _PER_RANK
    at = np.concatenate([start, start + np.array([width, height])], axis=1)
    gap = np.maximum(np.maximum(box[:2] - at[:, 2:], at[:, :2] - box[2:]), 0).max(axis=1)
    return at, rank + gap / height * _PER_HEIGHT


def _shared(one: Floats, other: Floats) -> Floats:
    """Areas ``[K, P]`` that places ``[K, 4]`` and ``[P, 4]`` share."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)  # type: ignore[no-any-return]


def _hidden(at: Floats, boxes: Floats) -> Floats:
    """What share of each box a label at ``[K, 4]`` hides, summed over the boxes: ``[K]``."""
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 1, None).prod(axis=1)
    return (_shared(at, boxes) / area).sum(axis=1)  # type: ignore[no-any-return]
