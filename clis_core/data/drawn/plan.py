"""Numbers of scenes and classes go in; which scene holds which classes, with a long tail, comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clis_core.categories import COMMON_MAX_IMAGES, RARE_MAX_IMAGES
from clis_core.data.drawn.shapes import FILLS, MAX_CLASSES, by_diagonals
from clis_core.errors import ConfigError

CLASSES = range(12, MAX_CLASSES + 1, len(FILLS))
MIN_SCENES = 200
VAL_IMAGES = 16
"""Validation scenes that hold a class, at least."""

_OBJECTS = 3.5  # of a validation scene, in the mean
_CROWD = 5.0
_AGAIN = 0.2  # probability of a second object of a class


@dataclass(frozen=True)
class Plan:
    """What is to be drawn; classes are numbers from 0.

    Attributes:
        train: the classes of each training scene's objects.
        val: the same of the validation scenes.
        images: training scenes that hold each class, by class.
    """

    train: list[list[int]]
    val: list[list[int]]
    images: list[int]


def make_plan(rng: np.random.Generator, *, classes: int, scenes: int, val: int) -> Plan:
    """Say what each scene holds: a third of the classes rare in training, a third common; in val all are alike.

    Raises:
        ConfigError: a number is outside of what the promised groups need.
    """
    _check(classes, scenes, val)
    images = [0] * classes
    for count, category in zip(image_counts(classes, scenes), by_diagonals(classes), strict=True):
        images[category] = count
    each = max(VAL_IMAGES, round(_OBJECTS * val / classes))
    return Plan(_spread(rng, images, scenes), _spread(rng, [min(each, val)] * classes, val), images)


def image_counts(classes: int, scenes: int) -> list[int]:
    """Training scenes that hold a class, the most frequent class first; each number falls from class to class."""
    rare = common = classes // 3
    least = max(COMMON_MAX_IMAGES + 5, scenes // 4)
    frequent = np.geomspace(max(0.6 * scenes, least + 15), least, classes - rare - common)
    few = np.geomspace(COMMON_MAX_IMAGES - 10, RARE_MAX_IMAGES + 4, common)
    return [round(n) for n in [*frequent, *few, *np.linspace(RARE_MAX_IMAGES - 4, 1, rare)]]


def _spread(rng: np.random.Generator, images: list[int], scenes: int) -> list[list[int]]:
    """Give each class its number of scenes, those first that are least full."""
    held: list[list[int]] = [[] for _ in range(scenes)]
    load = np.zeros(scenes)
    for category in np.argsort([-n for n in images], kind="stable").tolist():
        for scene in np.argsort(load + rng.uniform(0, 2.5, scenes), kind="stable")[: images[category]].tolist():
            again = 1 + int(rng.random() < _AGAIN)
            held[scene] += [category] * again
            load[scene] += again
    for some in held:
        rng.shuffle(some)
    return held


def _check(classes: int, scenes: int, val: int) -> None:
    least_val = int(np.ceil(VAL_IMAGES * classes / _CROWD))
    for what, number, good, wanted, instead in (
        ("classes", classes, classes in CLASSES, "12, 16, 20 or 24: all fills of some shapes", 16),
        ("scenes", scenes, scenes >= MIN_SCENES, f"{MIN_SCENES} or more: some classes are in over 100", MIN_SCENES),
        ("val", val, val >= least_val, f"{least_val} or more: each class is in {VAL_IMAGES} of them", least_val),
    ):
        if not good:
            raise ConfigError(f"{what} is {number}; it has to be {wanted}.", hint=f"Draw with {what}={instead}")
