"""Presets of the class losses: the papers' settings, and no other difference from their baselines."""

import pytest

from clis_core.config.class_loss import BagsLoss, EqlLoss, Eqlv2Loss, FederatedLoss, SeesawLoss
from clis_core.config.class_loss_presets import CLASS_LOSS_PRESETS
from clis_core.config.load import Layer, difference, preset_layer, resolve
from clis_core.config.presets import PRESETS
from clis_core.config.run import RunConfig

PAPER = {
    "seesaw": SeesawLoss(p=0.8, q=2.0, eps=0.01, objectness=True),
    "eql": EqlLoss(threshold=1.1e-3),
    "eqlv2": Eqlv2Loss(gamma=12, mu=0.8, alpha=4, objectness=True),
    "bags": BagsLoss(bounds=(10, 100, 1000), others=8),
    "federated": FederatedLoss(classes=50, power=0.5),
}


def config_of(name: str) -> RunConfig:
    return resolve([preset_layer(name)])


@pytest.mark.parametrize("name", CLASS_LOSS_PRESETS)
def test_a_preset_differs_from_its_baseline_where_its_paper_does(name: str) -> None:
    kind, _, rest = name.partition("-")
    baseline = f"baseline-{rest}"
    changed = {key for key, _, _ in difference(config_of(baseline), config_of(name)) if key != "preset"}
    allowed = {"detector.class_loss", "detector.head.classifier"} if kind == "seesaw" else {"detector.class_loss"}
    if kind == "bags":
        allowed |= {"data.sampler", "train.learn", "train.lr", "train.iterations", "train.warmup"}
    assert [key for key in changed if not key.startswith(tuple(allowed))] == []
    assert ("detector.head.classifier" in changed) == (kind == "seesaw")
    loss = config_of(name).detector.class_loss
    assert loss.kind == kind
    if rest != "small":
        assert loss == PAPER[kind]
    assert PRESETS[name] is CLASS_LOSS_PRESETS[name]


@pytest.mark.parametrize("name", ["bags-r50-1x", "bags-r101-1x", "bags-small"])
def test_bags_teaches_the_class_layer_on_images_as_they_come(name: str) -> None:
    config = config_of(name)
    assert config.train.learn == "classifier"
    assert config.train.start is None  # a run that the user names
    assert config.data.sampler.kind == "uniform"


@pytest.mark.parametrize("kind", PAPER)
@pytest.mark.parametrize("base", ["clis-r50-1x", "specialised-small"])
def test_a_class_loss_goes_over_any_preset(base: str, kind: str) -> None:
    config = resolve([preset_layer(base), Layer("--set", {"detector": {"class_loss": {"kind": kind}}})])
    assert config.detector.class_loss.kind == kind
    assert config.detector.head == config_of(base).detector.head
