"""Learning rates and parameter groups."""

import math

import pytest
import torch

from clis_core.config.train import AdamW, Cosine, MultiStep, Sgd, TrainConfig
from clis_core.training.optim import build_optimiser, rate_at, scaled_rate, set_rate
from tests.methods.small import small_detector


def test_linear_scaling():
    assert scaled_rate(TrainConfig(lr=0.02, lr_batch=16, batch=16)) == pytest.approx(0.02)
    assert scaled_rate(TrainConfig(lr=0.02, lr_batch=16, batch=4)) == pytest.approx(0.005)


def test_papers_schedule():
    config = TrainConfig(schedule=MultiStep(milestones=(60 / 90, 80 / 90)), warmup=500, warmup_start=0.001)
    assert rate_at(0, config) == pytest.approx(0.02 * 0.001)
    assert rate_at(250, config) == pytest.approx(0.02 * 0.5005)
    assert rate_at(500, config) == rate_at(59_999, config) == pytest.approx(0.02)
    assert rate_at(60_000, config) == rate_at(79_999, config) == pytest.approx(0.002)
    assert rate_at(80_000, config) == pytest.approx(0.0002)


def test_cosine():
    config = TrainConfig(iterations=1000, lr=1.0, schedule=Cosine(final=0.1), warmup=0)
    for step in (0, 250, 500, 999):
        assert rate_at(step, config) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * step / 1000)) / 2)


def test_groups():
    detector = small_detector()
    config = TrainConfig(optimiser=AdamW(weight_decay=0.1), backbone_lr=0.1)
    optimiser = build_optimiser(torch.nn.ModuleDict({"detector": detector}), config)
    set_rate(optimiser, 2.0)
    where = {p: g for g in optimiser.param_groups for p in g["params"]}
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            assert parameter not in where
            continue
        group = where[parameter]
        assert group["lr"] == pytest.approx(0.2 if "encoder.backbone" in name else 2.0), name
        assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
    decays = {g["weight_decay"] for g in build_optimiser(detector, TrainConfig(optimiser=Sgd())).param_groups}
    assert decays == {1e-4}
