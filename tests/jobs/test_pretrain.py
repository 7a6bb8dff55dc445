"""`clis pretrain`: pictures are told apart, a stopped run ends as a whole one, and detectors start from the weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clis_core.config.detector import BackboneConfig
from clis_core.data.shards.reader import Shards
from clis_core.detectors.backbones import build_backbone
from clis_core.errors import CheckpointError, ConfigError
from clis_core.jobs import pretrain as module
from clis_core.jobs.pretrain import PretrainOptions, pretrain
from clis_core.report import SilentReporter
from tests.data.painted import painted_shards

QUICK = PretrainOptions(
    backbone="resnet18",
    epochs=2.0,
    batch=8,
    lr=0.02,
    size=32,
    held_out=0.2,
    workers=0,
    device="cpu",
    checkpoint_every=2,
)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return painted_shards(tmp_path_factory.mktemp("pictures") / "shards")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "backbone.pt", weights_only=True)
    return state


def test_a_stopped_run_ends_as_a_whole_one(shards: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pretrain(shards.folder, tmp_path / "whole", QUICK, reporter=SilentReporter())
    assert whole.steps == round(2 * round(len(shards) * 0.8) / 8)
    save, left = module._save, [2]

    def fails(*arguments: Any) -> None:
        save(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_save", fails)
    with pytest.raises(KeyboardInterrupt):
        pretrain(shards.folder, tmp_path / "cut", QUICK, reporter=SilentReporter())
    assert not (tmp_path / "cut" / "backbone.pt").exists()
    monkeypatch.setattr(module, "_save", save)
    cut = pretrain(shards.folder, tmp_path / "cut", QUICK, reporter=SilentReporter())
    assert cut.top1 == whole.top1
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not [name for name in a if name.startswith("fc.")]
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "cut")]
    steps = [[json.loads(line) for line in log if '"step"' in line] for log in logs]
    assert [(r["step"], r["loss"]) for r in steps[0]] == [(r["step"], r["loss"]) for r in steps[1]]
    again = pretrain(shards.folder, tmp_path / "cut", QUICK, reporter=SilentReporter())  # finished already
    assert again.top1 == cut.top1


def test_a_backbone_starts_from_the_run(shards: Shards, tmp_path: Path) -> None:
    pretrain(shards.folder, tmp_path / "run", replace(QUICK, epochs=0.5), reporter=SilentReporter())
    built = build_backbone(BackboneConfig(name="resnet18", init=str(tmp_path / "run"), frozen_stages=0))
    learnt = weights(tmp_path / "run")
    assert torch.equal(built.stages[1][0].conv1.weight, learnt["layer2.0.conv1.weight"])
    assert torch.equal(built.stages[1][0].conv1.mean, learnt["layer2.0.bn1.running_mean"])
    assert learnt["layer2.0.bn1.running_mean"].abs().max() > 0  # statistics of the pictures
    # And a further pre-training from its weights.
    options = replace(QUICK, epochs=0.2, init=str(tmp_path / "run" / "backbone.pt"))
    pretrain(shards.folder, tmp_path / "more", options, reporter=SilentReporter())


@pytest.mark.slow
def test_pictures_are_told_apart(shards: Shards, tmp_path: Path) -> None:
    options = replace(QUICK, epochs=25.0, lr=0.05, area=(0.5, 1.0))
    result = pretrain(shards.folder, tmp_path / "run", options, reporter=SilentReporter())
    assert result.top1 is not None
    assert result.top1 >= 60  # of four classes
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert sum(losses[-3:]) / 3 < 1.0  # chance is log 4 = 1.39


def test_what_does_not_fit_is_refused(shards: Shards, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of torchvision's") as caught:
        pretrain(shards.folder, tmp_path / "a", replace(QUICK, backbone="timm/resnet26"), reporter=SilentReporter())
    assert caught.value.hint
    pretrain(shards.folder, tmp_path / "b", replace(QUICK, epochs=0.2), reporter=SilentReporter())
    with pytest.raises(CheckpointError, match="another lr") as again:
        pretrain(shards.folder, tmp_path / "b", replace(QUICK, epochs=0.2, lr=0.5), reporter=SilentReporter())
    assert again.value.hint
