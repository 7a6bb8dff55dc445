"""`clis train` in two stages: cRT and LWS change what they shall, resume exactly, and need a first stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.errors import ConfigError
from clis_core.jobs.train import train
from clis_core.report import SilentReporter

QUICK = {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False}
CRT = {"train": {"learn": "classifier", "reset_classifier": True}}
LWS = {"train": {"learn": "scales"}, "detector": {"head": {"classifier": "scaled"}}}


def config_of(root: Path, *layers: dict[str, Any]) -> RunConfig:
    quick = {"data": {"root": root}, "train": QUICK}
    return resolve([preset_layer("baseline-tiny"), Layer("quick", quick), *(Layer("test", one) for one in layers)])


def last(run: Path) -> dict[str, torch.Tensor]:
    return detector_from_checkpoint(checkpoints_of(run)[-1]).detector.state_dict()


@pytest.mark.slow
def test_a_second_stage_changes_what_it_shall(drawn_lvis: Path, tmp_path: Path) -> None:
    train(config_of(drawn_lvis), tmp_path / "first", reporter=SilentReporter())
    start = {"start": str(tmp_path / "first")}
    balanced = {"seed": 1, "data": {"sampler": {"kind": "class-balanced"}}, "train": start}
    before = last(tmp_path / "first")
    changed = {"crt": {"head.fc_cls.weight", "head.fc_cls.bias"}, "lws": {"head.fc_cls.scale"}}
    for name, layer in (("crt", CRT), ("lws", LWS)):
        config, run = config_of(drawn_lvis, balanced, layer), tmp_path / name
        train(config, run, reporter=SilentReporter())
        after = last(run)
        assert {k for k, v in after.items() if k not in before or not torch.equal(v, before[k])} == changed[name]
        if name == "crt":  # it was drawn anew, not gone on with
            assert torch.corrcoef(torch.stack([d["head.fc_cls.weight"].flatten() for d in (before, after)]))[0, 1] < 0.5
        for file in checkpoints_of(run)[1:]:
            file.unlink()  # as if killed after step 2
        train(config, run, resume=True, reporter=SilentReporter())
        assert fingerprint(last(run)) == fingerprint(after)


@pytest.mark.parametrize(
    ("layer", "words"), [(CRT, "no class layer is taken over"), (LWS, "at random weights")], ids=["crt", "lws"]
)
def test_a_second_stage_needs_a_first(drawn_lvis: Path, tmp_path: Path, layer: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        train(config_of(drawn_lvis, layer), tmp_path / "run", reporter=SilentReporter())
    assert "train.start" in (caught.value.hint or "")
    assert not (tmp_path / "run").exists()
