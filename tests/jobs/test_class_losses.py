"""`clis train` with the class losses: counts of the training data reach them, BAGS has a second stage, runs resume."""

import json

import pytest
import torch

from clis_core.config.load import Layer, load_config, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.errors import CheckpointError, ConfigError
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.losses.some import LOSSES

QUICK = {
    "train": {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False},
    "detector": {"backbone": {"name": "mobilenet_v2"}},
}


def config_for(root, **values):
    layers = [preset_layer("baseline-tiny"), Layer("quick", {"data": {"root": root}, **QUICK}), Layer("test", values)]
    return resolve(layers)


def last(run):
    return detector_from_checkpoint(checkpoints_of(run)[-1]).detector.state_dict()


def counted(root):
    """Images and boxes of each class, by category id, and the number of images, off the json."""
    truth = json.loads(next(root.rglob("*train*.json")).read_text())
    boxes = [a for a in truth["annotations"] if not a.get("iscrowd") and min(a["bbox"][2:]) > 0]
    ids = sorted(c["id"] for c in truth["categories"])
    images = [len({a["image_id"] for a in boxes if a["category_id"] == i}) for i in ids]
    return images, [sum(a["category_id"] == i for a in boxes) for i in ids], len(truth["images"])


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n != "eql" else []) for n in LOSSES if n != "softmax"]
)
def test_trains_and_resumes_bit_for_bit(drawn_lvis, tmp_path, name):
    config = config_for(drawn_lvis, detector={"class_loss": LOSSES[name].model_dump()})
    train(config, tmp_path / "whole", reporter=SilentReporter())
    train(config, tmp_path / "half", reporter=SilentReporter())
    for file in checkpoints_of(tmp_path / "half")[1:]:
        file.unlink()  # as if killed after step 2
    train(load_config(tmp_path / "half" / "config.toml"), tmp_path / "half", resume=True, reporter=SilentReporter())
    whole, half = last(tmp_path / "whole"), last(tmp_path / "half")
    assert fingerprint(whole) == fingerprint(half)
    images, boxes, total = counted(drawn_lvis)
    state = {k.removeprefix("head.class_loss."): v for k, v in whole.items() if "class_loss" in k}
    if name.startswith("seesaw"):
        assert state["seen"].sum() == 4 * 2 * config.method.roi.samples
    if name in ("eql", "federated"):
        assert state["images"].tolist() == images
    if name == "eql":
        assert state["all_images"] == total
    if name == "bags":
        assert state["group"].tolist() == [0 if n < 5 else 1 if n < 50 else 2 for n in boxes]
    if name.startswith("eqlv2"):
        assert (state["gradients"][1] > 0).all()


@pytest.mark.slow
def test_bags_is_a_second_stage(drawn_lvis, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train(config_for(drawn_lvis), first, reporter=SilentReporter())
    bags = {"detector": {"class_loss": {"kind": "bags", "bounds": [5, 50]}}}
    alone = config_for(drawn_lvis, **bags, train={"learn": "classifier"})
    with pytest.raises(ConfigError, match="at random weights") as caught:
        train(alone, second, reporter=SilentReporter())
    assert "train.start" in caught.value.hint
    config = config_for(drawn_lvis, **bags, train={"learn": "classifier", "start": str(first)})
    train(config, second, reporter=SilentReporter())
    before, after = last(first), last(second)
    changed = {k for k, v in after.items() if k not in before or not torch.equal(v, before.get(k))}
    assert changed == {"head.fc_cls.weight", "head.fc_cls.bias", "head.class_loss.group"}

    for file in checkpoints_of(second)[1:]:
        file.unlink()
    (first / "checkpoints").rename(tmp_path / "gone")  # on resuming it is not asked for
    train(load_config(second / "config.toml"), second, resume=True, reporter=SilentReporter())
    assert fingerprint(last(second)) == fingerprint(after)
    with pytest.raises(CheckpointError):
        train(config, tmp_path / "third", reporter=SilentReporter())
