"""The class table and the calibration that an evaluation in full gives, against plain loops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.evaluation.calibration import calibrate
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation import plain
from tests.evaluation.odd_world import coco_truth, in_full, odd_detections, write

Truth = dict[str, Any]


def world(federated: bool) -> tuple[Truth, Detections]:
    truth = synthetic_truth(12, 15, 2) if federated else coco_truth(12, 8, 2)
    return truth, plain.confused(truth, odd_detections(truth, 120, 2), 2)


@pytest.mark.parametrize("federated", [True, False])
def test_class_table(tmp_path: Path, federated: bool) -> None:
    truth, found = world(federated)
    groups = {c["id"]: c.get("frequency", "c") for c in truth["categories"]}
    metrics = in_full(write(tmp_path, truth), found, groups=groups, images={1: 44})
    record = metrics.records["per_class"]
    assert (record["format"], record["version"]) == ("clis-per-class", 1)
    assert record["protocol"] == metrics.protocol
    judged = plain.matched(truth, plain.best_of_images(truth, found, 300 if federated else None))
    assert [c["id"] for c in record["classes"]] == [c["id"] for c in truth["categories"]]
    for row in record["classes"]:
        boxes = [b for b in plain.real_objects(truth) if b["category_id"] == row["id"]]
        here = [r for r in judged if r["category_id"] == row["id"]]
        assert row["name"] == f"class {row['id']}"
        assert row["group"] == groups[row["id"]]
        assert row["train_images"] == (44 if row["id"] == 1 else None)
        assert row["images"] == len({b["image_id"] for b in boxes})
        assert row["objects"] == len(boxes)
        assert row["detections"] == int((found.category_ids == row["id"]).sum())
        assert row["judged"] == len(here)
        assert row["AP"] == metrics.per_class[row["id"]]
        marks = [(r["score"], r["state"] == "right") for r in here if r["state"] != "neither"]
        assert row["AP50"] == pytest.approx(plain.average_precision(marks, len(boxes)) if boxes else None)
        best = row["best_f1"]
        if best is not None:
            kept = [r["state"] for r in here if r["score"] >= best["score"]]
            assert best["precision"] == pytest.approx(kept.count("right") / (len(kept) - kept.count("neither")))
            assert best["recall"] == pytest.approx(kept.count("right") / len(boxes))
    assert any(row["best_f1"] for row in record["classes"])


def test_training_images_that_the_file_gives(tmp_path: Path) -> None:
    truth, found = world(True)
    for number, category in enumerate(truth["categories"]):
        category["image_count"] = number
    truth["categories"][3]["image_count"] = "many"  # a field of anybody's; ours are counts
    rows = in_full(write(tmp_path, truth), found).records["per_class"]["classes"]
    assert [row["train_images"] for row in rows] == [None if k == 3 else k for k in range(len(rows))]


@pytest.mark.parametrize("federated", [True, False])
def test_calibration_of_each_group(tmp_path: Path, federated: bool) -> None:
    truth, found = world(federated)
    groups = {c["id"]: "rcf"[k % 3] for k, c in enumerate(truth["categories"])}
    metrics = in_full(write(tmp_path, truth), found, groups=groups, score_cut=0.3)  # type: ignore[arg-type]
    record = metrics.records["calibration"]
    assert (record["score_cut"], record["iou"], record["bins"]) == (0.3, 0.5, 20)
    judged = plain.matched(truth, plain.best_of_images(truth, found, 300 if federated else None))
    judged = [r for r in judged if r["state"] != "neither" and r["score"] >= np.float32(0.3)]
    for name, ours in record["groups"].items():
        here = [r for r in judged if name in ("all", groups[r["category_id"]])]
        theirs = calibrate(np.array([r["score"] for r in here]), np.array([r["state"] == "right" for r in here]))
        assert ours["ECE"] == pytest.approx(theirs.ece)
        assert ours["MCE"] == pytest.approx(theirs.mce)
        assert ours["detections"] == len(here)
        assert [b["detections"] for b in ours["bins"]] == [b.detections for b in theirs.bins]
        assert ours["bins"][0]["low"] == 0.3


def test_scores_that_are_no_probabilities_are_not_calibrated(tmp_path: Path) -> None:
    truth, found = world(True)
    percent = replace(found, scores=found.scores * 100)
    metrics = in_full(write(tmp_path, truth), percent)
    assert "calibration" not in metrics.records
    assert any("no probabilities" in note for note in metrics.notes)
    assert metrics.values == evaluate(write(tmp_path, truth), found).values


@pytest.mark.parametrize("federated", [True, False])
def test_records_are_plain_json(tmp_path: Path, federated: bool) -> None:
    truth, found = world(federated)
    metrics = in_full(write(tmp_path, truth), found)
    assert set(metrics.records) == {"per_class", "mistakes", "calibration"}
    assert json.loads(json.dumps(metrics.records, allow_nan=False)) == metrics.records
