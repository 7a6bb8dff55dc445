"""Anybody's results against anybody's ground truth, as a job."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clis_core.errors import DataError
from clis_core.evaluation.groups import categories_of_training_set, groups_of
from clis_core.evaluation.results_json import to_coco_json
from clis_core.jobs.evaluate_file import evaluate_file
from clis_core.report import SilentReporter
from tests.evaluation.odd_world import OFFICIAL_SAMPLE, coco_truth, odd_detections, write


class Listener(SilentReporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.records: list[tuple[str, Mapping[str, Any]]] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        self.records.append((kind, values))


def training_set(counts: list[int]) -> dict[str, Any]:
    """Class 2i+1 in counts[i] images, twice in each; class 1 also as a crowd in image 0."""
    images = [{"id": i, "width": 64, "height": 64, "file_name": f"{i}.jpg"} for i in range(max(counts, default=0) + 1)]
    boxes: list[dict[str, Any]] = []
    for place, count in enumerate(counts):
        for image in [i for i in range(1, count + 1) for _ in range(2)]:
            boxes.append({"image_id": image, "category_id": 2 * place + 1, "bbox": [1, 1, 9, 9], "iscrowd": 0})
    boxes.append({"image_id": 0, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 1})
    for number, box in enumerate(boxes, start=1):
        box.update(id=number, area=81)
    names = [{"id": 2 * i + 1, "name": f"class {2 * i + 1}"} for i in range(len(counts))]
    return {"images": images, "annotations": boxes, "categories": names}


def test_groups_of_a_training_set(tmp_path: Path) -> None:
    path = write(tmp_path, training_set([10, 11, 100, 101, 1]), "train.json")
    assert groups_of(categories_of_training_set(path)) == {1: "r", 3: "c", 5: "c", 7: "f", 9: "r"}


@pytest.mark.parametrize("suffix", ["results.json", "results.npz"])
def test_coco_with_the_groups_of_a_training_set(tmp_path: Path, suffix: str) -> None:
    truth = coco_truth(6, 6, 0)
    gt, train = write(tmp_path, truth), write(tmp_path, training_set([5, 5, 50, 50, 101, 101]), "train.json")
    found, results = odd_detections(truth, 40, 0), tmp_path / suffix
    found.save(results) if suffix.endswith("npz") else to_coco_json(found, results)
    listener = Listener()
    metrics = evaluate_file(results, gt, train_gt=train, reporter=listener)
    for group, members in {"r": (1, 3), "c": (5, 7), "f": (9, 11)}.items():
        aps = [ap for c in members if (ap := metrics.per_class[c]) is not None]
        assert metrics.values[f"AP{group}"] == pytest.approx(sum(aps) / len(aps), abs=1e-10)
    assert listener.warnings == metrics.notes
    assert not any("--train-gt" in note for note in metrics.notes)
    ((kind, record),) = listener.records
    assert kind == "eval"
    assert record == {"protocol": "coco", "engine": "pycocotools", **metrics.values}
    json.dumps(record)


def test_without_a_training_set(tmp_path: Path) -> None:
    truth = coco_truth(6, 6, 0)
    results, listener = tmp_path / "results.json", Listener()
    to_coco_json(odd_detections(truth, 40, 0), results)
    metrics = evaluate_file(results, write(tmp_path, truth), reporter=listener)
    assert metrics.values["APr"] is None
    assert any("--train-gt FILE" in warning for warning in listener.warnings)


def test_the_message_names_the_results_file(tmp_path: Path) -> None:
    truth = coco_truth(6, 6, 0)
    results = tmp_path / "results.json"
    to_coco_json(odd_detections(truth, 40, 0), results)
    truth["images"] = truth["images"][1:]
    with pytest.raises(DataError) as caught:
        evaluate_file(results, write(tmp_path, truth), reporter=SilentReporter())
    assert caught.value.message.startswith("Detection ")
    assert f" of {results} (image " in caught.value.message


@pytest.mark.slow
def test_the_official_sample(tmp_path: Path) -> None:
    if not OFFICIAL_SAMPLE.exists():
        pytest.skip("lvis_val_100.json, the official sample of LVIS v0.5, does not lie beside the checkout")
    results = tmp_path / "results.json"
    to_coco_json(odd_detections(json.loads(OFFICIAL_SAMPLE.read_text()), 100, 1), results)
    fast = evaluate_file(results, OFFICIAL_SAMPLE, reporter=SilentReporter())
    slow = evaluate_file(results, OFFICIAL_SAMPLE, engine="lvis", reporter=SilentReporter())
    assert fast.values == pytest.approx(slow.values, abs=1e-10)
