"""Mask AP by every engine against lvis and pycocotools as their users run them; files of masks; what is missing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from clis_core.errors import DataError
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import prepare
from clis_core.evaluation.results_json import to_coco_json
from clis_core.evaluation.rles import Rles
from tests.evaluation.masks import (
    coco_world,
    lvis_world,
    mask_results,
    masked_detections,
    official_coco,
)
from tests.evaluation.odd_world import in_full, official_lvis, write

COCO_NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@1", "AR@10", "AR@100", "ARs@100", "ARm@100", "ARl@100"]


def judged(gt, found, engine):
    from clis_core.evaluation.evaluate import evaluate_in_full

    return evaluate_in_full(prepare(gt, engine, masks=True), found)


def assert_same(values, official):
    for name, wanted in official.items():
        got = values[f"{name}_mask"]
        assert (got is None) == (wanted == -1), name
        assert got is None or abs(got / 100 - wanted) < 1e-12, name


@pytest.mark.parametrize("engine", ["hotcoco", "lvis"])
@pytest.mark.parametrize(("seed", "per_image"), [(0, 30), (1, 320)])
def test_lvis(tmp_path, engine, seed, per_image):
    truth = lvis_world(seed)
    gt, found = write(tmp_path, truth), masked_detections(truth, per_image, seed)
    values, precision = official_lvis(gt, mask_results(found), "segm")
    metrics = judged(gt, found, engine)
    assert_same(metrics.values, values)
    assert 0.01 < values["AP"] < 0.9
    boxes = in_full(gt, found, engine=engine)
    assert {k: v for k, v in metrics.values.items() if not k.endswith("_mask")} == boxes.values
    assert boxes.values["AP"] != pytest.approx(metrics.values["AP_mask"], abs=0.1)
    for record, of_class in zip(
        metrics.records["per_class"]["classes"], np.moveaxis(precision[..., 0], 2, 0), strict=True
    ):
        wanted = None if of_class.max() == -1 else pytest.approx(of_class.mean() * 100, abs=1e-10)
        assert record["AP_mask"] == wanted


@pytest.mark.parametrize("engine", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("seed", [0, 1])
def test_coco(tmp_path, engine, seed):
    truth = coco_world(seed)
    gt, found = write(tmp_path, truth), masked_detections(truth, 120, seed)
    stats = official_coco(gt, mask_results(found))
    metrics = judged(gt, found, engine)
    assert any(box["iscrowd"] for box in truth["annotations"])
    assert_same(metrics.values, dict(zip(COCO_NAMES, stats.tolist(), strict=True)))
    assert 0.01 < stats[0] < 0.9


@pytest.mark.parametrize("engine", ["pycocotools", "hotcoco", "lvis"])
def test_no_detections(tmp_path, engine):
    truth = lvis_world(2) if engine == "lvis" else coco_world(2)
    found = masked_detections(truth, 10, 2)
    nothing = found.only(np.zeros(len(found), np.bool_))
    assert judged(write(tmp_path, truth), nothing, engine).values["AP_mask"] == 0


@pytest.mark.parametrize("engine", ["pycocotools", "hotcoco"])
def test_a_coco_object_without_a_mask_is_a_crowd_of_its_box(tmp_path, engine):
    truth = coco_world(3)
    found = masked_detections(truth, 60, 3)
    for box in truth["annotations"][::4]:
        del box["segmentation"]
    metrics = judged(write(tmp_path, truth), found, engine)
    x, y, w, h = np.array([b["bbox"] for b in truth["annotations"]]).T
    for n, box in enumerate(truth["annotations"]):
        if "segmentation" not in box:
            left, right, top, bottom = x[n], x[n] + w[n], y[n], y[n] + h[n]
            box.update(iscrowd=1, segmentation=[[left, top, right, top, right, bottom, left, bottom]])
    official = official_coco(write(tmp_path, truth, "crowds.json"), mask_results(found))
    assert_same(metrics.values, dict(zip(COCO_NAMES, official.tolist(), strict=True)))
    assert any("objects have no mask" in note and "neither as right" in note for note in metrics.notes)


@pytest.mark.parametrize("size", [(0, 0), (0, 2**31 - 1), (2**31 - 1, 2**31 - 1)])
def test_images_of_impossible_sizes_are_named(tmp_path, size):
    truth = coco_world(3)
    truth["images"][0].update(height=size[0], width=size[1])
    truth["annotations"][0].update(image_id=truth["images"][0]["id"], segmentation=None)
    with pytest.raises(DataError, match=r"gt\.json.*(images\[0\]|too large for a mask)"):
        prepare(write(tmp_path, truth), "pycocotools", masks=True)


def test_a_box_that_reaches_far_beyond_its_image_makes_the_crowd_of_what_is_in_it(tmp_path):
    from pycocotools import mask as coco_mask

    truth = coco_world(3)
    random = np.random.default_rng(0)
    truth["images"] = [{**image, "height": 60, "width": 80} for image in truth["images"]]
    for box in truth["annotations"]:
        box["bbox"] = [*(random.random(2) * 120 - 40).tolist(), *(random.random(2) * 90 + 1).tolist()]
        box["segmentation"] = None
    truth["annotations"][0]["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    truth["annotations"][1]["bbox"] = [-1e12, -1e12, 2e12, 2e12]
    masks = prepare(write(tmp_path, truth), masks=True).masks.masks
    assert coco_mask.area(masks[1]) == 60 * 80
    for box, mask in zip(truth["annotations"][2:], masks[2:], strict=True):
        assert mask == coco_mask.frPyObjects(np.array([box["bbox"]]), 60, 80)[0]


@pytest.mark.parametrize("engine", ["lvis", "hotcoco"])
def test_an_lvis_object_without_a_mask_goes_and_its_class_is_not_exhaustive(tmp_path, engine):
    truth = lvis_world(4)
    found = masked_detections(truth, 60, 4)
    for box in truth["annotations"][::4]:
        box["segmentation"] = []
    metrics = judged(write(tmp_path, truth), found, engine)
    for box in truth["annotations"][::4]:
        (image,) = (i for i in truth["images"] if i["id"] == box["image_id"])
        image["not_exhaustive_category_ids"].append(box["category_id"])
    truth["annotations"] = [b for b in truth["annotations"] if b["segmentation"]]
    official, _ = official_lvis(write(tmp_path, truth, "less.json"), mask_results(found), "segm")
    assert_same(metrics.values, official)
    assert any("objects have no mask" in note for note in metrics.notes)


def test_a_file_without_masks_is_judged_by_boxes_alone(tmp_path):
    truth = lvis_world(5)
    found = masked_detections(truth, 20, 5)
    for box in truth["annotations"]:
        del box["segmentation"]
    metrics = judged(write(tmp_path, truth), found, None)
    assert "AP_mask" not in metrics.values
    assert any("has no masks" in note for note in metrics.notes)


def test_a_wrong_segmentation_is_named_before_anything_is_judged(tmp_path):
    truth = lvis_world(6)
    truth["annotations"][5]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    gt = write(tmp_path, truth)
    prepare(gt)
    with pytest.raises(DataError, match=r"gt\.json: annotations\[5\]\.segmentation: a polygon has 7 numbers") as caught:
        prepare(gt, masks=True)
    assert "polygons" in caught.value.hint


def test_a_mask_too_small_for_a_pixel_is_an_object_that_nobody_finds(tmp_path):
    truth = lvis_world(7)
    found = masked_detections(truth, 40, 7)
    truth["annotations"][0]["segmentation"] = [[70.1, 70.1, 70.2, 70.1, 70.2, 70.2]]
    gt = write(tmp_path, truth)
    official, _ = official_lvis(gt, mask_results(found), "segm")
    metrics = judged(gt, found, "hotcoco")
    assert_same(metrics.values, official)
    assert not any("have no mask" in note for note in metrics.notes)


def test_masks_are_written_and_read(tmp_path):
    found = masked_detections(lvis_world(8), 10, 8)
    found.save(tmp_path / "found.npz")
    again = Detections.load(tmp_path / "found.npz")
    assert again.masks.records() == found.masks.records()
    some = np.arange(len(found)) % 3 == 1
    assert again.only(some).masks.records() == [m for m, s in zip(found.masks.records(), some, strict=True) if s]
    to_coco_json(found, tmp_path / "found.json")
    records = json.loads((tmp_path / "found.json").read_text())
    assert [r["segmentation"] for r in records] == [r["segmentation"] for r in mask_results(found)]
    assert len(records[0]["bbox"]) == 4
    to_coco_json(found, tmp_path / "masks.json", boxes=False)
    assert json.loads((tmp_path / "masks.json").read_text()) == mask_results(found)


def test_which_masks_are_empty():
    found = masked_detections(lvis_world(9), 60, 9)
    from pycocotools import mask as coco_mask

    areas = np.array([coco_mask.area(m) for m in found.masks.records()])
    assert (areas == 0).any()
    assert np.array_equal(found.masks.empty(), areas == 0)


def test_damaged_masks_of_a_file(tmp_path):
    truth = coco_world(10)
    gt, found = write(tmp_path, truth), masked_detections(truth, 10, 10)
    sizes = found.masks.sizes.copy()
    sizes[7] = [3, 3]
    damaged = replace(found, masks=Rles(sizes, found.masks.lengths, found.masks.text), source="x.npz")
    with pytest.raises(DataError, match=r"mask of detection 7 of x\.npz is damaged"):
        judged(gt, damaged, "pycocotools")
    with pytest.raises(ValueError, match="do not fit together"):
        Rles(sizes, found.masks.lengths, found.masks.text[1:])
    text = found.masks.text.copy()
    text[0] = 200
    assert Rles(found.masks.sizes, found.masks.lengths, text).first_wrong() == 0
