"""The job behind `clis export`: files that were checked, weights with a card, results; and what it refuses."""

import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.config.load import Layer, preset_layer, resolve, save_config
from clis_core.detectors.checkpoint import pack
from clis_core.detectors.export import pt2_file
from clis_core.detectors.load import load_model
from clis_core.errors import CheckpointError, ClisError, ConfigError, DataError
from clis_core.evaluation.detections import Detections
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.evaluate_model import evaluate_model
from clis_core.jobs.export import ExportOptions, choose_candidates, export
from clis_core.jobs.export_results import export_results
from clis_core.report import SilentReporter
from tests.detectors.export.conftest import CATEGORIES, about_of, sharp_detector
from tests.detectors.test_faster_rcnn import picture


class Heard(SilentReporter):
    def __init__(self):
        self.texts, self.warnings = [], []

    def info(self, text):
        self.texts.append(text)

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, (height, width) in enumerate([(100, 150), (200, 120), (130, 130)]):
        Image.fromarray(picture(height, width, seed).permute(1, 2, 0).numpy()).save(folder / f"{seed}.png")
    (folder / "notes.txt").touch()
    return folder


def make_run(tmp_path, detector, categories=CATEGORIES, **data):
    """A run folder as a training leaves it, and its config."""
    run = tmp_path / "runs" / "some-run"
    config = resolve(
        [
            preset_layer("baseline-tiny"),
            Layer("test", {"detector": detector.config.model_dump(exclude_none=True), "data": data}),
        ]
    )
    save_config(config, run / "config.toml")
    (run / "checkpoints").mkdir()
    content = pack(detector, detector.state_dict(), categories, 7)
    torch.save(content, run / "checkpoints" / "step-00000007.pt")
    return run, config


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, sharp_detector())


def options(pictures, **changes):
    return ExportOptions(**{"format": "pt2", "images": pictures, "frame": (128, 160), **changes})


def test_a_file_that_was_checked(run, pictures, tmp_path):
    out, heard = tmp_path / "out" / "model.pt2", Heard()
    result = export(*run, out, options(pictures), reporter=heard)
    assert (result.path, result.size) == (out, out.stat().st_size)
    assert result.parity.images == 3
    assert result.parity.same == 1.0
    assert result.parity.uncertain == 0
    assert any("of 3 pictures none needed more than" in text for text in heard.texts)
    assert [p.name for p in out.parent.iterdir()] == ["model.pt2"]
    loaded = load_model(out)
    assert loaded.categories == CATEGORIES
    assert (loaded.model.about.frame, loaded.model.about.batch) == ((128, 160), 1)


@pytest.mark.slow
def test_the_same_as_onnx_with_changed_settings(run, pictures, tmp_path):
    folder, config = run
    post = config.detector.postprocess.model_copy(update={"detections": 5})
    config = config.model_copy(update={"detector": config.detector.model_copy(update={"postprocess": post})})
    result = export(
        folder,
        config,
        tmp_path / "m.onnx",
        options(pictures, format="onnx", batch=1),
        reporter=Heard(),
    )
    assert result.parity.same == 1.0
    (found,) = load_model(tmp_path / "m.onnx").model([picture(128, 160)])
    assert len(found.scores) == 5


def test_a_file_that_finds_something_else_is_not_kept(run, pictures, tmp_path, monkeypatch):
    opened = pt2_file.open_pt2

    def wrong(path, device):
        go, about = opened(path, device)
        return (lambda images, sizes: go(images, sizes)._replace(labels=torch.full((1, 200), 2))), about

    monkeypatch.setattr(pt2_file, "open_pt2", wrong)
    out = tmp_path / "out" / "model.pt2"
    out.parent.mkdir()
    out.write_text("an earlier one")
    with pytest.raises(ClisError, match="does not find what the detector finds, and was not kept") as caught:
        export(*run, out, options(pictures), reporter=Heard())
    assert caught.value.hint
    assert out.read_text() == "an earlier one"
    assert [p.name for p in out.parent.iterdir()] == ["model.pt2"]


def test_too_few_candidates_are_told(run, pictures, tmp_path):
    with pytest.raises(ClisError) as caught:
        export(*run, tmp_path / "m.pt2", options(pictures, candidates=20), reporter=Heard())
    assert caught.value.hint == "More candidates: --candidates 80"


def test_without_pictures_nothing_is_checked(run, tmp_path):
    heard = Heard()
    result = export(*run, tmp_path / "m.pt2", options(None, check=0), reporter=heard)
    assert result.parity is None
    assert any("no picture was looked at" in text for text in heard.texts)
    assert load_model(tmp_path / "m.pt2").step == 7


@pytest.mark.parametrize(
    ("needed", "detections", "expected"),
    [(0, 300, 1280), (100, 300, 1280), (3763, 300, 7680), (128, 10, 256), (129, 10, 512), (10**6, 300, 16_384)],
)
def test_the_number_of_candidates(needed, detections, expected):
    about = about_of(sharp_detector())
    post = about.config.postprocess.model_copy(update={"detections": detections})
    about = replace(about, config=about.config.model_copy(update={"postprocess": post}))
    assert choose_candidates(needed, about) == expected


def test_weights_with_a_card(run, tmp_path):
    pytest.importorskip("safetensors")
    folder, config = run
    (folder / "eval-val").mkdir()
    record = {"step": 7, "images": 12, "metrics": {"AP": 12.34, "APr": None}}
    (folder / "eval-val" / "metrics.json").write_text(json.dumps(record))
    config = config.model_copy(update={"data": config.data.model_copy(update={"root": tmp_path / "secret" / "birds"})})
    result = export(folder, config, tmp_path / "w.safetensors", ExportOptions("safetensors"), reporter=Heard())
    assert load_model(result.path).step == 7
    card = result.card.read_text()
    assert result.card == tmp_path / "w.md"
    assert str(tmp_path) not in card
    assert "secret" not in card
    assert "Boxes: birds." in card
    assert "5 classes: 5 rare" in card
    assert "| val, 12 | 12.3 | - |" in card
    assert result.about.weights in card
    assert "these weights | (to be filled in" in card
    assert "short_side = 128" in card

    # Metrics of other weights say nothing about these.
    (folder / "eval-val" / "metrics.json").write_text(json.dumps({**record, "step": 6}))
    export(folder, config, tmp_path / "w.safetensors", ExportOptions("safetensors"), reporter=Heard())
    assert "Not measured" in result.card.read_text()


@pytest.fixture
def world(tmp_path, drawn_lvis):
    """A run of a random detector with the classes of a drawn data set."""
    truth = json.loads(next(drawn_lvis.rglob("*val*.json")).read_text())
    categories = Categories(Category(c["id"], c["name"], c.get("synset")) for c in truth["categories"])
    detector = sharp_detector(classes=len(categories))
    return make_run(tmp_path, detector, categories, root=drawn_lvis, workers=0), truth


def test_results(world, tmp_path):
    run, truth = world
    out = tmp_path / "out" / "results.json"
    count = export_results(*run, out, reporter=Heard())
    found = json.loads(out.read_text())
    assert len(found) == count > 0
    assert {d["image_id"] for d in found} == {i["id"] for i in truth["images"]}
    assert {d["category_id"] for d in found} <= {c["id"] for c in truth["categories"]}
    assert [p.name for p in out.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize("suffix", ["pt2", "safetensors"])
def test_an_exported_file_measures_like_its_run(world, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    (run, config), _ = world
    path, heard = run / f"model.{suffix}", Heard()
    export(run, config, path, ExportOptions(suffix, check=2), reporter=heard)
    metrics = evaluate_model(path, config, reporter=heard)
    expected = evaluate_run(run, config, reporter=heard)
    assert metrics.values == pytest.approx(expected.values, abs=1e-9)
    written = run / f"{path.name}.eval-val"
    assert json.loads((written / "metrics.json").read_text())["metrics"] == metrics.values
    ours, theirs = (Detections.load(f / "detections.npz") for f in (written, run / "eval-val"))
    assert len(ours) == len(theirs) > 20
    with pytest.raises(ConfigError, match="the graph has a cap") if suffix == "pt2" else nullcontext():
        evaluate_model(path, config, fixed=True, reporter=heard)


def test_too_few_candidates_are_told_at_the_end(world):
    (run, config), _ = world
    path, heard = run / "model.pt2", Heard()
    export(run, config, path, ExportOptions("pt2", frame=(128, 128), check=0, candidates=10), reporter=heard)
    evaluate_model(path, config, reporter=heard)
    assert any("10 candidates may have been too few" in text and "--candidates 40" in text for text in heard.warnings)


def test_a_file_of_other_classes(world, tmp_path):
    (_, config), _ = world
    other = make_run(tmp_path / "other", sharp_detector())
    export(*other, tmp_path / "m.safetensors", ExportOptions("safetensors"), reporter=Heard())
    with pytest.raises(DataError, match="does not have"):
        evaluate_model(tmp_path / "m.safetensors", config, reporter=Heard())


def test_what_is_refused(run, pictures, tmp_path):
    folder, config = run
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "m.pt2"
    for wanted, error, text in (
        (options(pictures, frame=(100, 100)), ConfigError, "multiples of 32"),
        (options(empty), DataError, "no pictures there"),
        (options(None), DataError, "--images FOLDER"),
        (options(pictures, checkpoint="best"), CheckpointError, "no such checkpoint"),
    ):
        with pytest.raises(error) as caught:
            export(folder, config, out, wanted, reporter=Heard())
        assert text in caught.value.message + caught.value.hint
        assert not out.exists()
