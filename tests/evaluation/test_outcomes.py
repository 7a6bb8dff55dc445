"""What a file of detections comes to, block by block, against the records of the whole; and what changed, by loops."""

import numpy as np
import pytest

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import prepare
from clis_core.evaluation.judged import objects_of
from clis_core.evaluation.mistakes import KINDS
from clis_core.evaluation.outcomes import KEPT, WHAT, changes, outcome_of, verdicts_on
from clis_core.evaluation.precision import mean_of_classes
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation import plain
from tests.evaluation.odd_world import coco_truth, in_full, odd_detections, write

CUT = 0.05


def world(tmp_path, federated, seed=0, images=9):
    """Ground truth on disk, detections on disk with their images in any order, and both in memory."""
    raw = synthetic_truth(images, 12, seed) if federated else coco_truth(images, 8, seed)
    found = plain.confused(raw, odd_detections(raw, 60, seed), seed)
    shuffled = np.random.default_rng(seed).permutation(1000)[found.image_ids]
    order = np.argsort(shuffled, kind="stable")
    found = Detections(found.image_ids[order], found.category_ids[order], found.boxes[order], found.scores[order])
    found.save(tmp_path / "found.npz")
    gt = write(tmp_path, raw)
    groups = {c["id"]: c.get("frequency", "c") for c in raw["categories"]}
    return prepare(gt, None, groups).truth, tmp_path / "found.npz", in_full(gt, found, groups=groups), found


@pytest.mark.parametrize("federated", [True, False])
@pytest.mark.parametrize("rows", [1, 150, 10**6])
def test_curves_and_counts_are_those_of_the_evaluation(tmp_path, federated, rows):
    for seed in range(4):
        truth, path, metrics, _ = world(tmp_path, federated, seed)
        outcome = outcome_of(truth, path, CUT, rows=rows)
        for c, record in enumerate(metrics.records["per_class"]["classes"]):
            assert mean_of_classes(outcome.precision, [c]) == record["AP50"]
        assert mean_of_classes(outcome.precision) == pytest.approx(metrics.values["AP50"], abs=1e-9)
        objects = objects_of(truth)
        for c, record in enumerate(metrics.records["mistakes"]["classes"]):
            mine = (objects.category == c) & ~objects.ignored
            assert int(outcome.found[mine].sum()) == record["objects"]["found"]
            for kind in ("Cls", "Loc"):
                assert int((outcome.covered[mine] == KINDS.index(kind)).sum()) == record["objects"][kind]


@pytest.mark.parametrize("federated", [True, False])
def test_the_worst_of_each_kind_and_class_whatever_the_blocks(tmp_path, federated):
    truth, path, metrics, found = world(tmp_path, federated, 3, images=30)
    objects = objects_of(truth)
    verdicts = verdicts_on(truth, objects, found, CUT)
    listed = {}
    for place, kind in enumerate(verdicts.mistakes.kind.tolist()):
        if kind >= 0:
            target = int(verdicts.mistakes.target[place])
            category = objects.category[target] if KINDS[kind] == "Cls" else verdicts.judged.category[place]
            listed.setdefault((KINDS[kind], int(category)), []).append(
                (-float(verdicts.judged.score[place]), int(verdicts.judged.image[place]), target)
            )
    missed = verdicts.mistakes.missed(objects)
    for place in np.flatnonzero(missed).tolist():
        area = float(objects.xywh[place, 2] * objects.xywh[place, 3])
        listed.setdefault(("Miss", int(objects.category[place])), []).append((-area, int(objects.image[place]), place))
    expected = {key: sorted(rows)[:KEPT] for key, rows in listed.items()}
    for rows in (50, 10**6):
        incidents = outcome_of(truth, path, CUT, rows=rows).incidents
        seen = {}
        columns = zip(*(column.tolist() for column in vars(incidents).values()), strict=True)
        for what, category, image, weight, place in columns:
            seen.setdefault((WHAT[what], category), []).append((-weight, image, place))
        assert seen == expected
    assert len({kind for kind, _ in listed}) >= 5, "the world has many kinds"
    assert sum(map(len, listed.values())) == int(missed.sum()) + sum(
        metrics.records["mistakes"]["groups"]["all"]["detections"][kind] for kind in KINDS
    )


def test_what_one_run_finds_and_the_other_does_not(tmp_path):
    (tmp_path / "a").mkdir()
    truth, path, _, found = world(tmp_path, True, 1, images=20)
    before = outcome_of(truth, path, CUT)
    found.only(np.arange(len(found)) % 3 > 0).save(tmp_path / "a" / "found.npz")
    after = outcome_of(truth, tmp_path / "a" / "found.npz", CUT)
    objects = objects_of(truth)
    seen = changes(objects, before, after)
    lists = {"Lost": [], "Gained": []}
    for place in range(len(objects.category)):
        if not objects.ignored[place] and before.found[place] != after.found[place]:
            lists["Lost" if before.found[place] else "Gained"].append(place)
    assert lists["Lost"]
    for name, places in lists.items():
        for category in range(len(truth.category_ids)):
            mine = [p for p in places if objects.category[p] == category]
            mine.sort(key=lambda p: -objects.xywh[p, 2] * objects.xywh[p, 3])
            chosen = (seen.what == WHAT.index(name)) & (seen.category == category)
            assert seen.object[chosen].tolist() == mine[:KEPT]


def test_without_detections_everything_is_missed(tmp_path):
    truth, path, _, found = world(tmp_path, True)
    found.only(np.zeros(len(found), np.bool_)).save(path)
    outcome = outcome_of(truth, path, CUT)
    assert not outcome.found.any()
    assert {WHAT[what] for what in outcome.incidents.what.tolist()} == {"Miss"}
    with_objects = objects_of(truth).per_class > 0
    assert (outcome.precision[with_objects] == 0).all()
    assert (outcome.precision[~with_objects] == -1).all()
