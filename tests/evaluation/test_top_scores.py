"""The running floors of classes, against sorting everything."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clis_core.evaluation.top_scores import TopScores

SCORES = st.sampled_from([k / 16 for k in range(17)])


@given(st.integers(1, 9), st.lists(st.lists(st.tuples(st.integers(0, 2), SCORES), max_size=25), max_size=8))
def test_against_sorting(most: int, batches: list[list[tuple[int, float]]]) -> None:
    top = TopScores(3, most)
    given: dict[int, list[float]] = {c: [] for c in range(3)}
    for batch in batches:
        top.add(np.array([c for c, _ in batch], np.int64), np.array([s for _, s in batch], np.float32))
        for c, s in batch:
            given[c].append(s)
        for c in range(3):
            exact = sorted(given[c])[-most] if len(given[c]) >= most else -np.inf
            assert top.floors[c] <= exact
            if len(given[c]) > most + max(1, most // 4):
                assert top.floors[c] > -np.inf
    floors = top.settle()
    for c, scores in given.items():
        exact = sorted(scores)[-most] if len(scores) >= most else -np.inf
        assert floors[c] == np.float32(exact)
        assert top.above()[c] == sum(s > exact for s in scores)
        assert top.counts[c] == len(scores)
    assert top.settle().tolist() == floors.tolist()
