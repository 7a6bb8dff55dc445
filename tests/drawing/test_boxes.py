"""Boxes with captions on pictures: labels that do not cover each other, colours by name, letters that can be read."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from clis_core.drawing.boxes import draw_boxes, font_size, line_width
from clis_core.drawing.colours import BLACK, WHITE, colour_of, contrast, ink_on
from clis_core.drawing.fonts import font_for, writable
from clis_core.drawing.places import REACH, place_labels

RED, BLUE = (220, 20, 20), (20, 20, 220)
GREY = np.full((200, 300, 3), 128, np.uint8)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def is_colour(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    return (pixels(image) == colour).all(axis=2)


def test_a_box_is_where_it_was_asked_for() -> None:
    drawn = draw_boxes(GREY, [[50, 60, 150, 140]], [""], [RED])
    ys, xs = np.nonzero(is_colour(drawn, RED))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (50, 60, 149, 139)
    assert (pixels(drawn)[70:130, 60:140] == 128).all()  # what is in it stays
    assert (GREY == 128).all()  # the picture that was given is not drawn on


def test_a_caption_stands_above_its_box_on_its_colour() -> None:
    drawn = draw_boxes(GREY, [[50, 60, 150, 140]], ["disc 0.90"], [RED])
    above = is_colour(drawn, RED)[:60]
    ys, xs = np.nonzero(above)
    assert len(ys) > 200
    assert ys.max() == 59
    assert xs.min() == 50
    inside = pixels(drawn)[ys.min() : 60, xs.min() : xs.max() + 1]
    assert inside.min(axis=2).max() > 160  # the ink on red is white


def test_pillow_images_of_other_modes_are_taken() -> None:
    grey = Image.new("L", (300, 200), 128)
    assert (
        pixels(draw_boxes(grey, [[1, 1, 9, 9]], ["a"], [RED])).tobytes()
        == pixels(draw_boxes(GREY, [[1, 1, 9, 9]], ["a"], [RED])).tobytes()
    )
    assert grey.getextrema() == (128, 128)
    assert draw_boxes(GREY, np.zeros((0, 4)), [], []).size == (300, 200)


def test_the_first_lies_on_top() -> None:
    drawn = draw_boxes(GREY, [[50, 60, 150, 140], [50, 60, 150, 140]], ["", ""], [RED, BLUE])
    assert is_colour(drawn, RED).any()
    assert not is_colour(drawn, BLUE).any()


def test_boxes_beyond_the_picture_are_cut_off() -> None:
    drawn = draw_boxes(GREY, [[-50, -60, 1000, 1000], [400, 400, 500, 500]], ["a", "b"], [RED, BLUE])
    edge = is_colour(drawn, RED)
    assert edge[100, 0]
    assert edge[100, 299]


def test_only_so_many_labels() -> None:
    boxes = [[10, 60, 60, 90], [200, 60, 250, 90]]
    one = draw_boxes(GREY, boxes, ["aaaa", "bbbb"], [RED, BLUE], max_labels=1)
    assert is_colour(one, RED)[:60].any()
    assert not is_colour(one, BLUE)[:60].any()
    assert is_colour(one, BLUE)[60:].any()  # the box is there


def test_lines_and_letters_grow_with_the_picture() -> None:
    assert [line_width(s) for s in ((96, 96), (224, 224), (640, 480), (4000, 3000))] == [1, 2, 2, 12]
    assert [font_size(s) for s in ((96, 96), (640, 480), (4000, 3000))] == [10, 12, 76]


sides = st.integers(20, 400)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(sides, sides),
    boxes=st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=40),
    label=st.tuples(st.integers(0, 20), st.integers(0, 90)),
)
def test_labels_are_in_the_picture_and_do_not_cover_each_other(
    size: tuple[int, int], boxes: list[tuple[float, ...]], label: tuple[int, int]
) -> None:
    scaled = np.array([sorted((b[0], b[2])) + sorted((b[1], b[3])) for b in boxes]).reshape(-1, 4)[:, [0, 2, 1, 3]]
    scaled = scaled * [size[1], size[0], size[1], size[0]]
    places = place_labels(size, scaled, [label] * len(scaled))
    found = [p for p in places if p is not None]
    for x1, y1, x2, y2 in found:
        assert (y2 - y1, x2 - x1) == label
        assert x1 >= 0
        assert y1 >= 0
        assert x2 <= size[1]
        assert y2 <= size[0]
    for a, b in combinations(found, 2):
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
    if len(scaled):
        fits = 0 < label[0] <= size[0] and 0 < label[1] <= size[1]
        assert (places[0] is not None) == fits  # the first has all the room


def test_labels_of_one_place_are_spread_around_it() -> None:
    boxes = np.array([[100.0, 100, 160, 160]] * 12)
    places = place_labels((300, 300), boxes, [(12, 60)] * 12)
    assert None not in places
    assert places[0] == (100, 88, 160, 100)
    for place in places:
        assert place is not None
        gaps = [100 - place[2], 100 - place[3], place[0] - 160, place[1] - 160]
        assert max(gaps) <= REACH * 12


def test_a_label_hides_no_small_box_if_it_need_not() -> None:
    small = [100.0, 84, 112, 98]  # where the label of the large one would stand
    places = place_labels((300, 300), np.array([[100.0, 100, 200, 200], small]), [(14, 60), (0, 0)])
    assert places[0] is not None
    x1, y1, x2, y2 = places[0]
    assert min(x2, small[2]) <= max(x1, small[0]) or min(y2, small[3]) <= max(y1, small[1])


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_ink_can_be_read_on_every_colour(colour: tuple[int, int, int]) -> None:
    assert contrast(ink_on(colour), colour) >= 4.5


def test_a_class_has_its_colour_by_its_name() -> None:
    names = [f"class {n}" for n in range(100)]
    colours = [colour_of(name) for name in names]
    assert colours == [colour_of(name) for name in names]
    assert len(set(colours)) > 50
    assert all(contrast(c, BLACK) > 1.5 and contrast(c, WHITE) > 1.1 for c in colours)
    assert (colour_of("disc"), colour_of("wall_socket")) == ((230, 76, 0), (130, 219, 237))


def test_letters_that_no_font_has_are_written_without_accents() -> None:
    plain = ImageFont.load_default(12)
    assert writable("Käse\nund  Brot \x07é中", plain) == "Kase und Brot e?"
    drawn = draw_boxes(GREY, [[50, 60, 150, 140]], ["Käse 中"], [RED])
    assert is_colour(drawn, RED)[:60].any()


def test_ascii_looks_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clis_core.drawing.fonts._there", lambda: pytest.fail("looked for a font of the system"))
    assert writable("wall_socket (r) 0.93", font_for(["wall_socket (r) 0.93"], 12)) == "wall_socket (r) 0.93"
