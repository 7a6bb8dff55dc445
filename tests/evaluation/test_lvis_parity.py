"""Our LVIS metrics, by either engine, against the package lvis run as its users run it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate
from clis_core.evaluation.metrics import Engine, Metrics
from clis_core.evaluation.results_json import read_detections, to_coco_json
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation.odd_world import OFFICIAL_SAMPLE, as_records, odd_detections, official_lvis, write

ENGINES: list[Engine] = ["hotcoco", "lvis"]
NAMES = [
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "APr",
    "APc",
    "APf",
    "AR@300",
    "ARs@300",
    "ARm@300",
    "ARl@300",
]


def assert_same(metrics: Metrics, official: tuple[dict[str, float], np.ndarray]) -> None:
    values, precision = official
    assert list(metrics.values) == NAMES
    for name in NAMES:
        ours = metrics.values[name]
        if values[name] == -1:
            assert ours is None, name
        else:
            assert ours is not None, name
            assert abs(ours / 100 - values[name]) < 1e-12, name
    assert len(metrics.per_class) == precision.shape[2]
    for ours, theirs in zip(metrics.per_class.values(), np.moveaxis(precision[..., 0], 2, 0), strict=True):
        assert ours == (None if theirs.max() == -1 else pytest.approx(theirs.mean() * 100, abs=1e-10))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(1, 12),
    classes=st.integers(3, 40),
    per_image=st.sampled_from([1, 7, 40, 320]),
)
def test_random_files(tmp_path: Path, seed: int, images: int, classes: int, per_image: int) -> None:
    truth = synthetic_truth(images, classes, seed)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, per_image, seed)
    official = official_lvis(gt, as_records(detections))
    for engine in ENGINES:
        assert_same(evaluate(gt, detections, engine=engine), official)


def test_every_kind_of_detection_occurs_in_the_random_files() -> None:
    truth = synthetic_truth(12, 40, 0)
    found = odd_detections(truth, 320, 0)
    images = {i["id"]: i for i in truth["images"]}
    present = {(b["image_id"], b["category_id"]) for b in truth["annotations"]}
    kinds: dict[str, int] = {}
    for image, category in zip(found.image_ids.tolist(), found.category_ids.tolist(), strict=True):
        kind = "unlabelled"
        if category in images[image]["not_exhaustive_category_ids"]:
            kind = "not exhaustive"
        elif category in images[image]["neg_category_ids"]:
            kind = "negative"
        elif (image, category) in present:
            kind = "present"
        kinds[kind] = kinds.get(kind, 0) + 1
    assert len(kinds) == 4
    assert np.unique(found.image_ids, return_counts=True)[1].max() > 300
    sizes = found.xywh()[:, 2:]
    assert (sizes == 0).any()
    assert (sizes < 0).any()
    assert len(np.unique(found.scores)) < len(found)
    assert len(np.unique(found.xywh(), axis=0)) < len(found)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_results_file_counts_exactly_as_written(tmp_path: Path, engine: Engine) -> None:
    """Decimal boxes: x + w - x is not w, and one in ten IoUs here is a tie with a threshold."""
    random = np.random.default_rng(3)
    truth = synthetic_truth(6, 10, 3)
    records = []
    for box in truth["annotations"]:
        for cut in (0.5, 0.55, 0.6, 0.75, 0.9, 1.0):
            x, y, width, height = box["bbox"]
            records.append(
                {
                    "image_id": box["image_id"],
                    "category_id": box["category_id"],
                    "bbox": [x, y, width, height * cut],
                    "score": random.random(),
                    "segmentation": {"size": [480, 640], "counts": "}],{"},
                }
            )
    gt, results = write(tmp_path, truth), write(tmp_path, records, "results.json")
    assert_same(evaluate(gt, read_detections(results), engine=engine), official_lvis(gt, records))


@pytest.mark.parametrize("engine", ENGINES)
def test_categories_that_the_file_lacks_take_up_places(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(4, 10, 5)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 400, 5)
    detections.category_ids[::3] = 5000
    metrics = evaluate(gt, detections, engine=engine)
    assert_same(metrics, official_lvis(gt, as_records(detections)))
    (note,) = [n for n in metrics.notes if "no such category" in n]
    assert note.startswith("Detection 0 of the detector (image ")
    assert f"{len(detections.category_ids[::3])} such" in note


@pytest.mark.parametrize("engine", ENGINES)
def test_lists_that_name_present_unknown_and_repeated_classes(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(12, 20, 31)
    for image in truth["images"]:
        present = [b["category_id"] for b in truth["annotations"] if b["image_id"] == image["id"]]
        image["neg_category_ids"] = [999_999, 0, *image["neg_category_ids"] * 2, *present]
        image["not_exhaustive_category_ids"] += [999_999, *image["neg_category_ids"][2:4]]
    truth["images"][0].update(neg_category_ids=[], not_exhaustive_category_ids=[])
    truth["images"].reverse()
    truth["categories"].reverse()
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 80, 31)
    assert_same(evaluate(gt, detections, engine=engine), official_lvis(gt, as_records(detections)))


@pytest.mark.parametrize("engine", ENGINES)
def test_order_of_equal_scores_is_kept(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(5, 12, 7)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 350, 7)
    detections = replace(detections, scores=np.round(detections.scores * 2) / 2)
    assert_same(evaluate(gt, detections, engine=engine), official_lvis(gt, as_records(detections)))


@pytest.mark.parametrize("engine", ENGINES)
def test_boxes_without_area_and_boxes_of_nowhere(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(8, 12, 9)
    for box in truth["annotations"][::5]:
        box["area"] = 0
    truth["annotations"][3]["image_id"] = 999_999
    truth["annotations"][4]["category_id"] = 999_999
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 60, 9)
    metrics = evaluate(gt, detections, engine=engine)
    assert_same(metrics, official_lvis(gt, as_records(detections)))
    assert any("2 annotations belong to images or categories" in note for note in metrics.notes)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ids", ["from zero", "all the same", "none"])
def test_bad_annotation_ids_are_replaced(tmp_path: Path, engine: Engine, ids: str) -> None:
    truth = synthetic_truth(8, 12, 11)
    detections = odd_detections(truth, 60, 11)
    official = official_lvis(write(tmp_path, truth), as_records(detections))
    for box in truth["annotations"]:
        box["id"] = box["id"] - 1 if ids == "from zero" else 1
        if ids == "none":
            del box["id"]
    metrics = evaluate(write(tmp_path, truth), detections, engine=engine)
    assert_same(metrics, official)
    assert any("replaced by 1, 2, ..." in note for note in metrics.notes)


@pytest.mark.parametrize("engine", ENGINES)
def test_annotations_without_area_take_that_of_their_box(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(8, 12, 13)
    for box in truth["annotations"]:
        box["area"] = box["bbox"][2] * box["bbox"][3]
    detections = odd_detections(truth, 60, 13)
    official = official_lvis(write(tmp_path, truth), as_records(detections))
    for box in truth["annotations"][::2]:
        del box["area"]
    metrics = evaluate(write(tmp_path, truth), detections, engine=engine)
    assert_same(metrics, official)
    assert any("have no area" in note for note in metrics.notes)


def test_ignored_and_crowd_boxes_by_the_slow_engine(tmp_path: Path) -> None:
    truth = synthetic_truth(8, 12, 15)
    for box in truth["annotations"][::4]:
        box["ignore"] = 1
    for box in truth["annotations"][1::4]:
        box["iscrowd"] = 1
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 60, 15)
    metrics = evaluate(gt, detections, engine="lvis")
    assert_same(metrics, official_lvis(gt, as_records(detections)))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_detections(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(20, 6, 17)
    nothing = read_detections(write(tmp_path, [], "results.json"))
    metrics = evaluate(write(tmp_path, truth), nothing, engine=engine)
    sizes = np.array([b["area"] for b in truth["annotations"]])
    assert (sizes < 32**2).any()
    assert metrics.values == dict.fromkeys(NAMES, 0.0)
    assert any("no detections" in note for note in metrics.notes)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_objects(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(3, 6, 19)
    detections = odd_detections(truth, 30, 19)
    truth["annotations"] = []
    metrics = evaluate(write(tmp_path, truth), detections, engine=engine)
    assert metrics.values == dict.fromkeys(NAMES)
    assert set(metrics.per_class.values()) == {None}


def test_what_we_write_means_the_same_to_lvis(tmp_path: Path) -> None:
    truth = synthetic_truth(8, 12, 21)
    gt = write(tmp_path, truth)
    detections = odd_detections(truth, 60, 21)
    to_coco_json(detections, tmp_path / "results.json")
    records = json.loads((tmp_path / "results.json").read_text())
    assert_same(evaluate(gt, detections), official_lvis(gt, records))


def test_classes_of_a_group_average_to_its_metric(tmp_path: Path) -> None:
    truth = synthetic_truth(30, 9, 23)
    metrics = evaluate(write(tmp_path, truth), odd_detections(truth, 60, 23))
    for name, group in (("AP", "rcf"), ("APr", "r"), ("APc", "c"), ("APf", "f")):
        members = [metrics.per_class[c["id"]] for c in truth["categories"] if c["frequency"] in group]
        present = [ap for ap in members if ap is not None]
        assert metrics.values[name] == pytest.approx(sum(present) / len(present), abs=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
def test_groups_that_are_given_go_before_the_frequency_of_the_file(tmp_path: Path, engine: Engine) -> None:
    truth = synthetic_truth(30, 9, 25)
    detections = odd_detections(truth, 60, 25)
    turned = {"r": "f", "f": "r", "c": "c"}
    groups = {c["id"]: turned[c["frequency"]] for c in truth["categories"]}
    before = evaluate(write(tmp_path, truth), detections, engine=engine)
    for category in truth["categories"]:
        del category["frequency"]
    after = evaluate(write(tmp_path, truth), detections, engine=engine, groups=groups)
    assert after.values["APr"] == before.values["APf"]
    assert after.values["APf"] == before.values["APr"]
    assert after.values["AP"] == before.values["AP"]


@pytest.mark.slow
@pytest.mark.parametrize("per_image", [40, 420])
def test_the_official_sample(per_image: int) -> None:
    if not OFFICIAL_SAMPLE.exists():
        pytest.skip("lvis_val_100.json, the official sample of LVIS v0.5, does not lie beside the checkout")
    truth = json.loads(OFFICIAL_SAMPLE.read_text())
    detections = odd_detections(truth, per_image, 27)
    federated = [i for i in truth["images"] if i["neg_category_ids"]]
    # Random categories seldom meet those that an image is judged on, so some are pointed there.
    for number, image in enumerate(federated):
        there = np.flatnonzero(detections.image_ids == image["id"])[:9]
        detections.category_ids[there] = np.resize(image["neg_category_ids"] + image["not_exhaustive_category_ids"], 9)
        detections.scores[there[0]] = 1 - number / 1000
    official = official_lvis(OFFICIAL_SAMPLE, as_records(detections))
    assert 0.05 < official[0]["AP"] < 0.95
    for engine in ENGINES:
        assert_same(evaluate(OFFICIAL_SAMPLE, detections, engine=engine), official)


def test_float32_and_float64_detections_agree(tmp_path: Path) -> None:
    truth = synthetic_truth(8, 12, 29)
    gt = write(tmp_path, truth)
    found = odd_detections(truth, 60, 29)
    wide = Detections(
        found.image_ids, found.category_ids, found.boxes.astype(np.float64), found.scores.astype(np.float64)
    )
    assert evaluate(gt, found).values == evaluate(gt, wide).values
