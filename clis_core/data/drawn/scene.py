"""The classes of a scene, or the one of a picture, go in; pixels and tight boxes come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.data.drawn.canvas import NOBODY, Canvas, Thing, draw_thing, edge_of
from clis_core.data.drawn.shapes import CLUTTER, FILLS, SHAPES
from clis_core.data.drawn.style import SCENE, Range, Style, mix

SIDES: Range = (0.2, 0.55)
"""Side of an object in a scene, as a part of the scene's short side."""

VISIBLE = 0.7
"""Part of each object that can be seen, at least."""

_TRIES = 12  # places that are tried before an object is made smaller


class Drawn(NamedTuple):
    """One object in a scene.

    Attributes:
        category: its class, from 0.
        box: xywh in pixels, tight around what can be seen.
        area: pixels of it that can be seen.
    """

    category: int
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    Attributes:
        pixels: uint8 ``[h, w, 3]``.
        owner: the number of the object that is on top at each pixel, -1 where there is none, int16 ``[h, w]``.
        objects: what is in it, by number.
    """

    pixels: NDArray[np.uint8]
    owner: NDArray[np.int16]
    objects: list[Drawn]


def draw_scene(rng: np.random.Generator, categories: list[int], width: int, height: int, style: Style = SCENE) -> Scene:
    """Draw objects of many sizes among clutter; some are partly hidden or cut by the edge.

    Args:
        rng: what everything is drawn from.
        categories: the class of each object, from 0.
        width: pixels.
        height: pixels.
        style: how it looks.
    """
    canvas = Canvas(rng, width, height, style)
    clutter = int(rng.poisson(style.clutter))
    before = int(rng.integers(0, clutter + 1))
    sides = _sides(min(width, height))
    areas: dict[int, int] = {}
    for _ in range(before):
        _strew(rng, canvas, sides, style, areas)
    for number, category in enumerate(categories):
        shape, fill = _kind(category)
        side, tries = _log_uniform(rng, sides), 0
        thing = draw_thing(rng, shape, fill, side, style)
        while not (place := _place(rng, canvas, thing, areas)):
            tries += 1
            if tries % _TRIES == 0:
                side = max(sides[0] * 0.7, side * 0.8)
                thing = draw_thing(rng, shape, fill, side, style)
        canvas.paint(thing, *place, number)
        areas[number] = int(thing.mask.sum())
    for _ in range(clutter - before):
        _strew(rng, canvas, (sides[0] * 0.7, sides[0] * 1.6), style, areas)
    objects = [Drawn(c, canvas.box(k), int((canvas.owner == k).sum())) for k, c in enumerate(categories)]
    return Scene(canvas.developed(rng, style), canvas.owner, objects)


def draw_picture(
    rng: np.random.Generator,
    category: int,
    size: tuple[int, int],
    sides: Range,
    style: Style,
    scene: tuple[int, int],
) -> NDArray[np.uint8]:
    """Draw one whole object on a piece of a background, and clutter behind it: uint8 ``[h, w, 3]``.

    Args:
        rng: what everything is drawn from.
        category: the class, from 0.
        size: width and height, pixels.
        sides: of the object, pixels.
        style: how it looks.
        scene: width and height of a scene, pixels: the background is as coarse as there.
    """
    # First of all, so that the same seed poses the object alike at every gap.
    thing = draw_thing(rng, *_kind(category), _log_uniform(rng, sides), style)
    across, down = rng.uniform(0, 1, 2).tolist()
    width, height = size
    canvas = Canvas(rng, max(scene[0], width), max(scene[1], height), style)
    (below, right), places = canvas.owner.shape, rng.uniform(0, 1, 2).tolist()
    canvas.cut(_between(0, right - width, places[0]), _between(0, below - height, places[1]), width, height)
    for _ in range(int(rng.poisson(style.clutter / 3))):
        _strew(rng, canvas, sides, style, {})
    (h, w), edge = thing.mask.shape, edge_of(canvas.owner.shape, style)
    canvas.paint(thing, _between(edge, width - w - edge, across), _between(edge, height - h - edge, down), 0)
    return canvas.developed(rng, style)


def scene_sides(short: int) -> Range:
    """Sides of the objects of a scene whose short side is ``short``, pixels."""
    return _sides(short)


def _between(a: float, b: float, part: float) -> int:
    return round(mix(a, b, part))


def _kind(category: int) -> tuple[str, str]:
    return SHAPES[category // len(FILLS)], FILLS[category % len(FILLS)]


def _sides(short: int) -> Range:
    return SIDES[0] * short, SIDES[1] * short


def _log_uniform(rng: np.random.Generator, sides: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(sides))))


def _strew(rng: np.random.Generator, canvas: Canvas, sides: Range, style: Style, areas: dict[int, int]) -> None:
    """Put something of no class anywhere, unless it hides too much."""
    shape, fill = CLUTTER[int(rng.integers(len(CLUTTER)))], FILLS[int(rng.integers(len(FILLS)))]
    thing = draw_thing(rng, shape, fill, _log_uniform(rng, sides), style)
    height, width = canvas.owner.shape
    h, w = thing.mask.shape
    left, top = int(rng.integers(-w // 2, width - w // 2)), int(rng.integers(-h // 2, height - h // 2))
    if canvas.visible_after(thing, left, top, areas) >= VISIBLE or not areas:
        canvas.paint(thing, left, top, NOBODY)


def _place(rng: np.random.Generator, canvas: Canvas, thing: Thing, areas: dict[int, int]) -> tuple[int, int] | None:
    """A place where the thing and all that it covers can still be seen; None if the one that is tried is none."""
    height, width = canvas.owner.shape
    h, w = thing.mask.shape
    left = int(rng.integers(-w // 4, width - w + w // 4 + 1))
    top = int(rng.integers(-h // 4, height - h + h // 4 + 1))
    return (left, top) if canvas.visible_after(thing, left, top, areas) >= VISIBLE else None
