"""The kinds of mistakes and what they cost, against plain loops; and one of each by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.evaluation.detections import DetectionBuilder, Detections
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation import plain
from tests.evaluation.odd_world import coco_truth, in_full, odd_detections, write

COSTS = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FalsePos", "FalseNeg"]


def mistakes(folder: Path, truth: dict[str, Any], found: Detections, **options: Any) -> dict[str, Any]:
    groups = {c["id"]: c.get("frequency", "c") for c in truth["categories"]}
    fields = {"found", "fate", "best"}
    clean = {**truth, "annotations": [{k: v for k, v in b.items() if k not in fields} for b in truth["annotations"]]}
    return in_full(write(folder, clean), found, groups=groups, **options).records["mistakes"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    federated=st.booleans(),
    cut=st.sampled_from([0.0, 0.05, 0.5]),
    images=st.integers(1, 8),
    per_image=st.sampled_from([5, 60, 320]),
)
def test_against_plain_loops(
    tmp_path: Path, seed: int, federated: bool, cut: float, images: int, per_image: int
) -> None:
    truth = synthetic_truth(images, 12, seed) if federated else coco_truth(images, 8, seed)
    found = plain.confused(truth, odd_detections(truth, per_image, seed), seed)
    # Every score once: of equal scores any may be called the best.
    found = Detections(
        found.image_ids,
        found.category_ids,
        found.boxes,
        np.random.default_rng(seed).permutation(np.linspace(0, 1, len(found))),
    )
    ours = mistakes(tmp_path, truth, found, score_cut=cut)
    best = plain.best_of_images(truth, found, 300 if federated else None)
    judged = [r for r in plain.matched(truth, best) if r["score"] >= cut]
    for box in truth["annotations"]:
        if box["found"] and box["found"]["score"] < cut:
            box["found"] = None
    plain.kinds(truth, judged)
    assert ours["score_cut"] == cut
    groups = {c["id"]: c.get("frequency", "c") for c in truth["categories"]}
    for name, record in ours["groups"].items():
        classes = [i for i, g in groups.items() if name in ("all", g)]
        assert record["detections"] == counts_of_detections(judged, classes)
        assert record["objects"] == counts_of_objects(truth, classes)
        now = plain.mean_ap(truth, judged, classes)
        assert record["AP50"] == pytest.approx(now, abs=1e-9)
        assert list(record["dAP50"]) == COSTS
        for kind in COSTS:
            then = plain.mean_ap(truth, judged, classes, kind)
            expected = None if now is None or then is None else then - now
            assert record["dAP50"][kind] == pytest.approx(expected, abs=1e-9), (name, kind)
    for record in ours["classes"]:
        assert record["detections"] == counts_of_detections(judged, [record["id"]])
        assert record["objects"] == counts_of_objects(truth, [record["id"]])
        given = [r["target"]["category_id"] for r in judged if r["kind"] == "Cls" and r["category_id"] == record["id"]]
        assert [(x["id"], x["detections"]) for x in record["given_to"]] == most_common(given)
        taken = [taken_for(box, best, cut) for box in plain.real_objects(truth) if box["category_id"] == record["id"]]
        assert [(x["id"], x["objects"]) for x in record["taken_for"]] == most_common([t for t in taken if t])


def counts_of_detections(judged: plain.Records, classes: list[int]) -> dict[str, int]:
    here = [r for r in judged if r["category_id"] in classes]
    states = {"right": "right", "not_judged": "neither"}
    counts = {name: sum(r["state"] == state for r in here) for name, state in states.items()}
    return counts | {kind: sum(r["kind"] == kind for r in here) for kind in ("Cls", "Loc", "Both", "Dupe", "Bkg")}


def counts_of_objects(truth: dict[str, Any], classes: list[int]) -> dict[str, int]:
    here = [b for b in plain.real_objects(truth) if b["category_id"] in classes]
    return {"all": len(here)} | {fate: sum(b["fate"] == fate for b in here) for fate in ("found", "Cls", "Loc", "Miss")}


def taken_for(box: dict[str, Any], records: plain.Records, cut: float) -> int | None:
    on_it = [
        r
        for r in records
        if r["image_id"] == box["image_id"]
        and r["category_id"] != box["category_id"]
        and r["score"] >= cut
        and plain.iou(r["bbox"], box["bbox"]) >= 0.5
    ]
    if box["fate"] == "found" or not on_it:
        return None
    return int(max(on_it, key=lambda r: r["score"])["category_id"])


def most_common(ids: list[int]) -> list[tuple[int, int]]:
    return sorted(((i, ids.count(i)) for i in set(ids)), key=lambda pair: (-pair[1], pair[0]))[:5]


def test_the_random_worlds_hold_every_kind(tmp_path: Path) -> None:
    truth = synthetic_truth(8, 12, 0)
    found = plain.confused(truth, odd_detections(truth, 320, 0), 0)
    record = mistakes(tmp_path, truth, found)["groups"]["all"]
    assert all(record["detections"].values())
    assert all(record["objects"].values())


def by_hand(*detections: tuple[int, list[float], float]) -> tuple[dict[str, Any], Detections]:
    """One image with a cat (id 1, rare) at 0, 0, 10, 10, a dog (2, frequent) at 50, 50, 10, 10 and no cow (3)."""
    boxes = [(1, [0, 0, 10, 10]), (2, [50, 50, 10, 10])]
    truth = {
        "images": [{"id": 7, "neg_category_ids": [3], "not_exhaustive_category_ids": []}],
        "categories": [
            {"id": i, "name": n, "frequency": f}
            for i, n, f in ((1, "cat", "r"), (2, "dog", "f"), (3, "cow", "f"), (4, "bird", "c"))
        ],
        "annotations": [
            {"id": k, "image_id": 7, "category_id": c, "bbox": box, "area": 100} for k, (c, box) in enumerate(boxes, 1)
        ],
    }
    builder = DetectionBuilder()
    columns = [list(column) for column in zip(*detections, strict=True)]
    corners = [[x, y, x + width, y + height] for x, y, width, height in columns[1]]
    builder.add(7, columns[0], corners, columns[2])
    return truth, builder.build()


@pytest.mark.parametrize(
    ("category", "box", "kind", "fate"),
    [
        (1, [0, 0, 10, 10], "right", "found"),
        (1, [0, 0, 10, 4], "Loc", "Loc"),
        (2, [0, 0, 10, 10], "Cls", "Cls"),
        (3, [0, 0, 10, 9], "Cls", "Cls"),
        (3, [0, 0, 10, 4], "Both", "Miss"),
        (1, [30, 0, 10, 10], "Bkg", "Miss"),
        (3, [0, 0, 10, 0.5], "Bkg", "Miss"),
    ],
)
def test_one_detection(tmp_path: Path, category: int, box: list[float], kind: str, fate: str) -> None:
    truth, found = by_hand((category, box, 0.9))
    record = mistakes(tmp_path, truth, found)
    (cat,) = [c for c in record["classes"] if c["name"] == "cat"]
    assert {k for k, n in record["groups"]["all"]["detections"].items() if n} == {kind}
    assert cat["objects"] == {"all": 1, "found": 0, "Cls": 0, "Loc": 0, "Miss": 0} | {fate: 1}
    assert record["groups"]["r"]["objects"] == cat["objects"]


def test_the_second_on_an_object_is_a_duplicate(tmp_path: Path) -> None:
    truth, found = by_hand((1, [0, 0, 10, 10], 0.9), (1, [0, 0, 10, 9], 0.8))
    record = mistakes(tmp_path, truth, found)["groups"]["r"]
    assert (record["detections"]["right"], record["detections"]["Dupe"]) == (1, 1)


def test_a_class_that_nobody_looked_for_is_no_mistake_but_tells_what_an_object_was_taken_for(tmp_path: Path) -> None:
    truth, found = by_hand((4, [0, 0, 10, 10], 0.9), (3, [0, 0, 10, 10], 0.5))
    record = mistakes(tmp_path, truth, found)
    cat, _, cow, bird = record["classes"]
    assert not any(bird["detections"].values())
    assert cow["detections"]["Cls"] == 1
    assert cow["given_to"] == [{"id": 1, "name": "cat", "group": "r", "detections": 1}]
    assert cat["taken_for"] == [{"id": 4, "name": "bird", "group": "c", "objects": 1}]


def test_putting_a_class_right_moves_the_detection_to_the_other_class(tmp_path: Path) -> None:
    truth, found = by_hand((2, [0, 0, 10, 10], 0.9), (2, [50, 50, 10, 10], 0.8))
    groups = mistakes(tmp_path, truth, found)["groups"]
    assert (groups["r"]["AP50"], groups["f"]["AP50"]) == (0, pytest.approx(50))
    assert groups["r"]["dAP50"]["Cls"] == pytest.approx(100)
    assert groups["f"]["dAP50"]["Cls"] == pytest.approx(50)
    assert groups["c"]["AP50"] is None
    assert groups["c"]["dAP50"]["Cls"] is None


def test_detections_below_the_cut_are_no_mistakes(tmp_path: Path) -> None:
    truth, found = by_hand((1, [0, 0, 10, 10], 0.04), (2, [0, 0, 10, 10], 0.04))
    record = mistakes(tmp_path, truth, found)["groups"]["all"]
    assert not any(record["detections"].values())
    assert record["objects"]["Miss"] == 2
    kept = mistakes(tmp_path, truth, found, score_cut=0.04)["groups"]["all"]
    assert (kept["detections"]["right"], kept["detections"]["Cls"]) == (1, 1)


@pytest.mark.parametrize("federated", [True, False])
def test_no_detections_and_no_objects(tmp_path: Path, federated: bool) -> None:
    truth = synthetic_truth(3, 6, 0) if federated else coco_truth(3, 6, 0)
    nothing = DetectionBuilder().build()
    record = mistakes(tmp_path, truth, nothing)["groups"]["all"]
    assert record["objects"]["Miss"] == record["objects"]["all"] > 0
    assert record["dAP50"]["Miss"] is None  # no class is left that has objects
    found = odd_detections(truth, 20, 0)
    truth["annotations"] = []
    record = mistakes(tmp_path, truth, found)
    assert record["groups"]["all"]["AP50"] is None
    assert json.dumps(record, allow_nan=False)
