"""Orders of pictures: each once an epoch, classes equally often, and the same from any position on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from clis_core.data.shards.sampling import PictureSampler, positions

LABELS = np.array([3] * 50 + [1] * 7 + [9] * 2 + [4], np.int32)  # N = 60, four classes


def test_uniform_takes_each_picture_once_an_epoch() -> None:
    sampler = PictureSampler(LABELS, 0, "uniform")
    epochs = [sampler(np.arange(60 * e, 60 * (e + 1))) for e in range(4)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(60))
    assert len({tuple(e) for e in epochs}) == 4
    assert not np.array_equal(epochs[0], np.arange(60))


def test_class_balanced_takes_classes_equally_often_and_their_pictures_in_turns() -> None:
    sampler = PictureSampler(LABELS, 0, "class-balanced")
    drawn = sampler(np.arange(4 * 150))
    for start in range(0, len(drawn), 4):
        assert sorted(LABELS[drawn[start : start + 4]]) == [1, 3, 4, 9]
    rounds = {tuple(LABELS[drawn[start : start + 4]]) for start in range(0, len(drawn), 4)}
    assert len(rounds) > 10  # of 24 orders
    for label, count in Counter(LABELS.tolist()).items():
        mine = drawn[LABELS[drawn] == label]
        passes = [tuple(mine[k : k + count]) for k in range(0, len(mine) - count + 1, count)]
        assert all(len(set(p)) == count for p in passes)  # none comes again before all have come
        assert len(set(passes)) > 1 or count == 1


@pytest.mark.parametrize("kind", ["uniform", "class-balanced"])
def test_a_function_of_seed_and_position_alone(kind: str) -> None:
    whole = PictureSampler(LABELS, 5, kind)(np.arange(1000))  # type: ignore[arg-type]
    late = PictureSampler(LABELS, 5, kind)  # type: ignore[arg-type]
    assert np.array_equal(late(np.arange(700, 1000)), whole[700:])
    order = np.random.default_rng(0).permutation(1000)
    assert np.array_equal(late(order), whole[order])
    assert np.array_equal(late(order.reshape(20, 50)), whole[order].reshape(20, 50))
    assert [int(late(i)) for i in (999, 0, 500)] == whole[[999, 0, 500]].tolist()
    assert not np.array_equal(PictureSampler(LABELS, 6, kind)(np.arange(1000)), whole)  # type: ignore[arg-type]
    far = 10**12
    assert 0 <= int(late(far)) < 60


@pytest.mark.parametrize(("world", "per_rank"), [(1, 4), (3, 5)])
def test_ranks_share_the_positions(world: int, per_rank: int) -> None:
    steps = 6
    taken = [positions(s, r, world, per_rank) for s in range(steps) for r in range(world)]
    assert all(len(t) == per_rank for t in taken)
    assert sorted(np.concatenate(taken)) == list(range(steps * world * per_rank))
    step = np.concatenate([positions(2, r, world, per_rank) for r in range(world)])
    assert set(step) == set(range(2 * world * per_rank, 3 * world * per_rank))


def test_no_pictures() -> None:
    with pytest.raises(ValueError, match="no picture"):
        PictureSampler(np.zeros(0, np.int32), 0, "uniform")
