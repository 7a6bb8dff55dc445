"""Optimiser and learning rate: parameters and a step in, groups and a rate out."""

from __future__ import annotations

import math

import torch
from torch import nn

from clis_core.config.train import AdamW, Cosine, MultiStep, Sgd, TrainConfig


def scaled_rate(config: TrainConfig) -> float:
    """The rate for the real batch: linear in its size (Goyal et al. 2017)."""
    return config.lr * config.batch / config.lr_batch


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of step 0, 1, ...: warm-up times schedule times `scaled_rate`; a function of the step alone."""
    progress = step / config.iterations
    match config.schedule:
        case MultiStep(milestones=milestones, gamma=gamma):
            factor = gamma ** sum(progress >= m for m in milestones)
        case Cosine(final=final):
            factor = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
    if step < config.warmup:
        factor *= config.warmup_start + (1 - config.warmup_start) * step / config.warmup
    return scaled_rate(config) * factor


def build_optimiser(module: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of all trained parameters; each group's ``scale`` multiplies the rate of a step.

    AdamW does not decay biases and the scales and shifts of norms; SGD decays everything, as the paper's framework
    does.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            scale = config.backbone_lr if ".backbone." in name else 1.0
            groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    # One pass over the memory in place of one for each operation.
    fused = all(p.device.type in ("cpu", "cuda") for group in groups.values() for p in group)
    match config.optimiser:
        case Sgd(momentum=momentum, weight_decay=decay, nesterov=nesterov):
            sgd_groups = [{"params": p, "scale": s, "weight_decay": decay} for (s, _), p in groups.items()]
            return torch.optim.SGD(sgd_groups, lr=config.lr, momentum=momentum, nesterov=nesterov, fused=fused)
        case AdamW(betas=betas, weight_decay=decay):
            adam_groups = [
                {"params": p, "scale": s, "weight_decay": decay if matrix else 0.0} for (s, matrix), p in groups.items()
            ]
            return torch.optim.AdamW(adam_groups, lr=config.lr, betas=betas, fused=fused)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of the coming step in every group."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]
