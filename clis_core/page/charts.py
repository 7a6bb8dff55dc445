"""Numbers in, small SVG charts out; colours, lines and marks by the place of the run are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clis_core.page.html import Html, join, tag

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 12, 38
TEXT = 12
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """A range of values on a side of a chart.

    Attributes:
        label: what it measures, with its unit.
        low: least value.
        high: largest value, above ``low``.
        ticks: values that are written.
        log: whether equal ratios are equally long; ``low`` is above 0 then.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, 0..1; values beyond an end lie on it."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(max(value, low)), math.log(low), math.log(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))


def linear_axis(label: str, low: float, high: float, *, steps: int = 5) -> Axis:
    """An axis that ends on round numbers."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / steps
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(step * n, 12) for n in range(first, last + 1)]
    return Axis(label, ticks[0], ticks[-1], ticks)


def log_axis(label: str, low: float, high: float) -> Axis:
    """An axis from a power of ten, or its half, to one."""
    first, last = math.floor(math.log10(low)), max(math.floor(math.log10(low)) + 1, math.ceil(math.log10(high)))
    return Axis(label, min(low, 10.0**first), 10.0**last, [10.0**n for n in range(first, last + 1)], log=True)


@dataclass(frozen=True)
class Line:
    """A curve of a run."""

    run: int
    points: Sequence[Point]


@dataclass(frozen=True)
class Dots:
    """Single values of a run."""

    run: int
    points: Sequence[Point]


@dataclass(frozen=True)
class Band:
    """A stretch of the x axis with a name."""

    name: str
    low: float
    high: float


def chart(
    title: str,
    x: Axis,
    y: Axis,
    parts: Sequence[Line | Dots],
    *,
    bands: Sequence[Band] = (),
    **attributes: object,
) -> Html:
    """A figure with a chart.

    Args:
        title: stands above it.
        x: the axis below.
        y: the axis on the left.
        parts: what is drawn, the last on top.
        bands: behind them.
        **attributes: of the figure.
    """

    def at(point: Point) -> Point:
        return (
            LEFT + x.share(point[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y.share(point[1]) * (HEIGHT - TOP - BOTTOM),
        )

    drawn = [_band(band, n, at, y) for n, band in enumerate(bands)]
    drawn += [_grid(at((x.low, tick)), at((x.high, tick)), _short(tick), "end", (-6, 4)) for tick in y.ticks]
    for tick in x.ticks:
        low, high = at((tick, y.low)), at((tick, y.high))
        anchor = "middle" if high[0] < WIDTH - 24 else "end"
        drawn.append(_grid(low, high, _short(tick), anchor, (0 if anchor == "middle" else 8, 16)))
    drawn.append(tag("text", x.label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle", cls="label"))
    for part in parts:
        kind = "line" if isinstance(part, Line) else "dots"
        path = _line([at(p) for p in part.points]) if kind == "line" else _dots([at(p) for p in part.points])
        drawn.append(tag("path", d=path, cls=f"{kind} s{part.run}"))
    unit = tag("span", y.label, cls="unit") if y.label != title else None
    svg = tag(
        "svg",
        drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {y.label} by {x.label}",
    )
    return tag("figure", tag("figcaption", title, unit), svg, cls="chart", **attributes)


def _band(band: Band, place: int, at: object, y: Axis) -> Html:
    left, top = at((band.low, y.high))  # type: ignore[operator]
    right, bottom = at((band.high, y.low))  # type: ignore[operator]
    name = tag("text", band.name, x=_n((left + right) / 2), y=TOP + 10, text_anchor="middle", cls="band-name")
    box = tag("rect", x=_n(left), y=_n(top), width=_n(right - left), height=_n(bottom - top), cls=f"band b{place}")
    return join([box, name if right - left > 7 * len(band.name) else None])


def _grid(start: Point, end: Point, text: str, anchor: str, shift: Point) -> Html:
    line = tag("path", d=f"M{_n(start[0])} {_n(start[1])}L{_n(end[0])} {_n(end[1])}", cls="grid")
    return join([line, tag("text", text, x=_n(start[0] + shift[0]), y=_n(start[1] + shift[1]), text_anchor=anchor)])


def _line(points: Sequence[Point]) -> str:
    return "".join(f"{'L' if n else 'M'}{_n(px)} {_n(py)}" for n, (px, py) in enumerate(points))


def _dots(points: Sequence[Point]) -> str:
    return "".join(f"M{_n(px)} {_n(py)}h0" for px, py in points)


def _short(value: float) -> str:
    """A tick's text."""
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    if abs(value) >= 1000 and value % 1000 == 0:
        return f"{value / 1000:g}k"
    return f"{value:g}"


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
