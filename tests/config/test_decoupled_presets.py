"""Presets of decoupled training: a second stage with balanced classes, over the detector of their baseline."""

import pytest

from clis_core.config.decoupled_presets import DECOUPLED_PRESETS
from clis_core.config.load import difference, preset_layer, resolve
from clis_core.config.presets import PRESETS

SECOND = {"data.sampler", "train.learn", "train.reset_classifier", "train.lr", "train.iterations", "train.warmup"}


@pytest.mark.parametrize("name", DECOUPLED_PRESETS)
def test_a_second_stage_with_balanced_classes(name: str) -> None:
    kind, _, rest = name.partition("-")
    config = resolve([preset_layer(name)])
    assert config.data.sampler.kind == "class-balanced"
    assert config.train.learn == {"crt": "classifier", "lws": "scales"}[kind]
    assert config.train.reset_classifier == (kind == "crt")
    assert config.train.start is None  # a run that the user names
    changed = {key for key, _, _ in difference(resolve([preset_layer(f"baseline-{rest}")]), config)} - {"preset"}
    allowed = SECOND | ({"detector.head.classifier"} if kind == "lws" else set())
    assert [key for key in changed if not key.startswith(tuple(allowed))] == []
    assert PRESETS[name] is DECOUPLED_PRESETS[name]
