"""The job behind `clis eval`: its files, stopped and gone on with, shared by two processes, without a cap."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clis_core.config.load import Layer, load_config, preset_layer, resolve, save_config
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint
from clis_core.errors import CheckpointError, ConfigError, DataError, Interrupted
from clis_core.evaluation import predict as predicting
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.fixed import top_per_class
from clis_core.evaluation.parts import Parts
from clis_core.files import locked
from clis_core.jobs import detect, eval_files
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.evaluate_file import evaluate_file
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.draw import draw_lvis
from tests.processes import ENVIRONMENT, TORCHRUN, kill_when, run_module

FILES = {"metrics.json", "per_class.json", "mistakes.json", "calibration.json", "detections.npz"}


class Heard(SilentReporter):
    def __init__(self):
        self.texts, self.steps = [], []

    def info(self, text):
        self.texts.append(text)

    def warn(self, text):
        self.texts.append(text)

    def progress(self, task, done, total, figures=None):
        self.steps.append((done, total))


def make_run(root, run, iterations=3):
    values = {
        "data": {"root": root},
        "train": {
            "iterations": iterations,
            "batch": 2,
            "checkpoint_every": iterations,
            "warmup": 1,
            "eval_at_end": False,
        },
        "detector": {"backbone": {"name": "mobilenet_v2"}},
    }
    return train(resolve([preset_layer("baseline-tiny"), Layer("test", values)]), run, reporter=SilentReporter()).run


@pytest.fixture(scope="module")
def trained(drawn_lvis, tmp_path_factory):
    """A run of three steps on the drawn data; copy it, do not change it."""
    return make_run(drawn_lvis, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def run(trained, tmp_path):
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    save_config(load_config(trained / "config.toml"), copy / "config.toml")
    last = checkpoints_of(trained)[-1]
    (copy / "checkpoints" / last.name).write_bytes(last.read_bytes())
    return copy


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(detect, "PART", 3)
    monkeypatch.setattr(detect, "UNCAPPED_PART", 2)


def evaluate(run, reporter=None, **options):
    return evaluate_run(run, load_config(run / "config.toml"), reporter=reporter or SilentReporter(), **options)


@pytest.fixture
def written(monkeypatch):
    """Detections without a cap by part, as they were written."""
    many, real = {}, Parts.write

    def write(self, part, found, every):
        many[part] = 0 if every is None else len(every)
        real(self, part, found, every)

    monkeypatch.setattr(Parts, "write", write)
    return many


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


def test_files(run, drawn_lvis):
    metrics = evaluate(run, save_json=True)
    out = run / "eval-val"
    assert contents(out).keys() == FILES | {"detections.json"}
    assert not (out / ".parts").exists()
    records = {name: json.loads((out / name).read_text()) for name in FILES if name.endswith("json")}
    assert all((r["step"], r["images"]) == (3, 12) for r in records.values())
    assert records["metrics.json"]["metrics"] == metrics.values
    train_truth = json.loads((drawn_lvis / "lvis_v1_train.json").read_text())
    counts = {c["id"]: c["image_count"] for c in train_truth["categories"]}
    rows = records["per_class.json"]["classes"]
    assert {row["id"]: row["train_images"] for row in rows} == counts
    assert {r["format"] for n, r in records.items() if n != "metrics.json"} == {
        "clis-per-class",
        "clis-mistakes",
        "clis-calibration",
    }


@pytest.mark.parametrize("fixed", [False, True])
def test_stopped_and_gone_on_with(run, small_parts, monkeypatch, written, fixed):
    """Whatever was detected before is not detected again, and the files are those of an uninterrupted evaluation."""
    monkeypatch.setattr(predicting, "PER_CLASS", 40)
    monkeypatch.setattr(detect, "PER_CLASS", 40)
    evaluate(run, fixed=fixed)
    whole, sizes = contents(run / "eval-val"), dict(written)
    written.clear()
    for name in whole:
        (run / "eval-val" / name).unlink()

    class Stopping(Heard):
        def progress(self, task, done, total, figures=None):
            super().progress(task, done, total)
            if done == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"):
        evaluate(run, Stopping(), fixed=fixed)
    assert contents(run / "eval-val") == {}
    there = set(written)
    written.clear()
    again = Heard()
    evaluate(run, again, fixed=fixed)
    assert again.steps[-1] == (6, 6)
    assert len(there) == (3 if fixed else 2)
    assert set(written) == set(sizes) - there
    assert sum(written.values()) <= 1.2 * sum(sizes[n] for n in written), "floors come from the parts before"
    assert any("of the detections are there already" in text for text in again.texts)
    assert contents(run / "eval-val") == whole


def test_parts_of_another_evaluation_are_not_used(run, small_parts):
    class Stopping(Heard):
        def progress(self, task, done, total, figures=None):
            if done == 7:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        evaluate(run, Stopping())
    config = load_config(run / "config.toml")
    post = config.detector.postprocess.model_copy(update={"detections": 3})
    config = config.model_copy(update={"detector": config.detector.model_copy(update={"postprocess": post})})
    heard = Heard()
    evaluate_run(run, config, reporter=heard)
    assert heard.steps[-1] == (12, 12)
    found = Detections.load(run / "eval-val" / "detections.npz")
    assert np.unique(found.image_ids, return_counts=True)[1].max() == 3


@pytest.mark.parametrize("most", [15, 10_000])
def test_without_a_cap_on_an_image(run, small_parts, monkeypatch, written, drawn_lvis, most):
    """The best of each class over all images are those that a detector without a cap gives, floors or not."""
    for module in (predicting, detect):
        monkeypatch.setattr(module, "PER_CLASS", most)
    monkeypatch.setattr("clis_core.evaluation.evaluate.PER_CLASS", most)
    evaluate(run)
    ordinary = contents(run / "eval-val")
    config = load_config(run / "config.toml")
    post = config.detector.postprocess.model_copy(update={"detections": 100_000})
    uncapped = config.model_copy(update={"detector": config.detector.model_copy(update={"postprocess": post})})
    evaluate_run(run, uncapped, reporter=SilentReporter())
    every = Detections.load(run / "eval-val" / "detections.npz")
    expected = every.only(top_per_class(every, most))
    assert (len(expected) < len(every)) == (most == 15)

    metrics = evaluate(run, fixed=True)
    if most == 15:
        assert len(expected) < sum(written.values()) < len(every) / 2, "floors keep detections few"
        assert written[5] < written[0] / 2
    else:
        assert sum(written.values()) == len(every)
    found = Detections.load(run / "eval-val" / "detections-fixed.npz")
    assert found.image_ids.tolist() == expected.image_ids.tolist()
    assert found.category_ids.tolist() == expected.category_ids.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)
    fixed = contents(run / "eval-val")
    assert fixed["detections.npz"] == ordinary["detections.npz"]
    assert {n: v for n, v in metrics.values.items() if "_" not in n} == json.loads(ordinary["metrics.json"])["metrics"]
    file = evaluate_file(
        run / "eval-val" / "detections-fixed.npz",
        drawn_lvis / "lvis_v1_val.json",
        fixed=True,
        reporter=SilentReporter(),
    )
    names = [n for n in metrics.values if "_" in n]
    assert len(names) == 8
    assert {n: file.values[n] for n in names} == {n: metrics.values[n] for n in names}
    evaluate(run)
    assert contents(run / "eval-val") == ordinary, "files of the earlier evaluation are gone"


def test_batches_are_full_though_they_are_in_one_part(run, small_parts):
    config, heard = load_config(run / "config.toml"), Heard()
    config = config.model_copy(update={"eval": config.eval.model_copy(update={"batch": 5})})
    evaluate_run(run, config, reporter=heard)
    assert heard.steps == [(5, 12), (10, 12), (12, 12)]


def test_only_one_process_evaluates_into_a_folder(run):
    (run / "eval-val").mkdir()
    with locked(run / "eval-val" / ".lock"), pytest.raises(CheckpointError, match="another process is evaluating"):
        evaluate(run)
    assert evaluate(run) is not None


def test_faults_of_the_ground_truth_are_told_before_the_work(run, tmp_path, monkeypatch):
    root = draw_lvis(tmp_path / "world")
    truth = json.loads((root / "lvis_v1_val.json").read_text())
    truth["annotations"][0]["iscrowd"] = 1
    (root / "lvis_v1_val.json").write_text(json.dumps(truth))
    config = load_config(run / "config.toml")
    config = config.model_copy(update={"data": config.data.model_copy(update={"root": root})})
    heard = Heard()
    with pytest.raises(DataError, match="iscrowd"):
        evaluate_run(run, config, reporter=heard)
    assert heard.steps == []
    with pytest.raises(ConfigError, match="pycocotools"):
        evaluate_run(
            run,
            config.model_copy(update={"eval": config.eval.model_copy(update={"engine": "pycocotools"})}),
            reporter=heard,
        )


def test_metrics_are_there_only_with_all_that_belongs_to_them(run, monkeypatch):
    evaluate(run)
    real = Path.replace

    def killed(self, target):
        if Path(target).parent.name == "eval-val" and Path(target).name == "mistakes.json":
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run)
    assert not (run / "eval-val" / eval_files.METRICS).exists()
    monkeypatch.undo()
    evaluate(run)
    assert contents(run / "eval-val").keys() == FILES


def test_records_of_a_file_of_detections(run, drawn_lvis, tmp_path):
    evaluate(run)
    source = run / "eval-val" / "detections.npz"
    out = tmp_path / "new" / "judged"
    metrics = evaluate_file(source, drawn_lvis / "lvis_v1_val.json", out=out, score_cut=0.2, reporter=SilentReporter())
    assert contents(out).keys() == FILES - {"detections.npz"}
    assert json.loads((out / "metrics.json").read_text())["metrics"] == metrics.values
    assert json.loads((out / "mistakes.json").read_text())["score_cut"] == 0.2
    assert json.loads((out / "calibration.json").read_text())["source"] == str(source)
    evaluate_file(source, drawn_lvis / "lvis_v1_val.json", out=source.parent, reporter=SilentReporter())
    assert source.is_file(), "the input is never touched"


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """A run, and 150 images to evaluate on."""
    folder = tmp_path_factory.mktemp("larger")
    return make_run(draw_lvis(folder / "data", val=150, size=48), folder / "run")


def command(run, *more):
    return ["clis_cli", "eval", str(run), "--json", "--set", "data.workers=0", *more]


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [False, True])
def test_two_processes_give_the_files_of_one(larger, fixed):
    more = ["--fixed", "--set", "eval.batch=3"] if fixed else []
    files, answers = [], []
    for launcher in ((), TORCHRUN):
        done = run_module(*launcher, *command(larger, *more), check=False)
        files.append(contents(larger / "eval-val"))
        answers.append(done.stdout)
        assert files[-1].keys() >= FILES, done.stderr
        for file in (larger / "eval-val").iterdir():
            file.unlink()
    assert files[0] == files[1]
    assert json.loads(answers[0]) == json.loads(answers[1])
    assert detector_from_checkpoint(checkpoints_of(larger)[-1]).step == 3


@pytest.mark.slow
def test_killed_without_warning(larger):
    run_module(*command(larger))
    whole = contents(larger / "eval-val")
    for name in whole:
        (larger / "eval-val" / name).unlink()
    for part in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", *command(larger)],
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        saved = larger / "eval-val" / ".parts" / "parts" / f"{part:06d}.npz"
        kill_when(saved.exists, process)
        assert contents(larger / "eval-val") == {}
    assert "2 of 3 parts" in run_module(*command(larger)).stderr
    assert contents(larger / "eval-val") == whole
