"""The labels of MTL-SSL's auxiliary tasks for an image, against a raster of its pixels, in seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clis_core.batch import Target
from clis_core.jobs.bench.timing import alternate, machine, medians, ratio
from clis_core.methods.mtl_labels import SoftLabels, closeness_labels, foreground, random_windows, window_labels

SIZE = (800, 1066)
WINDOWS, SHORTEST = 64, 32
CASES = {"20 classes, 3 boxes": (20, 3), "80 classes, 7 boxes": (80, 7), "1203 classes, 13 boxes": (1203, 13)}
CROWDED = {"1203 classes, 100 boxes": (1203, 100)}
ROUNDS = 20


def run(scale: float = 1.0) -> dict[str, Any]:
    """Measure the labels of 64 windows, closeness of each box, and the foreground of a 800 x 1066 image.

    The plain way makes the windows' labels alone: it paints the boxes of a class into a raster of the image's pixels,
    counts those in each window, and keeps all classes of all windows. Edges lie between pixels, so that it is exact.

    Args:
        scale: multiplies the rounds.

    Returns:
        For 1,203 classes: ``ours`` and ``peer`` in seconds of an image (medians, interleaved) and their ``ratio``.
        ``by_case``: the same for other vocabularies, and an image with 100 boxes. ``equal``: whether both have the same
        windows' labels.
    """
    rows: dict[str, dict[str, float]] = {}
    equal = True
    for name, (classes, boxes) in (CASES | CROWDED).items():
        target = _draw(classes, boxes)
        windows = np.round(random_windows(target, SIZE, WINDOWS, SHORTEST))
        equal &= np.allclose(
            _dense(window_labels(target, windows), classes), _raster(target, windows, classes), atol=1e-6
        )
        calls: dict[str, Callable[[], object]] = {
            "ours": partial(_ours, target),
            "peer": partial(_raster, target, windows, classes),
        }
        timing = alternate(calls, max(3, round(ROUNDS * scale)))
        rows[name] = {**medians(timing.wall), "ratio": ratio(timing.wall, "peer", "ours")}
    first = rows["1203 classes, 13 boxes"]
    return {
        "name": "mtl-labels",
        **first,
        "equal": equal,
        "unit": "seconds",
        "by_case": rows,
        **machine(torch.device("cpu")),
    }


def _draw(classes: int, boxes: int) -> Target:
    """An image whose boxes begin and end between pixels."""
    rng = np.random.default_rng(classes + boxes)
    width, height = (rng.integers(16, side // 3, boxes) for side in SIZE[::-1])
    left, top = rng.integers(0, SIZE[1] - width), rng.integers(0, SIZE[0] - height)
    corners = torch.from_numpy(np.stack([left, top, left + width, top + height], axis=1)).float()
    return Target(corners, torch.from_numpy(rng.integers(1, classes + 1, boxes)), seed=1)


def _ours(target: Target) -> None:
    window_labels(target, random_windows(target, SIZE, WINDOWS, SHORTEST))
    closeness_labels(target, target.boxes.double().numpy(), target.labels.numpy(), SIZE)
    foreground(target, SIZE)


def _dense(soft: SoftLabels, classes: int) -> NDArray[np.float32]:
    made = np.zeros((len(soft.shares), classes + 1), np.float32)
    made[:, soft.classes] = soft.shares
    return made


def _raster(target: Target, windows: NDArray[np.float64], classes: int) -> NDArray[np.float32]:
    areas = np.zeros((len(windows), classes + 1), np.float32)
    places = [np.s_[y0:y1, x0:x1] for x0, y0, x1, y1 in windows.astype(int)]
    boxes, labels = target.boxes.numpy().astype(int), target.labels.numpy()
    for label in (0, *np.unique(labels)):
        painted = np.zeros(SIZE, bool)
        for x0, y0, x1, y1 in boxes if label == 0 else boxes[labels == label]:
            painted[y0:y1, x0:x1] = True
        covered = ~painted if label == 0 else painted
        areas[:, label] = [covered[place].mean() for place in places]
    roots = np.sqrt(areas)
    return roots / roots.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]
