"""The boxes of an image go in; what the auxiliary tasks of MTL-SSL learn from comes out, made on the fly.

M boxes, W windows, P classes that have a box in the image, C classes in all. Boxes and windows are xyxy in pixels of
the resized image. All of it is NumPy on the CPU: a few hundred small steps, which a GPU would only wait for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from clis_core.batch import Target, Verified
from clis_core.methods.assign import seed_within

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

CELLS = 64
"""The foreground mask is so many cells wide and high."""
WINDOWS = -1
"""Stream of an image's random numbers; those from 0 on are its pictures'."""
_CANDIDATES = 4  # windows drawn for each that is wanted


class SoftLabels(NamedTuple):
    """A distribution over classes for each of R rows, with columns for those classes alone that have a part in one.

    Attributes:
        classes: int64 ``[J]``, rising, 0 for background.
        shares: float32 ``[R, J]``; a row sums to 1, or to 0 where it has nothing to teach.
        known: bool ``[R, J]``, false where a class may be there and nobody has looked; it takes no part in the row.
        absent: int64 ``[A]``, other classes, known to have no part in any row; None for all other classes.
    """

    classes: Labels
    shares: NDArray[np.float32]
    known: NDArray[np.bool_]
    absent: Labels | None


class Foreground(NamedTuple):
    """Where in an image objects are.

    Attributes:
        mask: int64 ``[64, 64]``, 1 within any box.
        weights: float32 ``[64, 64]``, of mean 1.
    """

    mask: Labels
    weights: NDArray[np.float32]


def random_windows(target: Target, size: tuple[int, int], count: int, shortest: int) -> Array:
    """Windows at random places that touch a box (MTL-SSL, sec. 3.1).

    A side is uniform from ``shortest`` to the image's, the centre uniform over the image; what lies outside is cut off.

    Args:
        target: the boxes, and the seed that the windows are a function of.
        size: (height, width) of the image.
        count: windows wanted. Where boxes are hard to hit there are fewer; without any box, one.
        shortest: side of a window at least, also where it was cut.

    Returns:
        ``[W, 4]``, 1 <= W <= count.
    """
    seed = seed_within(target.seed, WINDOWS)
    draw = None if seed is None else torch.Generator().manual_seed(seed)
    frame = np.array([size[1], size[0]], np.float64)  # width, height
    least = np.minimum(shortest, frame)
    uniform = torch.rand((_CANDIDATES * count, 2, 2), generator=draw, dtype=torch.float64).numpy()
    sides = least + uniform[:, 0] * (frame - least)
    centres = uniform[:, 1] * frame
    low, high = np.maximum(centres - sides / 2, 0), np.minimum(centres + sides / 2, frame)
    windows = np.concatenate([low, high], axis=1)[((high - low) >= least).all(axis=1)]
    if not len(windows):
        windows = np.concatenate([np.zeros(2), frame])[None]
    touching = windows[_intersections(windows, _boxes(target)).any(axis=1)]
    return touching[:count] if len(touching) else windows[:1]


def window_labels(target: Target, windows: Array) -> SoftLabels:
    """How much of each window is of which class: sqrt(a_k) / sum sqrt(a), a the parts of its area.

    a_k of a class is that of the union of its boxes, a_0 of background what no box covers. Where not all objects of a
    class have a box, the class takes part in those windows alone that one of its boxes touches.

    Args:
        target: the boxes, and what is known of other classes.
        windows: ``[W, 4]``.
    """
    boxes, labels = _boxes(target), target.labels.cpu().numpy()
    classes, counts = np.unique(labels, return_counts=True)
    areas = np.zeros((len(windows), 1 + len(classes)))
    inside = _intersections(windows, boxes)  # [W, M]
    for column, (label, number) in enumerate(zip(classes, counts, strict=True), start=1):
        own = labels == label
        areas[:, column] = inside[:, own][:, 0] if number == 1 else union_areas(boxes[own], windows)
    whole = (windows[:, 2:] - windows[:, :2]).prod(axis=1)
    areas[:, 0] = np.maximum(whole - union_areas(boxes, windows), 0)
    roots = np.sqrt(areas / whole[:, None])
    shares = (roots / roots.sum(axis=1, keepdims=True)).astype(np.float32)
    known = np.ones_like(shares, dtype=np.bool_)
    if target.verified is not None:
        partial = np.isin(classes, target.verified.partial.numpy())
        known[:, 1:] = ~partial | (shares[:, 1:] > 0)
    return SoftLabels(np.concatenate([[0], classes]), shares, known, _absent(target.verified, classes))


def closeness_labels(target: Target, boxes: Array, labels: Labels, size: tuple[int, int]) -> SoftLabels:
    """How close objects of other classes are: max_j (1 - |centre - centre_j| / diagonal) for each, of sum 1.

    Args:
        target: the boxes of the image, and what is known of other classes.
        boxes: ``[R, 4]``, those that are asked about.
        labels: int64 ``[R]``, of each of them; objects of this class do not count.
        size: (height, width) of the image.

    Returns:
        Without a column for background; a row is zero where there is no object of another class.
    """
    all_labels = target.labels.cpu().numpy()
    order = np.argsort(all_labels, kind="stable")
    classes, first = np.unique(all_labels[order], return_index=True)
    if not len(classes) or not len(boxes):
        empty = np.zeros((len(boxes), len(classes)))
        return SoftLabels(classes, empty.astype(np.float32), empty == 0, _absent(target.verified, classes))
    apart = _centres(boxes)[:, None] - _centres(_boxes(target)[order])  # [R, M, 2]
    near = 1 - np.sqrt((apart**2).sum(axis=2)) / math.hypot(*size)
    closest = np.maximum.reduceat(np.maximum(near, 0), first, axis=1)  # [R, P]
    closest[labels[:, None] == classes] = 0
    total = closest.sum(axis=1, keepdims=True)
    shares = np.divide(closest, total, out=np.zeros_like(closest), where=total > 0).astype(np.float32)
    return SoftLabels(classes, shares, np.ones_like(shares, dtype=np.bool_), _absent(target.verified, classes))


def foreground(target: Target, size: tuple[int, int]) -> Foreground:
    """The mask of all boxes, and weights by which small objects count as much as large ones.

    A cell that a box touches is within it. Its weight is 1 / (cells of the box), the largest over the boxes that it is
    in; outside of all 1 / 64^2; and all are divided by their mean.

    Args:
        target: the boxes.
        size: (height, width) of the image.
    """
    weights = np.full((CELLS, CELLS), 1 / CELLS**2)
    mask = np.zeros((CELLS, CELLS), np.int64)
    scale = CELLS / np.array([size[1], size[0]] * 2)
    cells = _boxes(target) * scale
    low = np.clip(np.floor(cells[:, :2]), 0, CELLS - 1).astype(np.int64)
    high = np.clip(np.ceil(cells[:, 2:]), low + 1, CELLS).astype(np.int64)
    for (left, top), (right, bottom) in zip(low, high, strict=True):
        inside = np.s_[top:bottom, left:right]
        mask[inside] = 1
        weights[inside] = np.maximum(weights[inside], 1 / ((right - left) * (bottom - top)))
    return Foreground(mask, (weights / weights.mean()).astype(np.float32))


def union_areas(boxes: Array, windows: Array) -> Array:
    """Area of the union of boxes ``[M, 4]`` within each of ``[W, 4]`` windows, exact: ``[W]``.

    The boxes' edges cut the plane into at most (2 M - 1)^2 cells, each of them covered or not; a window's share of
    column i and row j is a length each.
    """
    x, y = np.unique(boxes[:, 0::2]), np.unique(boxes[:, 1::2])
    corners = np.zeros((len(x), len(y)), np.int64)
    left, right = np.searchsorted(x, boxes[:, 0]), np.searchsorted(x, boxes[:, 2])
    top, bottom = np.searchsorted(y, boxes[:, 1]), np.searchsorted(y, boxes[:, 3])
    for across, down, sign in ((left, top, 1), (right, top, -1), (left, bottom, -1), (right, bottom, 1)):
        np.add.at(corners, (across, down), sign)
    covered = corners.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    columns = np.diff(np.clip(x, windows[:, :1], windows[:, 2:3]), axis=1)  # [W, len(x) - 1]
    rows = np.diff(np.clip(y, windows[:, 1:2], windows[:, 3:]), axis=1)
    return ((columns @ covered) * rows).sum(axis=1)  # type: ignore[no-any-return]


def _intersections(windows: Array, boxes: Array) -> Array:
    """Areas ``[W, M]`` that windows and boxes share."""
    low = np.maximum(windows[:, None, :2], boxes[:, :2])
    high = np.minimum(windows[:, None, 2:], boxes[:, 2:])
    sides = np.maximum(high - low, 0)
    return sides[..., 0] * sides[..., 1]  # type: ignore[no-any-return]


def _absent(verified: Verified | None, classes: Labels) -> Labels | None:
    return None if verified is None else np.setdiff1d(verified.absent.numpy(), classes)


def _boxes(target: Target) -> Array:
    return target.boxes.cpu().numpy().astype(np.float64)


def _centres(boxes: Array) -> Array:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
