"""Scenes: boxes are those of the drawn pixels, and what is drawn can be told apart in every style."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clis_core.data.drawn.canvas import NOBODY, Canvas, Thing, draw_thing
from clis_core.data.drawn.scene import VISIBLE, draw_picture, draw_scene
from clis_core.data.drawn.shapes import CLUTTER, FILLS, SHAPES, outside, pattern
from clis_core.data.drawn.style import SCENE, SKETCH, style_between

GAPS = (0.0, 0.25, 0.5, 0.75, 1.0)


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """xywh of the pixels of a mask, by plain loops."""
    at = [(x, y) for y, row in enumerate(mask.tolist()) for x, there in enumerate(row) if there]
    left, top = min(x for x, _ in at), min(y for _, y in at)
    return left, top, max(x for x, _ in at) + 1 - left, max(y for _, y in at) + 1 - top


def painted(thing: Thing, left: int, top: int) -> tuple[Canvas, NDArray[np.bool_]]:
    """A thing in white on black, and where more than half of a pixel became white."""
    canvas = Canvas(np.random.default_rng(0), 80, 60, SCENE)
    canvas.pixels[:] = 0
    canvas.paint(Thing(thing.cover, np.full_like(thing.colour, 255), thing.mask), left, top, 7)
    return canvas, canvas.pixels[..., 0] >= 127.5


@pytest.mark.parametrize("shape", [*SHAPES, *CLUTTER])
@pytest.mark.parametrize("style", [SCENE, SKETCH])
def test_a_box_is_tight_around_the_painted_pixels(shape: str, style: object) -> None:
    for seed in range(5):
        thing = draw_thing(np.random.default_rng(seed), shape, "striped", 33, style)  # type: ignore[arg-type]
        for left, top in ((20, 10), (-6, 5), (60, 45)):  # inside, cut at the left, cut at two sides
            canvas, white = painted(thing, left, top)
            assert canvas.box(7) == extent(white)
        assert 15 < max(thing.mask.shape) < 45


def test_a_box_ends_where_something_else_hides_the_object() -> None:
    canvas = Canvas(np.random.default_rng(0), 80, 60, SCENE)
    under = draw_thing(np.random.default_rng(1), "square", "plain", 40, SCENE)
    canvas.paint(under, 10, 10, 0)
    whole = canvas.box(0)
    over = Thing(np.ones((60, 20), np.float32), np.zeros((60, 20, 3), np.float32), np.ones((60, 20), bool))
    share = canvas.visible_after(over, 0, 0, {0: int(under.mask.sum())})
    canvas.paint(over, 0, 0, NOBODY)
    assert canvas.box(0)[0] == 20 > whole[0]
    assert share == pytest.approx((canvas.owner == 0).sum() / under.mask.sum())


def test_boxes_and_areas_of_scenes_are_those_of_what_can_be_seen() -> None:
    for seed in range(12):
        categories = [seed % 16, 3, 8, 13, 6]
        scene = draw_scene(np.random.default_rng(seed), categories, 144, 96)
        assert scene.pixels.shape == (96, 144, 3)
        assert [drawn.category for drawn in scene.objects] == categories
        for number, drawn in enumerate(scene.objects):
            mask = scene.owner == number
            assert drawn.box == extent(mask)
            assert drawn.area == mask.sum()


def test_most_of_each_object_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: dict[int, int] = {}
    paint = Canvas.paint

    def recording(canvas: Canvas, thing: Thing, left: int, top: int, owner: int) -> None:
        whole[owner] = int(thing.mask.sum())
        paint(canvas, thing, left, top, owner)

    monkeypatch.setattr(Canvas, "paint", recording)
    parts = []
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), [0, 5, 10, 15, 2, 7], 96, 96)
        parts += [drawn.area / whole[number] for number, drawn in enumerate(scene.objects)]
    assert min(parts) >= VISIBLE
    assert min(parts) < 0.8  # some are hidden in part: else this shows nothing


@pytest.mark.parametrize("fill", FILLS[1:])
@pytest.mark.parametrize("gap", GAPS)
def test_a_pattern_stands_out_at_every_gap(fill: str, gap: float) -> None:
    style = style_between(SCENE, SKETCH, gap)
    for seed in range(40):
        thing = draw_thing(np.random.default_rng(seed), "disc", fill, 48, style)
        middle = thing.mask.shape[0] // 2, thing.mask.shape[1] // 2
        grey = thing.colour.mean(axis=2)[middle[0] - 10 : middle[0] + 10, middle[1] - 10 : middle[1] + 10]
        low, high = np.percentile(grey, [10, 90])
        assert high - low > 30, (seed, gap)


def test_fills_and_shapes_differ() -> None:
    line = np.linspace(-1, 1, 64, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    inside = {shape: outside(shape, x, y) < 0 for shape in (*SHAPES, *CLUTTER)}
    fills = {fill: pattern(fill, x, y, 4, (0.1, 0.2)) > 0.5 for fill in FILLS}
    assert not fills["plain"].any()
    for found in (inside, fills):
        for a, b in ((a, b) for a in found for b in found if a < b):
            assert (found[a] != found[b]).mean() > 0.08, (a, b)


def test_a_picture_shows_its_object_whole() -> None:
    """In a style of one bright colour on dark paper, nothing of the object touches the picture's edge."""
    style = style_between(SCENE, SKETCH, 1.0)
    for category in range(16):
        rng = np.random.default_rng(category)
        pixels = draw_picture(rng, category, (64, 64), (40, 57), style, (128, 128)).astype(float)
        frame = round(style.frame * 64) + 1
        strip = np.concatenate([pixels[frame, frame:-frame], pixels[-frame - 1, frame:-frame]]).mean(axis=1)
        assert (strip < 110).mean() < 0.35  # ink is dark, paper is not
