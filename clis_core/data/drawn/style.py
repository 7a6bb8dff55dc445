"""A gap of 0 to 1 goes in; how things are drawn comes out: as in the scenes, as in a sketch book, or in between."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """How a canvas and the things on it look; two numbers are a range.

    Attributes:
        saturation: of colours, 0 to 1.
        turn: largest turn of a thing to either side, degrees.
        shear: largest slant to either side, as a part of the height.
        squeeze: smallest height over width.
        wash: how far colours fade towards paper and pattern towards ink, 0 to 1.
        ink: width of a dark outline, as a part of the thing's side.
        shade: how much darker a thing is at the side away from the light, 0 to 1.
        paper: how much of the background is paper, 0 to 1.
        clutter: things of no class; a mean.
        lines: thin lines across; a mean.
        noise: standard deviation, grey levels.
        blur: radius, pixels.
        frame: width of a frame around all, as a part of the short side.
    """

    saturation: Range
    turn: float
    shear: float
    squeeze: float
    wash: float
    ink: float
    shade: float
    paper: float
    clutter: float
    lines: float
    noise: float
    blur: float
    frame: float


SCENE = Style(
    saturation=(0.35, 0.95),
    turn=20.0,
    shear=0.1,
    squeeze=0.8,
    wash=0.0,
    ink=0.0,
    shade=0.0,
    paper=0.0,
    clutter=1.5,
    lines=2.0,
    noise=5.0,
    blur=0.0,
    frame=0.0,
)

SKETCH = Style(
    saturation=(0.05, 0.3),
    turn=180.0,
    shear=0.25,
    squeeze=0.7,
    wash=1.0,
    ink=0.045,
    shade=0.5,
    paper=1.0,
    clutter=0.0,
    lines=0.0,
    noise=2.0,
    blur=0.5,
    frame=0.07,
)


CATALOGUE = Style(
    saturation=(0.15, 0.5),
    turn=25.0,
    shear=0.1,
    squeeze=0.8,
    wash=0.0,
    ink=0.0,
    shade=0.6,
    paper=1.0,
    clutter=0.0,
    lines=0.0,
    noise=1.5,
    blur=0.4,
    frame=0.0,
)
"""One thing in soft light before white paper, in muted colours, as large as the picture: what ImageNet is to LVIS."""


def style_between(near: Style, far: Style, gap: float) -> Style:
    """The style that is ``gap`` of the way from one to the other, number by number."""
    values: dict[str, Any] = {}
    for field in fields(Style):
        a, b = getattr(near, field.name), getattr(far, field.name)
        both = isinstance(a, tuple)
        values[field.name] = (mix(a[0], b[0], gap), mix(a[1], b[1], gap)) if both else mix(a, b, gap)
    return Style(**values)


def mix(a: float, b: float, part: float) -> float:
    """``a`` at 0, ``b`` at 1."""
    return a + (b - a) * part
