"""How long, how fast, and what is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from clis_core.config.frozen import Frozen


class Sgd(Frozen):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Part of the running sum of gradients that is kept at each step."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Factor of L2 regularisation, of all that is trained."""
    nesterov: bool = False
    """Nesterov's momentum."""


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Not applied to biases and to scales and shifts of norms."""


Optimiser = Annotated[Sgd | AdamW, Field(discriminator="kind")]


class MultiStep(Frozen):
    """The rate falls by ``gamma`` at each milestone."""

    kind: Literal["multistep"] = "multistep"
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)
    """Fractions of the iterations at which the rate falls."""
    gamma: float = Field(default=0.1, gt=0, le=1)
    """Factor of the rate at each of them."""

    @field_validator("milestones")
    @classmethod
    def _ordered(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(value) or any(not 0 < v < 1 for v in value):
            raise ValueError("needs fractions between 0 and 1 in rising order, such as [0.667, 0.889]")
        return value


class Cosine(Frozen):
    """The rate follows half a cosine down to ``final`` times its start (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(default=0.0, ge=0, le=1)
    """Part of the rate that is left at the end."""


Schedule = Annotated[MultiStep | Cosine, Field(discriminator="kind")]


Learn = Literal["all", "classifier", "scales"]


class TrainConfig(Frozen):
    """The loop."""

    start: Path | None = None
    """Checkpoint, or a run for its newest one, whose detector a new training starts from instead of
    ``detector.backbone.init``. The class layer starts anew where its loss is another."""
    learn: Learn = "all"
    """What is taught: "classifier" leaves the detector as it is but for its class layer, the second stage of BAGS and
    of cRT; "scales" but for a factor of each class's weights, that of LWS (``detector.head.classifier`` = "scaled")."""
    reset_classifier: bool = False
    """Whether the class layer starts anew where ``start``'s would fit: classifier re-training, cRT."""
    iterations: int = Field(default=90_000, ge=1)
    """Optimiser steps."""
    batch: int = Field(default=16, ge=1)
    """Images a step, of all accumulated parts and of all processes."""
    accumulate: int = Field(default=1, ge=1)
    """Parts that a step's batch is cut into, where memory is short; must divide the batch, and each process's share."""
    lr: float = Field(default=0.02, gt=0)
    """Learning rate at a batch of ``lr_batch`` images; scaled linearly to the real batch (Goyal et al. 2017)."""
    lr_batch: int = Field(default=16, ge=1)
    """The batch that ``lr`` is meant for."""
    backbone_lr: float = Field(default=1.0, ge=0)
    """The backbone's rate as a multiple of the others'."""
    optimiser: Optimiser = Sgd()
    schedule: Schedule = MultiStep()
    warmup: int = Field(default=500, ge=0)
    """Steps over which the rate grows linearly from ``warmup_start`` times its value."""
    warmup_start: float = Field(default=0.001, ge=0, le=1)
    """Part of the rate that the first step has."""
    clip: float = Field(default=0.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""
    amp: Literal["off", "bf16", "fp16"] = "off"
    """Mixed precision; fp16 needs a GPU. The losses and the contrast stay fp32."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of an averaged copy of the weights, which is then evaluated and shipped; 0 keeps none."""
    compile: bool = False
    """torch.compile the backbone and the pyramid."""
    log_every: int = Field(default=20, ge=1)
    """Steps between lines of log.jsonl."""
    tensorboard: bool = False
    """Write the same numbers for TensorBoard as well (extra 'tensorboard')."""
    checkpoint_every: int = Field(default=1000, ge=1)
    """Steps between checkpoints."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints to keep, beside best.pt."""
    eval_every: int = Field(default=0, ge=0)
    """Steps between evaluations on val; 0 evaluates at the end alone."""
    eval_at_end: bool = True
    """Evaluate on val when training ends."""
    best: Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf"] = "AP"
    """The metric that best.pt is chosen by."""

    @model_validator(mode="after")
    def _divides(self) -> TrainConfig:
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate ({self.accumulate}) must divide batch ({self.batch})")
        return self
