"""Pseudo boxes: what each rule takes of what a detector found."""

import numpy as np
import pytest

from clis_core.data.pseudo_boxes import FIXED, detected_boxes, fixed_boxes

BOXES = np.array([[0, 0, 0.5, 0.5], [0.2, 0.2, 0.9, 0.9], [0.1, 0, 0.3, 1], [0.4, 0.4, 0.6, 0.6]], np.float32)
LABELS, SCORES = np.array([3, 2, 2, 5]), np.array([0.9, 0.8, 0.5, 0.4], np.float32)


@pytest.mark.parametrize(
    ("rule", "label", "threshold", "rows", "labels"),
    [
        ("detector", 2, 0.45, [0, 1, 2], [3, 2, 2]),
        ("detector", 2, 0.95, [], []),
        ("own-label", 2, 0.45, [1, 2], [2, 2]),
        ("own-label", 2, 0.5, [1], [2]),  # above, not at
        ("own-label", 4, 0.0, [], []),
        ("relabelled", 4, 0.99, [0], [4]),
    ],
)
def test_detections(rule, label, threshold, rows, labels):
    found = detected_boxes(rule, BOXES, LABELS, SCORES, label, threshold)
    assert np.array_equal(found.boxes, BOXES[rows])
    assert found.labels.tolist() == labels


def test_nothing_found():
    empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
    for rule in ("detector", "own-label", "relabelled"):
        found = detected_boxes(rule, *empty, 1, 0.5)
        assert found.boxes.shape == (0, 4)
        assert found.labels.shape == (0,)
    with pytest.raises(ValueError, match="fixed takes no detections"):
        detected_boxes("fixed", *empty, 1, 0.5)


def test_six_fixed_places():
    found = fixed_boxes(7)
    assert found.labels.tolist() == [7] * 6
    assert FIXED[0].tolist() == [0, 0, 1, 1]
    sides = FIXED[1:, 2:] - FIXED[1:, :2]
    np.testing.assert_allclose(sides, 0.8, atol=1e-6)
    centres = (FIXED[1:, 2:] + FIXED[1:, :2]) / 2
    np.testing.assert_allclose(sorted(centres.tolist()), [[0.4, 0.4], [0.4, 0.6], [0.5, 0.5], [0.6, 0.4], [0.6, 0.6]])
