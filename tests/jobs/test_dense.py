"""RetinaNet and FCOS through the jobs: runs that resume, evaluation with and without a cap, what is refused."""

import pytest
import torch

from clis_core.categories import Categories
from clis_core.config.load import Layer, load_config, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.data.shards.reader import Shards
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint, pack
from clis_core.detectors.export.about import About
from clis_core.errors import ConfigError
from clis_core.jobs.evaluate import evaluate_run, with_inference_settings
from clis_core.jobs.model_card import model_card
from clis_core.jobs.region_finders import RegionOptions, open_finder
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.data.painted import CATEGORIES
from tests.detectors.dense import lively_dense

QUICK = {
    "train": {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False},
    "detector": {"backbone": {"name": "mobilenet_v2"}, "pyramid": {"channels": 16}},
}


def config_for(root, preset="retinanet-tiny", **values):
    layers = [preset_layer(preset), Layer("quick", {"data": {"root": root}, **QUICK}), Layer("test", values)]
    return resolve(layers)


def last(run):
    return detector_from_checkpoint(checkpoints_of(run)[-1]).detector.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "detector"),
    [
        ("retinanet-tiny", {"class_loss": {"kind": "efl"}}),
        ("retinanet-tiny", {"class_loss": {"kind": "eqfl"}, "head": {"quality": "iou"}}),
        ("fcos-tiny", {}),
    ],
)
def test_trains_and_resumes_bit_for_bit(drawn_lvis, tmp_path, preset, detector):
    config = config_for(drawn_lvis, preset, detector=detector)
    train(config, tmp_path / "whole", reporter=SilentReporter())
    train(config, tmp_path / "half", reporter=SilentReporter())
    for file in checkpoints_of(tmp_path / "half")[1:]:
        file.unlink()  # as if killed after step 2
    train(load_config(tmp_path / "half" / "config.toml"), tmp_path / "half", resume=True, reporter=SilentReporter())
    whole = last(tmp_path / "whole")
    assert fingerprint(whole) == fingerprint(last(tmp_path / "half"))
    if "class_loss" in detector:
        assert (whole["head.class_loss.balance.gradients"][1] > 0).all()


@pytest.mark.slow
def test_an_evaluation_with_and_without_a_cap(drawn_lvis, tmp_path):
    config = config_for(drawn_lvis, train={"iterations": 2, "eval_at_end": True})
    result = train(config, tmp_path / "run", reporter=SilentReporter())
    assert result.metrics["AP"] is not None
    values = evaluate_run(tmp_path / "run", config, fixed=True, reporter=SilentReporter()).values
    assert values["AP"] == result.metrics["AP"]
    assert values["AP_fixed"] is not None


@pytest.mark.slow
def test_the_class_layer_learns_alone_and_may_change_its_loss(drawn_lvis, tmp_path):
    train(config_for(drawn_lvis), tmp_path / "first", reporter=SilentReporter())
    second = config_for(
        drawn_lvis,
        detector={"class_loss": {"kind": "efl"}},
        train={"learn": "classifier", "start": str(tmp_path / "first")},
    )
    train(second, tmp_path / "second", reporter=SilentReporter())
    before, after = last(tmp_path / "first"), last(tmp_path / "second")
    changed = {k for k, v in after.items() if k not in before or not torch.equal(v, before[k])}
    assert changed == {"head.conv_cls.weight", "head.conv_cls.bias", "head.class_loss.balance.gradients"}
    assert (after["head.conv_cls.weight"] - before["head.conv_cls.weight"]).abs().max() < 0.01  # went on from there


def test_a_rule_that_needs_proposals_is_refused_before_any_picture(tmp_path):
    detector = lively_dense("fcos", classes=3)
    torch.save(pack(detector, detector.state_dict(), Categories(list(CATEGORIES)[:3]), 7), tmp_path / "last.pt")
    with pytest.raises(ConfigError, match="largest proposal"):
        open_finder(tmp_path / "last.pt", Shards.__new__(Shards), RegionOptions(rule="max-size"))


def test_settings_of_inference():
    own = lively_dense("fcos").config
    post = own.postprocess.model_copy(update={"level_candidates": 7})
    wanted = own.model_copy(update={"postprocess": post, "short_side": 96})
    changed = with_inference_settings(own, wanted)
    assert (changed.postprocess.level_candidates, changed.short_side) == (7, 96)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("retinanet-iou", "RetinaNet: resnet18, focal loss, iou"), ("fcos-plain", "FCOS: resnet18, focal loss")],
)
def test_the_model_card_says_what_it_is(tmp_path, kind, words):
    config = resolve([preset_layer("fcos-tiny")])
    about = About(lively_dense(kind).config, Categories(list(CATEGORIES)[:3]), 7, "00")
    assert f"{words}, 3 classes." in model_card(tmp_path, config, about, "model.safetensors", 5)
