"""The threshold of the best F1, against trying every one."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clis_core.evaluation.precision import Ranking
from clis_core.evaluation.thresholds import best_thresholds

MARKS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9]), st.sampled_from("rwn")))


def columns(marks: list[tuple[int, float, str]]) -> tuple[Any, ...]:
    marks = sorted(marks, key=lambda mark: mark[0])
    category = np.array([m[0] for m in marks], dtype=np.int64)
    score = np.array([m[1] for m in marks])
    return category, score, np.array([m[2] == "r" for m in marks], bool), np.array([m[2] == "w" for m in marks], bool)


@given(MARKS, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_every_threshold_tried(marks: list[tuple[int, float, str]], more: list[int]) -> None:
    category, score, right, wrong = columns(marks)
    hits = np.bincount(category[right], minlength=3)
    objects = hits + np.array(more)
    ours = best_thresholds(Ranking(category, score, 3), score, right, wrong, objects)
    for c, found in enumerate(ours):
        tried = []
        for threshold in sorted({m[1] for m in marks if m[0] == c}, reverse=True):
            kept = (category == c) & (score >= threshold)
            tp, fp = int((kept & right).sum()), int((kept & wrong).sum())
            if tp:
                precision, recall = tp / (tp + fp), tp / int(objects[c])
                tried.append((2 * precision * recall / (precision + recall), threshold, precision, recall))
        if not tried:
            assert found is None
            continue
        assert found is not None
        best = max(f1 for f1, *_ in tried)
        assert found.f1 == pytest.approx(best)
        assert found[:1] + found[2:] == next(t for t in tried if t[0] > best - 1e-9)[1:]


def test_equal_scores_are_kept_together() -> None:
    category, score, right, wrong = columns([(0, 0.5, "r"), (0, 0.5, "w"), (0, 0.5, "w"), (0, 0.4, "r")])
    (found,) = best_thresholds(Ranking(category, score, 1), score, right, wrong, np.array([2]))
    assert found is not None
    assert (found.score, found.precision, found.recall) == (0.4, 0.5, 1)
