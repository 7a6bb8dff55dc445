"""A style goes in; a background, and things painted on it with who owns which pixel, come out."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from clis_core.data.drawn.shapes import FILLS, Array, outside, pattern
from clis_core.data.drawn.style import Style, mix

NOBODY = -1
_PAPER = np.array([243, 238, 226], np.float32)
_INK = np.array([45, 42, 50], np.float32)
_PERIOD = 6.5  # pixels below which a pattern is not to be told


@dataclass(frozen=True)
class Thing:
    """Something drawn that is not on a canvas yet.

    Attributes:
        cover: how much of each pixel it covers, 0 to 1, float32 ``[h, w]``.
        colour: float32 ``[h, w, 3]``, 0 to 255.
        mask: the pixels that it covers by half and more, bool ``[h, w]``.
    """

    cover: Array
    colour: Array
    mask: NDArray[np.bool_]


class Canvas:
    """Pixels, and for each the number of the thing that is on top there.

    Args:
        rng: what the background is drawn from.
        width: pixels.
        height: pixels.
        style: of the background.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int, style: Style) -> None:
        self.pixels = _background(rng, width, height, style)  # float32 [h, w, 3]
        self.owner = np.full((height, width), NOBODY, np.int16)

    def cut(self, left: int, top: int, width: int, height: int) -> None:
        """Keep a window of it."""
        self.pixels = self.pixels[top : top + height, left : left + width].copy()
        self.owner = self.owner[top : top + height, left : left + width].copy()

    def visible_after(self, thing: Thing, left: int, top: int, areas: dict[int, int]) -> float:
        """What part of a thing would be on the canvas, or of what it covers would stay, whichever is less.

        Args:
            thing: what would be painted.
            left: column of its left edge; it may lie outside.
            top: row of its top edge.
            areas: whole size in pixels of each owner that counts.
        """
        rows, columns, mask = self._inside(thing, left, top)
        least = mask.sum() / max(1, thing.mask.sum())
        hit = self.owner[rows, columns][mask]
        for owner in np.unique(hit).tolist():
            if owner in areas:
                least = min(least, ((self.owner == owner).sum() - (hit == owner).sum()) / areas[owner])
        return float(least)

    def paint(self, thing: Thing, left: int, top: int, owner: int) -> None:
        """Paint a thing over what is there; ``owner`` is `NOBODY` for clutter."""
        rows, columns, mask = self._inside(thing, left, top)
        y, x = rows.start - top, columns.start - left
        part = slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])
        area, cover = self.pixels[rows, columns], thing.cover[part][..., None]
        area += (thing.colour[part] - area) * cover
        self.owner[rows, columns][mask] = owner

    def box(self, owner: int) -> tuple[int, int, int, int]:
        """The tight box, xywh in pixels, around what is visible of an owner."""
        mask = self.owner == owner
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top

    def developed(self, rng: np.random.Generator, style: Style) -> NDArray[np.uint8]:
        """The finished picture, uint8 ``[h, w, 3]``: frame, blur and noise are put on."""
        height, width = self.owner.shape
        edge, shade = edge_of(self.owner.shape, style), float(rng.uniform(60, 170))
        image = self.pixels
        if edge:
            x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
            across = np.clip(edge - np.minimum(x, width - 1 - x), 0, 1)[None, :, None]
            down = np.clip(edge - np.minimum(y, height - 1 - y), 0, 1)[:, None, None]
            image = image + (shade - image) * np.maximum(across, down)
        if style.blur:
            soft = Image.fromarray(_bytes(image)).filter(ImageFilter.GaussianBlur(style.blur))
            image = np.asarray(soft, np.float32)
        grain = style.noise * rng.standard_normal((height, width, 1), np.float32)
        return _bytes(image + grain)

    def _inside(self, thing: Thing, left: int, top: int) -> tuple[slice, slice, NDArray[np.bool_]]:
        (height, width), (h, w) = self.owner.shape, thing.mask.shape
        rows = slice(min(height, max(0, top)), max(0, min(height, top + h)))
        columns = slice(min(width, max(0, left)), max(0, min(width, left + w)))
        mask = thing.mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        return rows, columns, mask


def edge_of(form: tuple[int, ...], style: Style) -> float:
    """How wide the frame is on a canvas ``[h, w]``, pixels."""
    return style.frame * min(form)


def draw_thing(rng: np.random.Generator, shape: str, fill: str, side: float, style: Style) -> Thing:
    """Draw one thing in colours, at an angle and with a pattern of its own.

    Args:
        rng: what is drawn from; what is taken from it does not depend on the style.
        shape: see `outside`.
        fill: of `FILLS`.
        side: pixels, about the longer side of its box.
        style: how it looks.
    """
    turn, slant, height = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0, 1)
    tilt, periods = float(rng.uniform(-0.5, 0.5)), min(float(rng.uniform(3.3, 4.5)), side / _PERIOD)
    phase = (float(rng.uniform(0, 1)), float(rng.uniform(0, 1)))
    body, second = _colours(rng, style)
    light = float(rng.uniform(0, 2 * np.pi))

    flat = np.array([[1, slant * style.shear], [0, 1 - height * (1 - style.squeeze)]])
    half = int(side * 0.55 * (1 + style.shear)) + 2  # the grid holds the thing at any angle
    line = np.arange(-half, half + 1, dtype=np.float32) * np.float32(2 / side)
    px, py = np.meshgrid(line, line)
    (a, b), (c, d) = np.linalg.inv(_turn(math.radians(turn * style.turn)) @ flat).tolist()
    x, y = a * px + b * py, c * px + d * py

    distance = outside(shape, x, y) * (side / 2)  # pixels
    cover = np.clip(0.5 - distance, 0, 1)
    (a, b), (c, d) = _turn(tilt).tolist()
    dark = pattern(fill, a * x + b * y, c * x + d * y, periods, phase)[..., None]
    shade = 0.5 + 0.5 * (px * math.cos(light) + py * math.sin(light))
    shaded = 1 - style.shade * np.clip(shade, 0, 1)[..., None]
    colour = body * shaded * (1 - dark) + second * dark
    if style.ink:
        colour += (_INK - colour) * np.clip(0.5 + style.ink * side + distance, 0, 1)[..., None]
    rows, columns = np.flatnonzero((cover > 0).any(axis=1)), np.flatnonzero((cover > 0).any(axis=0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return Thing(cover[part], colour[part], cover[part] >= 0.5)


def _colours(rng: np.random.Generator, style: Style) -> tuple[Array, Array]:
    """Of a thing and of its pattern: one dark, one light; no class has a colour of its own."""
    hue, other = rng.uniform(0, 1), rng.uniform(0.15, 0.85)
    low, high = style.saturation
    dark = colorsys.hsv_to_rgb(hue, mix(low, high, rng.uniform(0, 1)), rng.uniform(0.2, 0.5))
    light = colorsys.hsv_to_rgb((hue + other) % 1, mix(low, high, rng.uniform(0, 1)) * 0.8, rng.uniform(0.75, 1))
    first = rng.uniform(0, 1) < 0.5 * (1 - style.wash)  # a sketch is dark on light, always
    shades = 255 * np.array([dark, light], np.float32)
    # Each towards its own end, so that both can be told apart at every wash.
    shades += (np.stack([_INK, _PAPER]) - shades) * np.array([[style.wash], [0.6 * style.wash]], np.float32)
    return (shades[0], shades[1]) if first else (shades[1], shades[0])


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _background(rng: np.random.Generator, width: int, height: int, style: Style) -> Array:
    """Blotches, a texture, light from one side and lines across; paper takes their place by ``style.paper``."""
    coarse = int(rng.integers(2, 6)), int(rng.integers(2, 6))
    tones = np.array([colorsys.hsv_to_rgb(*rng.uniform((0, 0.05, 0.25), (1, 0.55, 0.85))) for _ in range(3)])
    blotches = 255 * tones[rng.integers(0, 3, (*coarse,))]
    image = Image.fromarray(_bytes(blotches)).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.poisson(style.lines))):
        ends = rng.integers(0, [width, height, width, height]).tolist()
        grey = rng.integers(30, 225, 3).tolist()
        pen.line(ends, fill=tuple(grey), width=int(rng.integers(1, 3)))
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    kind, angle = int(rng.integers(0, len(FILLS) + 1)), float(rng.uniform(0, math.pi))
    period, strength, right, down = rng.uniform((7, 5, -45, -45), (16, 20, 45, 45)).tolist()
    (a, b), (c, d) = _turn(angle).tolist()
    texture = pattern(FILLS[kind % len(FILLS)], a * x + b * y, c * x + d * y, 2 / period, (0, 0)) - 0.5
    light = texture * strength + x * (right / width) + y * (down / height)
    scene = np.asarray(image, np.float32) + light[..., None]
    glow = 12 - 30 * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2)
    paper = _PAPER + glow[..., None] + rng.uniform(-8, 8, 3).astype(np.float32)
    return np.asarray(scene + (paper - scene) * style.paper, np.float32)


def _bytes(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)
