"""What a classifier learns by, and how its logits become scores: one table for each class loss."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from clis_core.config.frozen import Frozen


class SoftmaxLoss(Frozen):
    """Softmax cross entropy over the C classes and background (CLIS: "a simple CE loss")."""

    kind: Literal["softmax"] = "softmax"


class SeesawLoss(Frozen):
    """Seesaw loss (Wang et al., CVPR 2021, arXiv 2008.10032)."""

    kind: Literal["seesaw"] = "seesaw"
    p: float = Field(default=0.8, ge=0)
    """Mitigation: M_ij = (N_j / N_i)^p where class j was seen less often than i, else 1; 0 switches it off."""
    q: float = Field(default=2.0, ge=0)
    """Compensation: C_ij = (s_j / s_i)^q where class j scores above the true class i, else 1; 0 switches it off."""
    eps: float = Field(default=1e-2, gt=0, lt=1)
    """Smallest s_i that C_ij is divided by."""
    objectness: bool = True
    """Two more logits that tell objects from background, and the C classes among themselves; else background is one
    class of C + 1."""


class EqlLoss(Frozen):
    """Equalization loss (Tan et al., CVPR 2020, arXiv 2003.05176)."""

    kind: Literal["eql"] = "eql"
    threshold: float = Field(default=1.77e-3, ge=0, le=1)
    """lambda: classes in a smaller share of the training images are not discouraged by objects of other classes."""
    prior: float = Field(default=1e-3, gt=0, lt=1)
    """Score of every class before training."""


class Eqlv2Loss(Frozen):
    """Equalization loss v2 (Tan et al., CVPR 2021, arXiv 2012.08548)."""

    kind: Literal["eqlv2"] = "eqlv2"
    gamma: float = Field(default=12.0, gt=0)
    """Steepness of f(g) = 1 / (1 + exp(-gamma (g - mu))), g the ratio of a class's positive to negative gradients."""
    mu: float = 0.8
    """The ratio at which f is a half."""
    alpha: float = Field(default=4.0, ge=0)
    """Positives of a class weigh 1 + alpha (1 - f(g)), negatives f(g)."""
    objectness: bool = True
    """One more logit, of background, that learns without weights; score = class x (1 - background)."""
    prior: float = Field(default=1e-3, gt=0, lt=1)
    """Score of every class before training."""


class BagsLoss(Frozen):
    """Balanced group softmax (Li et al., CVPR 2020, arXiv 2006.10408); its protocol is a second stage, see
    ``train.learn``."""

    kind: Literal["bags"] = "bags"
    bounds: tuple[int, ...] = (10, 100, 1000)
    """Classes are grouped by their number of training boxes: fewer than 10, fewer than 100, ..."""
    others: float = Field(default=8.0, gt=0)
    """beta: regions of no class of a group that it learns from, as a multiple of those of its classes."""

    @field_validator("bounds")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(n < 1 for n in value) or any(b <= a for a, b in pairwise(value)):
            raise ValueError("needs whole numbers above 0 in rising order, such as [10, 100, 1000]")
        return value


class FederatedLoss(Frozen):
    """Federated loss (Zhou et al. 2021, arXiv 2103.07461)."""

    kind: Literal["federated"] = "federated"
    classes: int = Field(default=50, ge=1)
    """Classes that a step looks at: those of its boxes, and others drawn at random up to this many."""
    power: float = Field(default=0.5, ge=0)
    """A class is drawn in proportion to its number of training images to this power."""
    prior: float = Field(default=1e-2, gt=0, lt=1)
    """Score of every class before training."""


ClassLossConfig = Annotated[
    SoftmaxLoss | SeesawLoss | EqlLoss | Eqlv2Loss | BagsLoss | FederatedLoss, Field(discriminator="kind")
]


class FocalLoss(Frozen):
    """Focal loss of one-stage detectors (Lin et al. 2017, arXiv 1708.02002)."""

    kind: Literal["focal"] = "focal"
    gamma: float = Field(default=2.0, ge=0)
    """Focusing factor: what is right with probability p weighs (1 - p)^gamma."""
    alpha: float = Field(default=0.25, ge=0, le=1)
    """Weight of positives; negatives have 1 - alpha."""
    prior: float = Field(default=1e-2, gt=0, lt=1)
    """Score of every class before training."""


class EqualizedFocalLoss(Frozen):
    """Equalized focal loss of one-stage detectors (Li et al., CVPR 2022, arXiv 2201.02593)."""

    kind: Literal["efl"] = "efl"
    gamma: float = Field(default=2.0, ge=1)
    """gamma_b: the focusing factor of a class in balance; gamma_j = gamma_b + scale (1 - g_j)."""
    scale: float = Field(default=8.0, ge=0)
    """s: how much a class whose positive gradients are outweighed is focused more; 0 is the focal loss."""
    alpha: float = Field(default=0.25, ge=0, le=1)
    """Weight of positives; negatives have 1 - alpha."""
    prior: float = Field(default=1e-3, gt=0, lt=1)
    """Score of every class before training."""


class EqualizedQualityFocalLoss(Frozen):
    """Equalized quality focal loss: the same factors on the quality focal loss (Li et al. 2020, arXiv 2006.04388)."""

    kind: Literal["eqfl"] = "eqfl"
    gamma: float = Field(default=2.0, ge=1)
    """gamma_b: the focusing factor of a class in balance; gamma_j = gamma_b + scale (1 - g_j)."""
    scale: float = Field(default=8.0, ge=0)
    """s: how much a class whose positive gradients are outweighed is focused more; 0 is the quality focal loss."""
    prior: float = Field(default=1e-3, gt=0, lt=1)
    """Score of every class before training."""


DenseLossConfig = Annotated[FocalLoss | EqualizedFocalLoss | EqualizedQualityFocalLoss, Field(discriminator="kind")]
