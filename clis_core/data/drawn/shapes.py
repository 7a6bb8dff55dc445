"""Points of a plane go in; how far they lie outside of a shape, and where a pattern is dark, come out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

SHAPES = ("star", "disc", "triangle", "cross", "square", "ring")
"""Shapes of the classes, within the circle of radius 1, but for the corners of the square."""

CLUTTER = ("crescent", "bar", "corner", "wedge")
"""Shapes of no class."""

FILLS = ("plain", "striped", "dotted", "checked")

MAX_CLASSES = len(SHAPES) * len(FILLS)


def class_names(classes: int) -> list[str]:
    """Names of the first classes, such as ``striped_star``: every fill of a shape, then those of the next one."""
    return [f"{fill}_{shape}" for shape in SHAPES for fill in FILLS][:classes]


def by_diagonals(classes: int) -> list[int]:
    """Numbers of the classes in an order that keeps changing both shape and fill.

    Whichever end of it is made rare, its classes share their shapes and fills with others.
    """
    kinds = len(FILLS)
    return sorted(range(classes), key=lambda c: ((c % kinds - c // kinds) % kinds, c // kinds))


def outside(shape: str, x: Array, y: Array) -> Array:
    """About how far each point lies outside of a shape; negative inside.

    Args:
        shape: of `SHAPES` or `CLUTTER`.
        x: to the right, float32.
        y: downwards, of the same form.
    """
    return _OUTSIDE[shape](x, y)


def pattern(fill: str, x: Array, y: Array, periods: float, phase: tuple[float, float]) -> Array:
    """Where a fill has its second colour, 0 to 1, edges about a pixel wide.

    Args:
        fill: of `FILLS`.
        x: as of `outside`.
        y: the same.
        periods: of the pattern from -1 to 1.
        phase: of both directions, in periods.
    """
    u, v = x * (periods / 2) + phase[0], y * (periods / 2) + phase[1]
    match fill:
        case "striped":
            wave = np.abs(u % 1 - 0.5) - 0.25
        case "dotted":
            wave = 0.31 - np.hypot(u % 1 - 0.5, v % 1 - 0.5)
        case "checked":
            wave = np.sin(np.pi * u) * np.sin(np.pi * v) / 3
        case _:
            return np.zeros_like(x)
    return np.asarray(np.clip(0.5 + 6 * wave, 0, 1), np.float32)


def _disc(x: Array, y: Array, radius: float = 0.9) -> Array:
    return np.asarray(np.hypot(x, y) - np.float32(radius))


def _box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _star(x: Array, y: Array) -> Array:
    """Five points on the circle, five notches at 0.5 of it: distance to the nearest edge's line."""
    fifth = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    radius = np.hypot(x, y)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    notch = np.array([0.5 * np.cos(fifth / 2), 0.5 * np.sin(fifth / 2)])
    normal = np.array([notch[1], 1 - notch[0]]) / np.hypot(notch[1], 1 - notch[0])
    return np.asarray((along - 1) * normal[0] + across * normal[1])


def _triangle(x: Array, y: Array) -> Array:
    slope = np.sqrt(3) / 2
    return np.asarray(np.maximum(y, np.abs(x) * slope - y / 2) - 0.5)


def _cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 0.3, 0.92), _box(x, y, 0.92, 0.3))


def _ring(x: Array, y: Array) -> Array:
    return np.abs(_disc(x, y, 0.66)) - np.float32(0.28)


def _crescent(x: Array, y: Array) -> Array:
    return np.maximum(_disc(x, y), -_disc(x - np.float32(0.45), y, 0.75))


def _corner(x: Array, y: Array) -> Array:
    x, y = x + np.float32(0.3), y - np.float32(0.3)
    upright = _box(x + np.float32(0.2), y + np.float32(0.2), 0.25, 0.8)
    return np.minimum(upright, _box(x - np.float32(0.3), y - np.float32(0.35), 0.75, 0.25))


_OUTSIDE: dict[str, Callable[[Array, Array], Array]] = {
    "star": _star,
    "disc": _disc,
    "triangle": _triangle,
    "cross": _cross,
    "square": lambda x, y: _box(x, y, 0.76, 0.76),
    "ring": _ring,
    "crescent": _crescent,
    "bar": lambda x, y: _box(x, y, 0.95, 0.24),
    "corner": _corner,
    "wedge": lambda x, y: np.maximum(_disc(x, y - np.float32(0.45), 0.95), y - np.float32(0.45)),
}
