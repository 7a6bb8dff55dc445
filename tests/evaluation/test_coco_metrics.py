"""COCO metrics by either engine against pycocotools run as its users run it, and the groups against loops."""

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.evaluation.detections import DetectionBuilder
from clis_core.evaluation.evaluate import evaluate
from clis_core.evaluation.metrics import Engine
from tests.evaluation.odd_world import as_records, coco_truth, odd_detections, write

ENGINES: list[Engine] = ["pycocotools", "hotcoco"]
OFFICIAL = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100"]
OFFICIAL += ["ARs@100", "ARm@100", "ARl@100"]


def official_coco(gt: Path, records: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(gt))
        engine = COCOeval(truth, truth.loadRes(copy.deepcopy(records)), "bbox")
        engine.evaluate()
        engine.accumulate()
        engine.summarize()
    return engine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [(1, 3, 5), (12, 8, 60), (25, 12, 90), (3, 2, 450)])
def test_random_files(tmp_path: Path, engine: Engine, size: tuple[int, int, int]) -> None:
    images, classes, per_image = size
    seed = images
    truth = coco_truth(images, classes, seed)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, per_image, seed)
    metrics = evaluate(gt, detections, engine=engine)
    official = official_coco(gt, as_records(detections))
    assert metrics.protocol == "coco"
    for name, value in zip(OFFICIAL, official.stats, strict=True):
        ours = metrics.values[name]
        assert ours == (None if value == -1 else pytest.approx(value * 100, abs=1e-10)), name
    precision = official.eval["precision"][:, :, :, 0, 2]
    for category, ours in metrics.per_class.items():
        theirs = precision[:, :, official.params.catIds.index(category)]
        assert ours == (None if theirs.max() == -1 else pytest.approx(theirs.mean() * 100, abs=1e-10))


@pytest.mark.parametrize("seed", range(6))
def test_the_engines_agree_to_the_last_bit(tmp_path: Path, seed: int) -> None:
    truth = coco_truth(10, 6, seed)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 200, seed)
    groups = {c["id"]: "rcf"[c["id"] % 3] for c in truth["categories"]}
    slow, fast = (evaluate(gt, detections, engine=e, groups=groups) for e in ENGINES)
    assert slow.values == fast.values
    assert slow.per_class == fast.per_class


@pytest.mark.parametrize("engine", ENGINES)
def test_groups(tmp_path: Path, engine: Engine) -> None:
    truth = coco_truth(10, 9, 4)
    absent = truth["categories"][0]["id"]
    truth["annotations"] = [b for b in truth["annotations"] if b["category_id"] != absent]
    groups = {c["id"]: "rcf"[i % 3] for i, c in enumerate(truth["categories"])}
    metrics = evaluate(write(tmp_path, truth), odd_detections(truth, 60, 4), engine=engine, groups=groups)
    assert metrics.per_class[absent] is None
    for group in "rcf":
        total = count = 0.0
        for category, name in groups.items():
            ap = metrics.per_class[category]
            if name == group and ap is not None:
                total, count = total + ap, count + 1
        assert count >= 2
        assert metrics.values[f"AP{group}"] == pytest.approx(total / count, abs=1e-10)
    assert not any("group" in note for note in metrics.notes)


def test_without_groups_a_note_says_how_to_get_them(tmp_path: Path) -> None:
    truth = coco_truth(5, 6, 6)
    metrics = evaluate(write(tmp_path, truth), odd_detections(truth, 30, 6))
    assert metrics.engine == "pycocotools"
    assert [metrics.values[f"AP{g}"] for g in "rcf"] == [None, None, None]
    assert any("--train-gt" in note and "6 of 6 classes" in note for note in metrics.notes)


def test_a_file_that_lost_its_federated_lists_is_judged_as_coco_and_says_so(tmp_path: Path) -> None:
    truth = coco_truth(5, 6, 8)
    for category in truth["categories"]:
        category["frequency"] = "c"
    metrics = evaluate(write(tmp_path, truth), odd_detections(truth, 30, 8))
    assert metrics.protocol == "coco"
    assert metrics.values["APc"] == metrics.values["AP"]
    assert any("judged as COCO" in note for note in metrics.notes)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_detections_and_no_objects(tmp_path: Path, engine: Engine) -> None:
    truth = coco_truth(20, 4, 10)
    nothing = evaluate(write(tmp_path, truth), DetectionBuilder().build(), engine=engine)
    assert set(nothing.values.values()) == {0.0, None}
    assert {n for n, v in nothing.values.items() if v is None} == {"APr", "APc", "APf"}
    detections = odd_detections(truth, 30, 10)
    truth["annotations"] = []
    empty = evaluate(write(tmp_path, truth), detections, engine=engine)
    assert set(empty.values.values()) == {None}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crowd_box_counts_for_nothing(tmp_path: Path, engine: Engine) -> None:
    """Two detections in the crowd would be wrong without it; the box itself is not to be found."""
    box = {"category_id": 1, "image_id": 1, "area": 2500.0, "iscrowd": 0}
    crowd = {**box, "id": 2, "bbox": [200, 200, 300, 300], "area": 90000.0, "iscrowd": 1}
    truth = {
        "images": [{"id": 1, "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "one"}],
        "annotations": [{**box, "id": 1, "bbox": [10, 10, 50, 50]}, crowd],
    }
    builder = DetectionBuilder()
    boxes = [[210, 210, 260, 260], [300, 300, 350, 350], [10, 10, 60, 60]]
    builder.add(1, [1, 1, 1], boxes, [0.9, 0.8, 0.7])
    metrics = evaluate(write(tmp_path, truth), builder.build(), engine=engine)
    assert metrics.values["AP"] == pytest.approx(100)
    truth["annotations"].pop()
    metrics = evaluate(write(tmp_path, truth), builder.build(), engine=engine)
    assert metrics.values["AP"] == pytest.approx(100 / 3)


@pytest.mark.slow
def test_photographs(tmp_path: Path) -> None:
    gt = Path(__file__).parents[2].parent / "shared" / "data" / "cocosmall" / "instances_val.json"
    if not gt.exists():
        pytest.skip("the small COCO set does not lie beside the checkout")
    detections = odd_detections(json.loads(gt.read_text()), 120, 12)
    official = official_coco(gt, as_records(detections))
    for engine in ENGINES:
        metrics = evaluate(gt, detections, engine=engine)
        np.testing.assert_allclose(
            [metrics.values[name] for name in OFFICIAL], official.stats * 100, rtol=0, atol=1e-10
        )
