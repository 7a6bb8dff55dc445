"""A mask head through the jobs: a training that resumes, evaluation, prediction, export, and what is refused."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from clis_core.categories import Categories, Category
from clis_core.config.load import Layer, load_config, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.data.named_pictures import find_pictures
from clis_core.data.segmentation import runs_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.detectors.load import Loaded
from clis_core.errors import ConfigError, DataError
from clis_core.evaluation.detections import Detections
from clis_core.jobs import detect
from clis_core.jobs.doctor.drawn import drawn_batch
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.evaluate_file import evaluate_file
from clis_core.jobs.export import ExportOptions, export
from clis_core.jobs.inference import NamedDetector
from clis_core.jobs.model_card import model_card
from clis_core.jobs.predict import PredictOptions, predict
from clis_core.jobs.report import report
from clis_core.jobs.train import train
from clis_core.methods.build import build_method
from clis_core.report import SilentReporter
from tests.detectors.export.conftest import sharp_detector
from tests.detectors.test_faster_rcnn import picture
from tests.draw import draw_coco, draw_lvis

QUICK = {
    "train": {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False},
    "detector": {"backbone": {"name": "mobilenet_v2"}, "pyramid": {"channels": 16}},
}
QUIET = SilentReporter()


def config_for(root, preset="mask-baseline-tiny", **values):
    return resolve([preset_layer(preset), Layer("quick", {"data": {"root": root}, **QUICK}), Layer("test", values)])


@pytest.fixture(scope="module")
def run(drawn_lvis, tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "run"
    return train(config_for(drawn_lvis), folder, reporter=QUIET).run


def test_a_training_resumes_bit_for_bit(drawn_lvis, run, tmp_path):
    half = tmp_path / "half"
    train(config_for(drawn_lvis), half, reporter=QUIET)
    checkpoints_of(half)[-1].unlink()  # as if killed after step 2
    train(load_config(half / "config.toml"), half, resume=True, reporter=QUIET)
    prints = {fingerprint(detector_from_checkpoint(checkpoints_of(f)[-1]).detector.state_dict()) for f in (run, half)}
    assert len(prints) == 1
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line["mask"] for line in lines if "mask" in line]
    assert len(losses) == 4
    assert all(0 < value < 2 for value in losses)


def test_an_evaluation_tells_of_boxes_and_masks(run, tmp_path, monkeypatch):
    metrics = evaluate_run(run, load_config(run / "config.toml"), save_json=True, reporter=QUIET)
    found = Detections.load(run / "eval-val" / "detections.npz")
    assert {"AP", "AP_mask", "APr_mask", "AP50_mask"} <= metrics.values.keys()
    assert len(found.masks) == len(found) > 50
    records = json.loads((run / "eval-val" / "detections.json").read_text())
    assert [r["segmentation"]["counts"].encode() for r in records] == [m["counts"] for m in found.masks.records()]
    table = json.loads((run / "eval-val" / "per_class.json").read_text())
    assert all("AP_mask" in c for c in table["classes"])
    before = (run / "eval-val" / "detections.npz").read_bytes()
    monkeypatch.setattr(detect, "PART", 3)  # joined from other parts it is the same file
    evaluate_run(run, load_config(run / "config.toml"), reporter=QUIET)
    assert (run / "eval-val" / "detections.npz").read_bytes() == before
    again = evaluate_file(
        run / "eval-val" / "detections.npz",
        load_config(run / "config.toml").data.root / "lvis_v1_val.json",
        reporter=QUIET,
    )
    assert again.values == metrics.values


def test_masks_lie_where_their_boxes_do(run):
    """Nothing beyond the box but the pixels that it cuts."""
    evaluate_run(run, load_config(run / "config.toml"), reporter=QUIET)
    found = Detections.load(run / "eval-val" / "detections.npz")
    seen = 0
    for rle, (x1, y1, x2, y2) in zip(found.masks.records(), found.boxes.tolist(), strict=True):
        if len(runs_of(rle["counts"])) > 1:
            seen += 1
            x, y, w, h = coco_mask.toBbox(rle)
            assert (x >= np.floor(x1), y >= np.floor(y1)) == (True, True)
            assert (x + w <= np.ceil(x2), y + h <= np.ceil(y2)) == (True, True)
    assert seen > 20


def without_masks(root, split="train"):
    path = root / f"lvis_v1_{split}.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        del one["segmentation"]
    path.write_text(json.dumps(content))


def test_annotations_without_a_single_mask_are_refused(tmp_path):
    root = draw_lvis(tmp_path / "world")
    without_masks(root)
    with pytest.raises(DataError, match=r"lvis_v1_train\.json: not a single box has a segmentation") as caught:
        train(config_for(root), tmp_path / "run", reporter=QUIET)
    assert "detector.mask.enabled=false" in caught.value.hint


def test_a_wrong_segmentation_stops_the_training_by_name(tmp_path):
    root = draw_lvis(tmp_path / "world")
    path = root / "lvis_v1_train.json"
    content = json.loads(path.read_text())
    for one in content["annotations"]:
        one["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"lvis_v1_train\.json: annotations\[\d+\]\.segmentation: a polygon has 7"):
        train(config_for(root), tmp_path / "run", reporter=QUIET)


def test_coco_with_crowds_and_missing_masks(tmp_path):
    """Its crowd's segmentation is an empty list, as is that of some boxes here."""
    root = draw_coco(tmp_path / "world")
    for split in ("train", "val"):
        path = root / "annotations" / f"instances_{split}2017.json"
        content = json.loads(path.read_text())
        for one in content["annotations"][::3]:
            one["segmentation"] = []
        path.write_text(json.dumps(content))
    train(config_for(root), tmp_path / "run", reporter=QUIET)
    metrics = evaluate_run(tmp_path / "run", config_for(root), reporter=QUIET)
    assert metrics.values["AP_mask"] is not None
    assert any("have no mask" in note for note in metrics.notes)


@pytest.fixture
def detector():
    sharp = sharp_detector(mask={"enabled": True, "convs": 1, "channels": 8, "pool": 7})
    torch.manual_seed(4)
    torch.nn.init.normal_(sharp.mask_head.predictor.mask_fcn_logits.weight, std=1.0)
    categories = Categories(Category(10 * i, f"thing {i}") for i in range(1, 6))
    return NamedDetector(Loaded(sharp, categories, 7), Path("some.pt"))


def test_prediction_writes_and_draws_masks(detector, tmp_path):
    photo = tmp_path / "1.png"
    Image.fromarray(np.full((400, 500, 3), 128, np.uint8)).save(photo)
    options = PredictOptions(threshold=0.0, formats=("pictures", "json", "coco"), max_labels=0)
    predict(detector, *find_pictures([str(photo)]), tmp_path / "out", options, reporter=QUIET)
    found = detector(photo)
    assert found.masks.shape == (len(found), 14, 14)
    rles = found.rles()
    assert [d["mask"]["counts"].encode() for d in _drawn(tmp_path)["detections"]] == [r["counts"] for r in rles]
    coco = json.loads((tmp_path / "out" / "coco-results.json").read_text())
    assert [r["segmentation"]["size"] for r in coco] == [[400, 500]] * len(found)
    some = found.above(float(found.scores[3]))
    assert torch.equal(some.masks, found.masks[: len(some)])
    covered = np.zeros((400, 500), bool)
    for rle in rles:
        values = np.arange(len(runs_of(rle["counts"]))) % 2 == 1
        covered |= np.repeat(values, runs_of(rle["counts"])).reshape(500, 400).T
    assert 0.02 < covered.mean() < 0.999
    tinted = (np.asarray(Image.open(tmp_path / "out" / "pictures" / "1.png")).astype(int) != 128).any(axis=2)
    assert tinted[covered].all()
    assert (tinted & ~covered).mean() < 0.3  # the boxes' lines


def _drawn(folder):
    (image,) = json.loads((folder / "out" / "detections.json").read_text())["images"]
    return image


@pytest.mark.slow
def test_export_checks_masks_as_well(run, drawn_lvis, tmp_path):
    pytest.importorskip("onnxscript")
    config = load_config(run / "config.toml")
    result = export(run, config, tmp_path / "m.onnx", ExportOptions("onnx", check=4), reporter=QUIET)
    assert result.parity.same > 0.99
    assert 0 < result.parity.mask_gap < 0.01
    from clis_core.detectors.load import load_model

    with torch.no_grad():
        (found,) = load_model(tmp_path / "m.onnx").model([picture(60, 90)])
    assert found.masks.shape == (len(found.scores), 14, 14)


def test_masks_need_the_last_nms(run, tmp_path):
    with pytest.raises(ConfigError, match="last NMS") as caught:
        export(
            run, load_config(run / "config.toml"), tmp_path / "m.onnx", ExportOptions("onnx", nms=False), reporter=QUIET
        )
    assert "--no-nms" in caught.value.hint


def test_the_model_card_says_what_it_is(run, tmp_path):
    from clis_core.detectors.export.about import About

    config, shipped = load_config(run / "config.toml"), detector_from_checkpoint(checkpoints_of(run)[-1])
    card = model_card(tmp_path, config, About(config.detector, shipped.categories, 7, "00"), "model.safetensors", 5)
    assert "Mask R-CNN with a feature pyramid" in card


@pytest.mark.parametrize("preset", ["mask-baseline-tiny", "mask-clis-tiny"])
def test_drawn_data_that_memory_is_measured_with_have_masks(preset):
    config = resolve([preset_layer(preset)])
    from clis_core.detectors.build import build_detector

    method = build_method(config.method, build_detector(config.detector, 5), pictures=64).train()
    batch = drawn_batch(config, 5, 2)
    assert method(batch)["mask"] > 0
    assert drawn_batch(resolve([preset_layer("baseline-tiny")]), 5, 1).targets[0].masks is None


def test_the_report_draws_masks_and_tells_their_ap(run, tmp_path):
    evaluate_run(run, load_config(run / "config.toml"), reporter=QUIET)
    report([str(run)], tmp_path / "out.html", pictures=3, reporter=QUIET)
    page = (tmp_path / "out.html").read_text()
    assert "APr_mask" in page
    detections = len(re.findall(r'data-of="p\d+r0d\d+" class="box [^"]*"[^>]*><path d="M', page))
    assert detections == page.count('class="mask"') > 0


def test_the_report_refuses_masks_that_are_damaged(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    evaluate_run(copy, load_config(copy / "config.toml"), reporter=QUIET)
    path = copy / "eval-val" / "detections.npz"
    found = Detections.load(path)
    found.masks.text[found.masks.text == ord("0")] = ord("1")
    found.save(path)
    with pytest.raises(DataError, match=r"mask of detection \d+"):
        report([str(copy)], tmp_path / "out.html", pictures=3, reporter=QUIET)
