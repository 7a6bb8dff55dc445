"""Which images a step sees: repeat factors by plain loops, an order that depends on seed and step alone."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.data.annotations import load_annotations
from clis_core.data.sampling import ImageOrder, class_balanced_factors, repeat_factors

RNG = np.random.default_rng(5)
REPEATS = 1 + 2.5 * RNG.random(37)
WIDE = RNG.random(37) < 0.6


def stream(order: ImageOrder, steps: int, start: int = 0) -> list[tuple[int, int]]:
    return list(itertools.chain.from_iterable(order.images(step) for step in range(start, start + steps)))


@pytest.mark.parametrize("threshold", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_repeat_factors_by_plain_loops(drawn_lvis: Path, threshold: float) -> None:
    path = drawn_lvis / "lvis_v1_train.json"
    content = json.loads(path.read_text())
    content["images"].append({"id": 999999, "width": 9, "height": 9, "file_name": "empty.jpg"})
    content["categories"].append({"id": 9999, "name": "nowhere"})
    count = len(content["images"])
    path = path.parent.parent / "with_empty_train.json"
    path.write_text(json.dumps(content))

    classes: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
    for annotation in content["annotations"]:
        classes[annotation["image_id"]].add(annotation["category_id"])
    factor = {}
    for category in content["categories"]:
        f = sum(category["id"] in found for found in classes.values()) / count
        factor[category["id"]] = max(1.0, math.sqrt(threshold / f)) if f else 1.0
    expected = [max([1.0, *(factor[c] for c in classes[image["id"]])]) for image in content["images"]]

    assert repeat_factors(load_annotations(path, None), threshold) == pytest.approx(expected, rel=1e-12)
    if threshold == 0.5:
        assert max(expected) > 1.5


def test_class_balanced_factors_by_plain_loops(drawn_lvis: Path, tmp_path: Path) -> None:
    content = json.loads((drawn_lvis / "lvis_v1_train.json").read_text())
    content["images"].append({"id": 999999, "width": 9, "height": 9, "file_name": "empty.jpg"})
    content["categories"].append({"id": 9999, "name": "nowhere"})
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    classes: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
    for annotation in content["annotations"]:
        classes[annotation["image_id"]].add(annotation["category_id"])
    holding = Counter(c for found in classes.values() for c in found)
    count = len(classes)
    expected = [sum(count / len(holding) / holding[c] for c in classes[image["id"]]) for image in content["images"]]
    factors = class_balanced_factors(load_annotations(path, None))
    assert factors == pytest.approx(expected, rel=1e-12)
    assert factors.sum() == pytest.approx(count)
    assert expected[-1] == 0


def test_an_order_of_factors_below_one_draws_each_image_so_often() -> None:
    factors = np.array([0.1, 0.5, 0.9, 0.0, 0.3, 0.2])
    for wide in (None, WIDE[:6]):
        order = ImageOrder(factors, 3, "stochastic", 2, wide)
        drawn = Counter(image for image, _ in stream(order, 4000))
        shares = np.array([drawn[image] for image in range(6)]) / 8000
        assert shares == pytest.approx(factors / factors.sum(), abs=0.02)


def test_an_epoch_of_plain_shuffling_holds_every_image_once() -> None:
    order = ImageOrder(np.ones(10), 0, "ceil", 4)
    images = [image for image, _ in stream(order, 25)]
    for epoch in range(10):
        assert sorted(images[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert images[:10] != images[10:20]


@pytest.mark.parametrize("wide", [None, WIDE])
@pytest.mark.parametrize("rounding", ["stochastic", "ceil"])
def test_any_step_at_once_equals_one_after_the_other(rounding: Any, wide: Any) -> None:
    one = ImageOrder(REPEATS, 3, rounding, 6, wide)
    in_turn = [one.images(step) for step in range(200)]
    for step in (199, 0, 64, 63, 128, 17):
        assert ImageOrder(REPEATS, 3, rounding, 6, wide).images(step) == in_turn[step]
    assert [one.images(step) for step in reversed(range(200))] == in_turn[::-1]
    assert ImageOrder(REPEATS, 4, rounding, 6, wide).images(0) != in_turn[0]


def test_places_are_numbered_through() -> None:
    order = ImageOrder(REPEATS, 0, "stochastic", 6)
    assert [place for _, place in stream(order, 50)] == list(range(300))


def test_ceil_repeats_each_image_so_often_each_epoch() -> None:
    counts = np.ceil(REPEATS).astype(int)
    length = int(counts.sum())
    order = ImageOrder(REPEATS, 0, "ceil", 1)
    for epoch in range(3):
        seen = Counter(image for image, _ in stream(order, length, epoch * length))
        assert [seen[i] for i in range(37)] == counts.tolist()


def test_stochastic_rounding_is_right_on_average_and_new_each_epoch() -> None:
    repeats = np.array([1.0, 1.2, 1.5, 2.7, 3.0])
    order = ImageOrder(repeats, 0, "stochastic", 1)
    epochs = 4000
    counts = order._counts(0, epochs)
    assert set(np.unique(counts - np.floor(repeats).astype(int))) == {0, 1}
    assert (counts[:, [0, 4]] == [1, 3]).all()
    error = np.sqrt(0.25 / epochs)
    assert np.abs(counts.mean(axis=0) - repeats).max() < 5 * error
    # Roundings of one epoch do not depend on those of another image or of the next epoch.
    up = counts > np.floor(repeats)
    for a, b in ((up[:, 1], up[:, 2]), (up[:, 2], up[:, 3]), (up[:-1, 2], up[1:, 2])):
        assert abs((a & b).mean() - a.mean() * b.mean()) < 5 * error


def test_stream_has_the_counts_that_were_drawn() -> None:
    order = ImageOrder(REPEATS, 0, "stochastic", 1)
    start = 0
    for epoch in range(5):
        counts = order._counts(epoch, 1)[0]
        seen = Counter(image for image, _ in stream(order, int(counts.sum()), start))
        assert [seen[i] for i in range(37)] == counts.tolist()
        start += int(counts.sum())


@pytest.mark.parametrize("batch", [2, 5, 16])
def test_grouping_loses_and_doubles_nothing(batch: int) -> None:
    plain = ImageOrder(REPEATS, 1, "stochastic", batch)
    grouped = ImageOrder(REPEATS, 1, "stochastic", batch, WIDE)
    for window in range(3):
        a, b = (stream(order, 64, window * 64) for order in (plain, grouped))
        assert sorted(a) == sorted(b)
        assert a != b


def test_grouped_batches_are_of_one_kind_but_for_one_in_a_window() -> None:
    order = ImageOrder(REPEATS, 1, "stochastic", 8, WIDE)
    mixed, kinds = [], []
    for window in range(4):
        batches = [[WIDE[i] for i, _ in order.images(window * 64 + k)] for k in range(64)]
        mixed.append(sum(len(set(batch)) > 1 for batch in batches))
        kinds.append([batch[0] for batch in batches])
    assert max(mixed) <= 1
    switches = [sum(a != b for a, b in itertools.pairwise(k)) for k in kinds]
    assert min(switches) > 10  # wide and tall batches are shuffled, not one after the other
    unsorted = ImageOrder(REPEATS, 1, "stochastic", 8)
    assert sum(len({WIDE[i] for i, _ in unsorted.images(k)}) > 1 for k in range(64)) > 50


def test_batches_of_one_need_no_grouping() -> None:
    plain, grouped = ImageOrder(REPEATS, 1, "ceil", 1), ImageOrder(REPEATS, 1, "ceil", 1, WIDE)
    assert stream(plain, 70) == stream(grouped, 70)


def test_batch_larger_than_the_data_set() -> None:
    order = ImageOrder(np.full(2, 1.5), 0, "stochastic", 50, np.array([True, False]))
    assert {len(order.images(step)) for step in range(70)} == {50}


@pytest.mark.parametrize("images", [1, 24, 100_000])
def test_resume_late_is_quick(images: int) -> None:
    repeats = 1 + np.random.default_rng(0).random(images)
    order = ImageOrder(repeats, 0, "stochastic", 16, np.ones(images, bool))
    start = time.perf_counter()
    order.images(90_000)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("first", [0, 7])
def test_epochs_can_be_asked_for_at_once(first: int) -> None:
    """Which images an epoch holds, and where it lies in the stream, without walking there."""
    repeats = np.array([1.0, 2.5, 1.25, 3.0])
    held: dict[int, Counter[int]] = {}
    known = ImageOrder(repeats, 3, "stochastic", 1)
    for step, (image, place) in enumerate(stream(known, 120)):
        assert place in known.places(known.epoch(step))
        held.setdefault(known.epoch(step), Counter())[image] += 1
    fresh = ImageOrder(repeats, 3, "stochastic", 1)
    for epoch in range(first, 10):
        assert Counter(dict(enumerate(fresh.times(epoch).tolist()))) == held[epoch]
        assert len(fresh.places(epoch)) == sum(held[epoch].values())
        assert epoch == first or fresh.places(epoch).start == fresh.places(epoch - 1).stop
    assert ImageOrder(repeats, 3, "stochastic", 1).places(0).start == 0
