"""Reliability of scores, against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.evaluation.calibration import calibrate

SCORES = st.one_of(st.floats(0, 1), st.sampled_from([k / 20 for k in range(21)]))


@given(st.lists(st.tuples(SCORES, st.booleans()), min_size=1, max_size=60))
def test_against_loops(marks: list[tuple[float, bool]]) -> None:
    ours = calibrate(np.array([m[0] for m in marks]), np.array([m[1] for m in marks]))
    gaps = []
    bins = iter(ours.bins)
    for k in range(20):
        low, high = k / 20, (k + 1) / 20
        here = [m for m in marks if low <= m[0] < high or (high == 1 and m[0] == 1)]
        if not here:
            continue
        mean, precision = sum(m[0] for m in here) / len(here), sum(m[1] for m in here) / len(here)
        assert next(bins) == pytest.approx((low, high, len(here), mean, precision))
        gaps.append((abs(precision - mean), len(here)))
    assert next(bins, None) is None
    assert ours.ece == pytest.approx(sum(gap * n for gap, n in gaps) / len(marks))
    assert ours.mce == pytest.approx(max(gap for gap, _ in gaps))
    assert ours.detections == len(marks)
    assert ours.mean_score == pytest.approx(sum(m[0] for m in marks) / len(marks))
    assert ours.precision == pytest.approx(sum(m[1] for m in marks) / len(marks))


def test_scores_that_are_probabilities_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    score = random.random(20_000)
    good = calibrate(score, random.random(20_000) < score)
    bold = calibrate(score, random.random(20_000) < score**2)
    assert good.ece is not None
    assert bold.ece is not None
    assert good.ece < 0.02
    assert bold.ece > 0.1


def test_nothing() -> None:
    assert calibrate(np.zeros(0), np.zeros(0, bool)) == (0, None, None, None, None, [])
