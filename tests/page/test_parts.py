"""Markup escapes what is not markup; charts, means and marks are where the numbers say; colours can be read."""

import json
import re
from collections import defaultdict
from importlib.resources import files

import numpy as np
import pytest

from clis_core.data.segmentation import rle_of_runs
from clis_core.evaluation.examples import Example
from clis_core.page.boxes import BAR, DrawnBox, frame_of, letter, mark_of, rows_of
from clis_core.page.charts import Axis, Dots, Line, chart, linear_axis, log_axis
from clis_core.page.content import MOST_RUNS, ClassInfo, ClassResult, Picture, Run
from clis_core.page.figures import LINE_POINTS, curves_of_log, mean_by_count, mean_curve
from clis_core.page.html import Html, embedded_json, join, number, tag

CSS = files("clis_core.page").joinpath("page.css").read_text(encoding="utf-8")


def test_texts_are_escaped_and_markup_is_not():
    made = tag(
        "p", "a<b>&\"'", tag("b", "c"), ["d", None, Html("<br/>")], cls='x"y', data_of="<", hidden=False, open=True
    )
    assert made == '<p class="x&quot;y" data-of="&lt;" open>a&lt;b&gt;&amp;&quot;&#x27;<b>c</b>d<br/></p>'
    assert tag("img", alt="<>") == '<img alt="&lt;&gt;"/>'
    assert join(["<", Html("<")], ", ") == "&lt;, <"


def test_embedded_json_cannot_leave_its_element():
    text = embedded_json({"a": "</script><!--&\u2028", "b": [None, 1.5]})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028", "b": [None, 1.5]}
    with pytest.raises(ValueError, match="JSON"):
        embedded_json(float("nan"))


def test_numbers_as_they_are_shown():
    assert [number(x) for x in (None, 3.14159, -0.26, 12345)] == ["–", "3.1", "−0.3", "12,345"]
    assert [number(x, sign=True) for x in (1.0, -1.0, 7)] == ["+1.0", "−1.0", "+7"]


def test_axes_end_on_round_numbers_and_hold_their_values():
    random = np.random.default_rng(0)
    for _ in range(300):
        span = float(10.0 ** random.uniform(-6, 7))
        low = float(random.normal()) * 10 * span
        high = low + span
        axis = linear_axis("x", low, high)
        assert axis.low <= low + 1e-9 * abs(low)
        assert axis.high >= high - 1e-9 * abs(high)
        assert 2 <= len(axis.ticks) <= 12
    assert linear_axis("x", 0, 97).ticks == [0, 20, 40, 60, 80, 100]
    assert linear_axis("x", 5, 5).high > 5
    assert log_axis("x", 1, 250).ticks == [1, 10, 100, 1000]
    assert log_axis("x", 1, 1000).share(10) == pytest.approx(1 / 3)


def test_a_chart_draws_points_where_they_are():
    x, y = Axis("x", 0, 100, [0, 100]), Axis("y", 0, 10, [0, 10])
    made = chart("<title>", x, y, [Line(2, [(0, 0), (100, 10), (50, 5)]), Dots(3, [(0, 10), (200, -5)])])
    assert 'd="M40 192L330 12L185 102" class="line s2"' in made
    assert 'd="M40 12h0M330 192h0" class="dots s3"' in made
    assert "<title>" not in made


def info(train, group="c"):
    return ClassInfo(1, "x", group, train, 1, 1)


def result(ap):
    return ClassResult(ap, ap, 0, None, {}, [], [])


def run_of(results):
    return Run("a", 1, 0, "hotcoco", {}, results, {}, [])


def test_means_by_training_images_against_a_plain_loop():
    random = np.random.default_rng(0)
    counts = [int(x) for x in np.exp(random.uniform(0, 8, 300))] + [0, 1, 2, 3, 4, 7, 8]
    classes = [info(n) for n in counts] + [info(None), info(5)]
    results = [result(float(random.uniform(0, 100))) for _ in counts] + [result(1.0), result(None)]
    bins = defaultdict(list)
    for one, of in zip(classes, results, strict=True):
        if one.train_images and of.ap is not None:
            k = 0
            while 2 ** (k + 1) <= one.train_images:
                k += 1
            bins[k].append((one.train_images, of.ap))
    found = mean_by_count(classes, run_of(results))
    assert len(found) == len(bins)
    for (count, ap), (_, members) in zip(found, sorted(bins.items()), strict=True):
        assert ap == pytest.approx(sum(a for _, a in members) / len(members))
        assert count == pytest.approx(np.prod([float(n) ** (1 / len(members)) for n, _ in members]))


def test_the_mean_curve_leaves_out_classes_without_objects():
    precision = np.array([[1.0] * 101, [0.5] * 101, [-1.0] * 101])
    assert {y for _, y in mean_curve(precision, [0, 1, 2])} == {75.0}
    assert mean_curve(precision, [2]) == mean_curve(precision, []) == []
    assert [x for x, _ in mean_curve(precision, [0])] == pytest.approx(list(range(101)))


def test_a_long_log_is_thinned_to_means():
    log = [{"kind": "train", "time": 5.0, "step": n, "loss": float(n % 2), "lr": 0.1, "odd": "x"} for n in range(10**4)]
    log.append({"kind": "eval", "step": 5, "AP": 3.0, "APr": None})
    curves = curves_of_log(log, "train")
    assert curves.keys() == {"loss", "lr"}
    assert len(curves["loss"]) == LINE_POINTS
    assert {y for _, y in curves["loss"]} == {0.5}
    assert curves_of_log(log, "eval") == {"AP": [(5.0, 3.0)]}
    assert curves_of_log([{"kind": "train", "step": 1, "loss": float("inf")}], "train") == {}


def test_frames_and_marks_stay_inside_the_picture():
    picture = Picture(Example("Miss", 0, 0, 0), 1, b"", (240, 120), 0.5, [], [], [])
    frame = frame_of(picture, DrawnBox("n", "A", (20.0, 40.0, 100.0, 120.0), "object"))
    assert 'x="10" y="20" width="40" height="40"' in frame
    for box in ((-50.0, -50.0, 900.0, 900.0), (479.0, 239.0, 480.0, 240.0)):
        for look in ("object", "wrong"):
            for made in (frame_of, mark_of):
                svg = made(picture, DrawnBox("n", "12", box, look))
                for numbers in re.findall(r'x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"', svg):
                    x, y, w, h = map(float, numbers)
                    assert 0 <= x <= x + w <= 240.1
                    assert 0 <= y <= y + h <= 120.1
    assert 'visibility="hidden"' in mark_of(picture, DrawnBox("n", "1", (0, 0, 1, 1), "wrong", hidden=True))


def test_letters():
    assert [letter(k) for k in (0, 25, 26, 27, 51, 52, 701, 702)] == ["A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]


def themes():
    light, dark = CSS.split("@media (prefers-color-scheme: dark)", 1)
    read = [dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", part.split("}", 1)[0])) for part in (light, dark)]
    return dict(zip(("light", "dark"), read, strict=True))


def luminance(colour):
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_has_a_contrast_of_4_5_on_every_ground(theme):
    colours = themes()[theme]
    assert {f"s{n}" for n in range(MOST_RUNS)} <= colours.keys()
    for ground in ("paper", "sheet", "rare", "common", "frequent"):
        for name in ("ink", "soft", "link", "up", "down", *(f"s{n}" for n in range(MOST_RUNS))):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)


def test_every_run_has_a_line_and_a_switch_of_its_own():
    for n in range(MOST_RUNS):
        assert f".s{n} {{ stroke: var(--s{n}); }}" in CSS
        assert f"#pictures:has(#boxes-{n}:checked) .r{n}" in CSS
    patterns = re.findall(r"\.line\.s\d \{ stroke-dasharray: ([^;]+);", CSS)
    assert len(patterns) == len(set(patterns)) == MOST_RUNS - 1, "one is unbroken"


@pytest.mark.parametrize("size", [(24, 16), (12, 8), (7, 5)])
def test_a_mask_is_drawn_as_bars_on_its_pixels(size):
    pixels = np.zeros((16, 24), np.uint8)
    pixels[3:9, 5:20] = 1
    pixels[4:6, 10:12] = 0
    runs = np.diff(np.flatnonzero(np.diff(pixels.T.ravel(), prepend=2, append=2)))
    path = rows_of(rle_of_runs(runs, (16, 24)), size)
    drawn = np.zeros((size[1] + BAR, size[0] + BAR), bool)
    for x, y, wide, high, back in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z", path):
        assert wide == back
        drawn[int(y) : int(y) + int(high), int(x) : int(x) + int(wide)] = True
    for row in range(0, size[1], BAR):
        for column in range(0, size[0], BAR):
            y, x = int((row + BAR / 2) * 16 / size[1]), int((column + BAR / 2) * 24 / size[0])
            inside = y < 16 and x < 24 and bool(pixels[y, x])
            assert drawn[row : row + BAR, column : column + BAR].all() == inside
            assert drawn[row : row + BAR, column : column + BAR].any() == inside
