"""How a detector is taught."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from clis_core.config.frozen import Frozen


class RpnTraining(Frozen):
    """Which anchors the proposal network learns from."""

    positive_iou: float = Field(default=0.7, gt=0, le=1)
    """An anchor is an object from this overlap with a box (or if it is a box's best anchor) ..."""
    negative_iou: float = Field(default=0.3, ge=0, le=1)
    """... and background below this."""
    samples: int = Field(default=256, ge=1)
    """Anchors an image that the loss looks at ..."""
    positive_fraction: float = Field(default=0.5, gt=0, le=1)
    """... of which objects at most."""
    before_nms: int = Field(default=2000, ge=1)
    """Best boxes of each level that enter NMS in training."""
    proposals: int = Field(default=1000, ge=1)
    """Boxes that leave it."""
    beta: float = Field(default=0.0, ge=0)
    """Smooth L1 turns quadratic below this; 0 is L1."""


class RoiTraining(Frozen):
    """Which proposals the second stage learns from."""

    positive_iou: float = Field(default=0.5, gt=0, le=1)
    """A proposal is an object from this overlap with a box, else background."""
    samples: int = Field(default=512, ge=1)
    """Regions an image that the losses look at ..."""
    positive_fraction: float = Field(default=0.25, gt=0, le=1)
    """... of which objects at most."""
    beta: float = Field(default=0.0, ge=0)
    """Smooth L1 turns quadratic below this; 0 is L1."""
    box_weight: float = Field(default=1.0, ge=0)
    """Weight of the box loss."""
    objectness_weight: float = Field(default=1.0, ge=0)
    """Weight of L_obj (CLIS, eq. 2), where the head has an objectness output."""


class SupervisedConfig(Frozen):
    """Learn from boxes alone."""

    kind: Literal["supervised"] = "supervised"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()

    @model_validator(mode="after")
    def _order(self) -> SupervisedConfig:
        if self.rpn.negative_iou > self.rpn.positive_iou:
            raise ValueError("rpn.negative_iou must not be above rpn.positive_iou")
        return self


MethodConfig = SupervisedConfig
