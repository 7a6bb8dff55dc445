"""Which scene holds what: the promised groups and counts, in both splits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from clis_core.categories import group_of_count
from clis_core.data.drawn.plan import MIN_SCENES, VAL_IMAGES, image_counts, make_plan
from clis_core.data.drawn.shapes import FILLS, MAX_CLASSES, by_diagonals, class_names
from clis_core.errors import ConfigError


@pytest.mark.parametrize("scenes", [MIN_SCENES, 300, 3000])
@pytest.mark.parametrize("classes", [12, 16, 20, 24])
def test_a_third_is_rare_and_a_third_common(classes: int, scenes: int) -> None:
    counts = image_counts(classes, scenes)
    groups = Counter(group_of_count(n) for n in counts)
    assert groups["r"] == groups["c"] == classes // 3
    assert groups["f"] == classes - 2 * (classes // 3)
    assert counts == sorted(counts, reverse=True)
    assert min(counts) >= 1
    assert max(counts) <= scenes


@pytest.mark.parametrize(("classes", "scenes", "val"), [(12, 200, 60), (16, 300, 150), (24, 1000, 77)])
def test_each_class_is_in_as_many_scenes_as_promised(classes: int, scenes: int, val: int) -> None:
    plan = make_plan(np.random.default_rng(3), classes=classes, scenes=scenes, val=val)
    train = Counter(c for held in plan.train for c in set(held))
    assert [train[c] for c in range(classes)] == plan.images
    assert sorted(plan.images, reverse=True) == image_counts(classes, scenes)
    seen = Counter(c for held in plan.val for c in set(held))
    assert min(seen[c] for c in range(classes)) >= VAL_IMAGES
    assert len(plan.train) == scenes
    assert len(plan.val) == val


def test_no_scene_is_crowded_or_empty() -> None:
    plan = make_plan(np.random.default_rng(0), classes=24, scenes=MIN_SCENES, val=77)
    assert max(len(held) for held in [*plan.train, *plan.val]) <= 12
    assert min(len(held) for held in plan.train) >= 1


def test_rare_classes_have_shapes_and_fills_of_frequent_ones() -> None:
    for classes in (12, 16, 20, 24):
        order = by_diagonals(classes)
        assert sorted(order) == list(range(classes))
        third = classes // 3
        rare, others = order[-third:], order[:-third]
        assert {c // len(FILLS) for c in rare} <= {c // len(FILLS) for c in others}
        assert {c % len(FILLS) for c in rare} <= {c % len(FILLS) for c in others}


def test_names_say_fill_and_shape() -> None:
    assert class_names(5) == ["plain_star", "striped_star", "dotted_star", "checked_star", "plain_disc"]
    assert len(set(class_names(MAX_CLASSES))) == MAX_CLASSES


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"classes": 8}, "classes is 8; it has to be 12, 16, 20 or 24"),
        ({"classes": 14}, "classes is 14"),
        ({"scenes": 199}, "scenes is 199; it has to be 200 or more"),
        ({"val": 51}, "val is 51; it has to be 52 or more"),
    ],
)
def test_numbers_that_break_the_promise_are_refused(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_plan(np.random.default_rng(0), **{"classes": 16, "scenes": 300, "val": 150, **wrong})
    assert caught.value.hint
