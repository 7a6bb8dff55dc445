"""Our matching, at every IoU threshold, against the curves of lvis and pycocotools."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.evaluation import coco, lvis, matching
from clis_core.evaluation.evaluate import prepare
from clis_core.evaluation.judged import counted_detections, judged_of, objects_of
from clis_core.evaluation.matching import IOU_THRESHOLDS, joined, match, pairs_of
from clis_core.evaluation.precision import Ranking
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation.odd_world import coco_truth, odd_detections, write


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 10),
    classes=st.integers(3, 30),
    per_image=st.sampled_from([0, 1, 7, 40, 320]),
    federated=st.booleans(),
    capped=st.booleans(),
)
def test_precision_of_every_class_at_every_threshold(
    tmp_path: Path, seed: int, images: int, classes: int, per_image: int, federated: bool, capped: bool
) -> None:
    truth = synthetic_truth(images, classes, seed) if federated else coco_truth(images, classes, seed)
    for box in truth["annotations"][:: 5 if federated else 999]:
        box["area"] = 0
    for box in truth["annotations"][1 :: 5 if federated else 999]:
        box["ignore"] = 1
    found = odd_detections(truth, per_image, seed)
    read, _, groups, *_ = prepare(write(tmp_path, truth), "lvis" if federated else "pycocotools")
    if federated:
        curves = lvis.by_lvis(read, found, groups, capped=capped)
    else:
        curves = coco.by_pycocotools(read, found, capped=capped)
    objects = objects_of(read)
    judged = judged_of(read, found, counted_detections(read, found, capped=capped), capped=capped)
    pairs, ranking = pairs_of(judged, objects), Ranking(judged.category, judged.score, classes)
    for i, threshold in enumerate(IOU_THRESHOLDS.tolist()):
        matches = match(pairs, judged, objects, threshold)
        ours = ranking.precision(matches.right, matches.wrong, objects.per_class)
        np.testing.assert_allclose(ours, curves.precision[i, :, :, 0, -1].T, atol=1e-12, rtol=0)


def test_few_pairs_at_a_time_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = synthetic_truth(8, 10, 1)
    found = odd_detections(truth, 100, 1)
    read, *_ = prepare(write(tmp_path, truth))
    objects, judged = objects_of(read), judged_of(read, found, counted_detections(read, found))
    whole = pairs_of(judged, objects)
    monkeypatch.setattr(matching, "CHUNK", 3)
    parts = pairs_of(judged, objects)
    assert len(whole.iou) > 3
    for name in ("detection", "object", "iou"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=12), st.integers(1, 20))
def test_joined_pairs_each_with_all_of_its_range(ranges: list[tuple[int, int]], chunk: int) -> None:
    first = np.array([a for a, _ in ranges], dtype=np.int64)
    last = np.array([a + n for a, n in ranges], dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "CHUNK", chunk)
        parts = [(i.tolist(), j.tolist()) for i, j in joined(first, last)]
    pairs = [pair for i, j in parts for pair in zip(i, j, strict=True)]
    assert pairs == [(i, j) for i, (a, n) in enumerate(ranges) for j in range(a, a + n)]
    owners = [set(i) for i, _ in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)), "the pairs of one are apart"
    assert all(len(i) <= chunk or len(set(i)) == 1 for i, _ in parts)
