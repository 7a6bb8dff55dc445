"""Labels of MTL-SSL's auxiliary tasks: by hand, and against a raster of pixels and plain loops."""

import math

import numpy as np
import pytest
import torch

from clis_core.batch import Target, Verified
from clis_core.methods.mtl_labels import closeness_labels, foreground, random_windows, union_areas, window_labels

SIZE = (90, 120)


def target_of(boxes, labels, *, seed=3, absent=None, partial=()):
    verified = None if absent is None else Verified(torch.tensor(absent).long(), torch.tensor(partial).long())
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(boxes, torch.tensor(labels, dtype=torch.int64), seed=seed, verified=verified)


def whole_pixels(count, classes, seed):
    """Boxes and windows whose edges lie between pixels, so that a raster has their areas exactly."""
    rng = np.random.default_rng(seed)

    def some(number):
        corners = np.sort(rng.integers(0, [[120, 90]] * 2, (number, 2, 2)), axis=1)
        corners[:, 1] += 1
        return corners.reshape(-1, 4).astype(np.float64)

    return some(count), rng.integers(1, classes + 1, count), some(20)


def raster(boxes):
    covered = np.zeros(SIZE, bool)
    for x0, y0, x1, y1 in boxes.astype(int):
        covered[y0:y1, x0:x1] = True
    return covered


@pytest.mark.parametrize("seed", range(6))
def test_windows_against_a_raster(seed):
    boxes, labels, windows = whole_pixels((0, 1, 3, 8, 15, 40)[seed], 4, seed)
    made = window_labels(target_of(boxes, labels), windows)
    assert made.classes.tolist() == sorted({0, *labels.tolist()})
    assert made.absent is None
    assert made.known.all()
    covered = raster(boxes)
    for (x0, y0, x1, y1), row in zip(windows.astype(int), made.shares, strict=True):
        place = np.s_[y0:y1, x0:x1]
        parts = [1 - covered[place].mean()]
        parts += [raster(boxes[labels == label])[place].mean() for label in made.classes[1:]]
        wanted = [math.sqrt(part) / sum(map(math.sqrt, parts)) for part in parts]
        np.testing.assert_allclose(row, wanted, atol=1e-6)


def test_windows_by_hand():
    # Two overlapping boxes of class 5 cover 3/4 of the window, one of class 2 a quarter of it, on top of them.
    target = target_of([[0, 0, 8, 8], [4, 0, 12, 8], [0, 0, 4, 8]], [5, 5, 2])
    made = window_labels(target, np.array([[0, 0, 16, 8.0], [12, 0, 16, 8]]))
    assert made.classes.tolist() == [0, 2, 5]
    roots = [0.5, 0.5, math.sqrt(0.75)]
    np.testing.assert_allclose(made.shares[0], np.array(roots) / sum(roots), rtol=1e-6)
    np.testing.assert_allclose(made.shares[1], [1, 0, 0])


def test_union_of_fractions_of_pixels():
    boxes = np.array([[0.25, 0.5, 2.75, 1.5], [1.25, 0.0, 1.75, 9.5], [0.25, 0.5, 2.75, 1.5]])
    areas = union_areas(boxes, np.array([[0, 0, 20, 20.0], [1.5, 1, 2, 4], [5, 5, 9, 9]]))
    np.testing.assert_allclose(areas, [2.5 + 0.5 * 9.5 - 0.5, 0.5 * 0.5 + 0.25 * 2.5, 0])


def test_what_nobody_has_looked_for_takes_no_part():
    boxes, labels = [[0, 0, 40, 40], [60, 0, 100, 40]], [3, 7]
    windows = np.array([[0, 0, 50, 50.0], [50, 0, 110, 50]])
    made = window_labels(target_of(boxes, labels, absent=[2, 7, 900], partial=[3]), windows)
    assert made.classes.tolist() == [0, 3, 7]
    assert made.absent.tolist() == [2, 900]  # 7 has a box, whatever the list says
    # Class 3 may have more objects than boxes: where a window has none of its boxes, nothing is said of it.
    assert made.known.tolist() == [[True, True, True], [True, False, True]]
    np.testing.assert_allclose(made.shares.sum(axis=1), 1, rtol=1e-6)
    silent = window_labels(target_of(boxes, labels, absent=[]), windows)
    assert silent.absent.tolist() == []
    assert silent.known.all()


def test_a_large_vocabulary_costs_what_the_image_has():
    made = window_labels(target_of([[0, 0, 9, 9]], [1203], absent=[1, 2]), np.array([[0, 0, 20, 20.0]]))
    assert made.shares.shape == (1, 2)
    near = closeness_labels(target_of([[0, 0, 9, 9]], [1203]), np.zeros((5, 4)), np.full(5, 7), SIZE)
    assert near.shares.shape == (5, 1)


@pytest.mark.parametrize("seed", range(4))
def test_closeness_against_loops(seed):
    boxes, labels, _ = whole_pixels((1, 2, 9, 30)[seed], (5, 2, 4, 9)[seed], seed)
    made = closeness_labels(target_of(boxes, labels), boxes, labels, SIZE)
    centres = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes]
    for i, row in enumerate(made.shares):
        wanted = dict.fromkeys(made.classes.tolist(), 0.0)
        for j, label in enumerate(labels.tolist()):
            if label != labels[i]:
                near = 1 - math.dist(centres[i], centres[j]) / math.hypot(*SIZE)
                wanted[label] = max(wanted[label], near)
        total = sum(wanted.values()) or 1
        np.testing.assert_allclose(row, [w / total for w in wanted.values()], atol=1e-6)


def test_closeness_by_hand():
    # The image's diagonal is 150; the centres are 30 and 60 away from the first box's, its own class is nearer.
    target = target_of([[10, 10, 20, 20], [11, 10, 21, 20], [40, 10, 50, 20], [10, 70, 20, 80]], [4, 4, 2, 9])
    made = closeness_labels(target, np.array([[10, 10, 20, 20.0]]), np.array([4]), SIZE)
    assert made.classes.tolist() == [2, 4, 9]
    np.testing.assert_allclose(made.shares, [[0.8 / 1.4, 0, 0.6 / 1.4]], rtol=1e-6)
    alone = closeness_labels(target_of([[10, 10, 20, 20]], [4]), np.array([[10, 10, 20, 20.0]]), np.array([4]), SIZE)
    assert alone.shares.tolist() == [[0]]


def test_foreground_against_loops():
    boxes, labels, _ = whole_pixels(6, 3, 1)
    boxes += 0.3
    made = foreground(target_of(boxes, labels), SIZE)
    mask, weights = np.zeros((64, 64), int), np.full((64, 64), 1 / 4096)
    for row in range(64):
        for column in range(64):
            for x0, y0, x1, y1 in boxes:
                left, right = math.floor(x0 * 64 / 120), min(64, math.ceil(x1 * 64 / 120))
                top, bottom = math.floor(y0 * 64 / 90), min(64, math.ceil(y1 * 64 / 90))
                if left <= column < right and top <= row < bottom:
                    mask[row, column] = 1
                    weights[row, column] = max(weights[row, column], 1 / ((right - left) * (bottom - top)))
    assert (made.mask == mask).all()
    np.testing.assert_allclose(made.weights, weights / weights.mean(), rtol=1e-5)


def test_foreground_by_hand():
    thin = target_of([[60, 45, 60.0, 45.0], [0, 0, 120, 90]], [1, 1])  # a box without sides is one cell
    made = foreground(thin, SIZE)
    assert made.mask.all()
    assert made.weights[32, 32] / made.weights[0, 0] == pytest.approx(4096)
    nothing = foreground(target_of([], []), SIZE)
    assert not nothing.mask.any()
    np.testing.assert_allclose(nothing.weights, 1)


def test_windows_hang_on_the_seed_alone():
    target = target_of([[30, 30, 50, 50], [70, 10, 110, 20]], [1, 2])
    windows = random_windows(target, SIZE, 64, 32)
    torch.manual_seed(99)
    assert (windows == random_windows(target, SIZE, 64, 32)).all()
    assert (windows != random_windows(target._replace(seed=4), SIZE, 64, 32)).any()
    assert windows.shape == (64, 4)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, 2:] <= [120, 90]).all()
    assert (windows[:, 2:] - windows[:, :2] >= 32).all()
    # Each touches a box: of one that covers nothing there is nothing to learn.
    assert (window_labels(target, windows).shares[:, 1:].sum(axis=1) > 0).all()


def test_windows_where_they_are_hard_to_have():
    assert random_windows(target_of([], []), SIZE, 64, 32).shape == (1, 4)
    far = random_windows(target_of([[0, 0, 0.01, 0.01]], [1]), SIZE, 64, 32)
    assert 1 <= len(far) <= 64
    small = random_windows(target_of([[0, 0, 9, 9]], [1]), (20, 24), 64, 32)  # the image is smaller than a window
    assert (small == [0, 0, 24, 20]).all()
