"""The jobs behind `clis train` and `clis eval`, on drawn data: what they leave, and what they refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision

from clis_core import jobs
from clis_core.config.load import Layer, load_config, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import content_hash, detector_from_checkpoint, fingerprint
from clis_core.errors import CheckpointError, ClisError, ConfigError, DataError
from clis_core.evaluation.detections import Detections
from clis_core.jobs.device import naming_full_memory
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.evaluate_file import evaluate_file
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from clis_core.training.lock import run_lock
from tests.draw import draw_lvis
from tests.processes import kill_when

QUICK = {
    "train": {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1},
    "detector": {"backbone": {"name": "mobilenet_v2"}},
}


def config_for(root, **values):
    return resolve(
        [preset_layer("baseline-tiny"), Layer("test", {"data": {"root": root}, **QUICK}), Layer("test", values)]
    )


class Heard(SilentReporter):
    def __init__(self):
        self.texts = []

    def info(self, text):
        self.texts.append(text)

    def warn(self, text):
        self.texts.append(text)


@pytest.mark.parametrize("world", ["drawn_lvis", "drawn_coco"])
def test_train_then_evaluate(request, tmp_path, world):
    root = request.getfixturevalue(world)
    config, reporter = config_for(root), Heard()
    result = train(config, tmp_path / "run", reporter=reporter)
    run = result.run
    assert result.step == 4
    assert load_config(run / "config.toml") == config
    assert any("0.00025 = 0.0005 x 2/4" in text for text in reporter.texts)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]

    metrics = evaluate_run(run, config, reporter=SilentReporter(), save_json=True)
    assert metrics.values == result.metrics
    assert metrics.protocol == ("lvis" if world == "drawn_lvis" else "coco")
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"} <= metrics.values.keys()
    assert metrics.values["APr"] is not None, "LVIS files say which class is rare, of others the training images do"
    written = json.loads((run / "eval-val" / "metrics.json").read_text())
    assert written["metrics"] == metrics.values

    # The detections on disk say the same without the model, in either form.
    truth = next(root.rglob("*val*.json"))
    train_truth = next(root.rglob("*train*.json"))
    for name in ("detections.npz", "detections.json"):
        again = evaluate_file(run / "eval-val" / name, truth, train_gt=train_truth, reporter=SilentReporter())
        assert again.values["AP"] == pytest.approx(metrics.values["AP"], abs=1e-4)
    found = Detections.load(run / "eval-val" / "detections.npz")
    assert len(np.unique(found.image_ids)) > 1


def test_groups_of_a_data_set_without_frequencies_come_from_training_images(drawn_coco, tmp_path):
    train(config_for(drawn_coco), tmp_path / "run", reporter=SilentReporter())
    categories = detector_from_checkpoint(checkpoints_of(tmp_path / "run")[-1]).categories
    truth = json.loads(next(drawn_coco.rglob("*train*.json")).read_text())
    for category in categories:
        images = {
            a["image_id"]
            for a in truth["annotations"]
            if a["category_id"] == category.id and not a["iscrowd"] and min(a["bbox"][2:]) > 0
        }
        assert category.images == len(images)
        assert category.group == ("r" if len(images) <= 10 else "c" if len(images) <= 100 else "f")


def test_resumed_run_equals_the_uninterrupted_one_for_any_number_of_workers(drawn_lvis, tmp_path):
    whole = train(config_for(drawn_lvis), tmp_path / "whole", reporter=SilentReporter())
    half = tmp_path / "half"
    train(config_for(drawn_lvis, data={"workers": 1}), half, reporter=SilentReporter())
    for file in checkpoints_of(half)[1:]:
        file.unlink()  # as if killed after step 2
    config = load_config(half / "config.toml").model_copy(deep=True)
    again = train(config, half, resume=True, reporter=SilentReporter())
    prints = [
        fingerprint(detector_from_checkpoint(checkpoints_of(r)[-1]).detector.state_dict())
        for r in (whole.run, again.run)
    ]
    assert prints[0] == prints[1]
    assert whole.metrics == again.metrics


@pytest.mark.slow
def test_killed_without_warning_and_resumed(drawn_lvis, tmp_path):
    """kill -9 at some moment of the training; --resume ends with the same weights."""

    def command(out, *more):
        options = ["--preset", "baseline-tiny", "--iterations", "30", "--set", "train.checkpoint_every=5"]
        base = [sys.executable, "-m", "clis_cli", "train", "-o", str(out)]
        return base + (list(more) if "--resume" in more else ["--data", str(drawn_lvis), *options])

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(command(tmp_path / "killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    kill_when(lambda: len(checkpoints_of(tmp_path / "killed")) >= 2, process)
    done = checkpoints_of(tmp_path / "killed")[-1].name
    assert done < "step-00000030.pt"
    subprocess.run(command(tmp_path / "killed", "--resume"), check=True, capture_output=True)
    prints = [
        fingerprint(detector_from_checkpoint(checkpoints_of(tmp_path / n)[-1]).detector.state_dict())
        for n in ("whole", "killed")
    ]
    assert prints[0] == prints[1]


def test_a_run_is_not_written_over(drawn_lvis, tmp_path):
    train(config_for(drawn_lvis), tmp_path / "run", reporter=SilentReporter())
    with pytest.raises(CheckpointError) as caught:
        train(config_for(drawn_lvis), tmp_path / "run", reporter=SilentReporter())
    assert "--resume" in caught.value.hint


def test_two_trainings_never_share_a_folder(drawn_lvis, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    with run_lock(out), pytest.raises(CheckpointError, match="another process"):
        train(config_for(drawn_lvis), out, reporter=SilentReporter())
    assert not (out / "config.toml").exists()
    assert train(config_for(drawn_lvis), out, reporter=SilentReporter()).step == 4  # the lock is gone with its holder


def test_a_failed_start_leaves_no_run(drawn_lvis, tmp_path):
    config = config_for(drawn_lvis, detector={"backbone": {"init": str(tmp_path / "no.pth"), "norm": "affine"}})
    with pytest.raises(CheckpointError, match="no such weight file"):
        train(config, tmp_path / "run", reporter=SilentReporter())
    assert not (tmp_path / "run").exists()


def test_the_log_has_every_step_once_after_resuming(drawn_lvis, tmp_path):
    run = train(config_for(drawn_lvis), tmp_path / "run", reporter=SilentReporter()).run
    checkpoints_of(run)[-1].unlink()  # as if killed between step 2 and the next checkpoint
    with (run / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # in the middle of a line
    train(config_for(drawn_lvis), run, resume=True, reporter=SilentReporter())
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]


def test_faults_of_the_ground_truth_stop_a_training_before_it_begins(tmp_path):
    root = draw_lvis(tmp_path / "world")
    truth = next(root.rglob("*val*.json"))
    content = json.loads(truth.read_text())
    content["annotations"][0]["iscrowd"] = 1
    truth.write_text(json.dumps(content))
    with pytest.raises(DataError, match="iscrowd"):
        train(config_for(root), tmp_path / "run", reporter=SilentReporter())
    assert not (tmp_path / "run").exists()


def test_full_memory_is_no_bug_of_ours():
    with pytest.raises(ClisError, match="Out of memory"), naming_full_memory("less"):
        torch.empty(2**50, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="other"), naming_full_memory("less"):
        raise RuntimeError("other")


def test_refusals(drawn_lvis, drawn_coco, tmp_path):
    quiet = SilentReporter()
    with pytest.raises(ConfigError, match="not available"):
        train(config_for(drawn_lvis, device="cuda:77"), tmp_path / "a", reporter=quiet)
    with pytest.raises(ConfigError, match="is not a device"):
        train(config_for(drawn_lvis, device="toaster"), tmp_path / "a", reporter=quiet)
    with pytest.raises(ConfigError, match="fp16"):
        train(config_for(drawn_lvis, device="cpu", train={"amp": "fp16"}), tmp_path / "a", reporter=quiet)
    assert not (tmp_path / "a").exists()
    run = train(config_for(drawn_lvis), tmp_path / "run", reporter=quiet).run
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        evaluate_run(run, load_config(run / "config.toml"), checkpoint="nothing.pt", reporter=quiet)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        evaluate_run(tmp_path, load_config(run / "config.toml"), reporter=quiet)
    with pytest.raises(DataError, match="categor"):
        evaluate_run(run, config_for(drawn_coco), reporter=quiet)


def test_evaluation_settings_can_be_changed_after_training(drawn_lvis, tmp_path):
    run = train(config_for(drawn_lvis), tmp_path / "run", reporter=SilentReporter()).run
    fewer = config_for(drawn_lvis, detector={"postprocess": {"detections": 3}})
    evaluate_run(run, fewer, reporter=SilentReporter())
    found = Detections.load(run / "eval-val" / "detections.npz")
    assert np.unique(found.image_ids, return_counts=True)[1].max() == 3
    one_proposal = config_for(drawn_lvis, detector={"rpn": {"nms_iou": 1e-6}})  # all that overlap go
    evaluate_run(run, one_proposal, reporter=SilentReporter())
    assert len(Detections.load(run / "eval-val" / "detections.npz")) != len(found)


def test_resuming_needs_no_first_weights(drawn_lvis, tmp_path):
    weights = tmp_path / "first.pth"
    torch.save(torchvision.models.mobilenet_v2(weights=None).state_dict(), weights)
    config = config_for(drawn_lvis, detector={"backbone": {"init": str(weights), "norm": "affine"}})
    run = train(config, tmp_path / "run", reporter=SilentReporter()).run
    weights.unlink()
    checkpoints_of(run)[-1].unlink()
    assert train(config, run, resume=True, reporter=SilentReporter()).step == 4


@pytest.mark.slow
def test_a_compiled_encoder_trains_averages_resumes_and_keeps_its_names(drawn_lvis, tmp_path):
    plain = train(config_for(drawn_lvis, train={"ema": 0.9}), tmp_path / "plain", reporter=SilentReporter())
    config = config_for(drawn_lvis, train={"ema": 0.9, "compile": True})
    run = train(config, tmp_path / "compiled", reporter=SilentReporter()).run
    states = [torch.load(checkpoints_of(r)[-1], weights_only=True) for r in (plain.run, run)]
    for name in ("detector", "ema"):
        assert list(states[0][name]) == list(states[1][name])
        for key, value in states[0][name].items():
            torch.testing.assert_close(states[1][name][key], value, atol=2e-3, rtol=1e-2)
    checkpoints_of(run)[-1].unlink()
    assert train(config, run, resume=True, reporter=SilentReporter()).step == 4
    assert detector_from_checkpoint(checkpoints_of(run)[-1]).step == 4


def test_the_best_checkpoint_is_evaluated_on_request(drawn_lvis, tmp_path):
    config = config_for(drawn_lvis, train={"eval_every": 2})
    run = train(config, tmp_path / "run", reporter=SilentReporter()).run
    best = torch.load(run / "best.pt", weights_only=True)
    first = detector_from_checkpoint(checkpoints_of(run)[0])
    other = {**best, "step": 1}
    torch.save({**other, "sha256": content_hash(other)}, run / "best.pt")
    heard = Heard()
    evaluate_run(run, config, checkpoint="best", reporter=heard)
    assert any("best.pt: step 1;" in text for text in heard.texts)
    heard = Heard()
    evaluate_run(run, config, checkpoint=str(checkpoints_of(run)[0]), reporter=heard)
    assert any(f"step {first.step};" in text for text in heard.texts)


def test_notes_of_the_evaluation_reach_the_user_once(drawn_lvis, tmp_path, monkeypatch):
    real = jobs.evaluate.evaluate_in_full

    def noting(*words, **options):
        metrics = real(*words, **options)
        metrics.notes.append("7 boxes have no area")
        return metrics

    monkeypatch.setattr(jobs.evaluate, "evaluate_in_full", noting)
    heard = Heard()
    train(config_for(drawn_lvis, train={"eval_every": 2}), tmp_path / "run", reporter=heard)
    assert heard.texts.count("7 boxes have no area") == 1


@pytest.mark.slow
@pytest.mark.parametrize("world", ["tinylvis", "cocosmall"])
def test_real_photographs(request, tmp_path, world):
    """A short training on photographs already finds something."""
    root = request.getfixturevalue(world)
    weights = root.parents[1] / "weights" / "mobilenet_v2_imagenet_features.pth"
    values = {
        "data": {"root": root},
        "detector": {"backbone": {"init": str(weights)}},
        "train": {"iterations": 150, "checkpoint_every": 150},
    }
    result = train(
        resolve([preset_layer("specialised-small"), Layer("test", values)]), tmp_path / "run", reporter=SilentReporter()
    )
    assert result.metrics["AP"] > {"tinylvis": 0.5, "cocosmall": 0.1}[world]
