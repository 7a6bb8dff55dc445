"""Presets: they resolve, cite the paper, and hold its numbers."""

import pytest

from clis_core.config.load import preset_layer, resolve
from clis_core.config.presets import DEFAULT_PRESET, PRESETS, preset, summary
from clis_core.config.train import AdamW, MultiStep, Sgd
from clis_core.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_resolves_and_says_what_it_is(name: str) -> None:
    assert resolve([preset_layer(name)]).preset == name
    assert any(paper in summary(name) for paper in ("CLIS", "MTL-SSL"))
    assert summary(name).endswith(".")
    assert PRESETS[name].__name__ == name.replace("-", "_")


def test_the_names_that_users_type_are_there() -> None:
    expected = ["baseline-r50-1x", "baseline-r101-1x", "baseline-r50-2x", "specialised-r50-1x"]
    expected += ["specialised-r101-1x", "baseline-small", "specialised-small", "baseline-tiny"]
    assert set(expected) <= set(PRESETS)
    assert DEFAULT_PRESET in PRESETS


def test_baseline_r50_1x_is_the_papers_setting() -> None:
    config = resolve([preset_layer("baseline-r50-1x")])
    train = config.train
    assert (train.iterations, train.batch, train.lr, train.lr_batch, train.warmup) == (
        90_000,
        16,
        0.02,
        16,
        500,
    )
    assert train.optimiser == Sgd(momentum=0.9, weight_decay=1e-4)
    assert isinstance(train.schedule, MultiStep)
    assert [round(train.iterations * m) for m in train.schedule.milestones] == [60_000, 80_000]
    assert not config.detector.head.specialised
    assert not config.detector.head.objectness
    assert not config.detector.head.class_agnostic
    assert config.data.sampler.kind == "repeat-factor"
    assert config.data.sampler.threshold == 1e-3
    assert (min(config.data.short_sides), max(config.data.short_sides), config.data.long_side) == (
        640,
        800,
        1333,
    )


@pytest.mark.parametrize(
    ("baseline", "specialised"), [("r50-1x", "r50-1x"), ("r101-1x", "r101-1x"), ("small", "small")]
)
def test_specialised_differs_from_its_baseline_in_the_head_alone(baseline: str, specialised: str) -> None:
    a, b = preset(f"baseline-{baseline}"), preset(f"specialised-{specialised}")
    assert b["detector"].pop("head") == {**a["detector"].pop("head"), "specialised": True, "objectness": True}
    assert a == b


def test_small_runs_on_a_laptop() -> None:
    config = resolve([preset_layer("baseline-small")])
    assert config.detector.backbone.name == "mobilenet_v2"
    assert isinstance(config.train.optimiser, AdamW)
    assert config.detector.short_side <= 320


def test_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match="no preset 'specialized-small'") as caught:
        preset("specialized-small")
    assert caught.value.hint
    assert "specialised-small" in caught.value.hint
