"""How a detector is taught: from boxes alone, and by CLIS."""

from __future__ import annotations

from typing import Annotated, Literal

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

    @model_validator(mode="after")
    def _order(self) -> RpnTraining:
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


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
    mask_weight: float = Field(default=1.0, ge=0)
    """Weight of the mask loss, where the detector has a mask head."""


class MaxIouAssign(Frozen):
    """Anchors by their overlap (Lin et al. 2017, focal loss, sec. 4.1)."""

    kind: Literal["max-iou"] = "max-iou"
    positive_iou: float = Field(default=0.5, gt=0, le=1)
    """An anchor is of the object that it overlaps most from this overlap on (or if it is the object's best one) ..."""
    negative_iou: float = Field(default=0.4, ge=0, le=1)
    """... and background below this; between the two it teaches nothing."""

    @model_validator(mode="after")
    def _order(self) -> MaxIouAssign:
        if self.negative_iou > self.positive_iou:
            raise ValueError("negative_iou must not be above positive_iou")
        return self


class AtssAssign(Frozen):
    """Adaptive training sample selection (Zhang et al., CVPR 2020, arXiv 1912.02424)."""

    kind: Literal["atss"] = "atss"
    k: int = Field(default=9, ge=1)
    """Anchors of each level, those whose centres are closest to an object's, that may be the object's; those are that
    overlap it by no less than the mean plus the deviation of all their overlaps, with the centre inside of it."""
    scale: float = Field(default=8.0, gt=0)
    """Side, in strides, of the square around a point of FCOS whose overlap counts; RetinaNet has anchors."""


class RangesAssign(Frozen):
    """Points by the distance to the farthest side of a box (FCOS, Tian et al. 2019, sec. 3.2)."""

    kind: Literal["ranges"] = "ranges"
    scale: float = Field(default=8.0, gt=0)
    """A level's points learn boxes whose farthest side is at most so many strides away, and more than the level before
    has; the last level has all that are left."""
    radius: float = Field(default=1.5, ge=0)
    """Centre sampling: points within so many strides of a box's centre along both axes; 0 takes all inside of it."""


Assign = Annotated[MaxIouAssign | AtssAssign | RangesAssign, Field(discriminator="kind")]


class DenseTraining(Frozen):
    """What the anchors of a one-stage detector learn."""

    assign: Assign = MaxIouAssign()
    box: Literal["l1", "giou"] = "l1"
    """Box loss: L1 of the coded offsets, or 1 - GIoU of the decoded boxes (Rezatofighi et al. 2019)."""
    box_weight: float = Field(default=1.0, ge=0)
    """Weight of the box loss."""
    quality_weight: float = Field(default=1.0, ge=0)
    """Weight of the quality's binary cross entropy, where the head has a quality output."""


class MtlTraining(Frozen):
    """How the auxiliary tasks of MTL-SSL are taught (Lee, Na and Kim, CVPR 2019); ``detector.mtl`` has their heads.

    The foreground mask needs no head at inference, so that its weight switches it on.
    """

    window_weight: float = Field(default=1.0, gt=0)
    """Weight of the loss of window classification."""
    closeness_weight: float = Field(default=0.3, gt=0)
    """Weight of the closeness loss."""
    foreground_weight: float = Field(default=0.0, ge=0)
    """Weight of the foreground loss; 0 is without this task. The paper has 1."""
    refine_weight: float = Field(default=1.0, gt=0)
    """Weight of the class loss of refined logits."""
    windows: int = Field(default=64, ge=1)
    """Random windows an image."""
    shortest: int = Field(default=32, ge=1)
    """Shortest side of a random window, pixels of the resized image."""


class SupervisedConfig(Frozen):
    """Learn from boxes alone; ``rpn`` and ``roi`` are for Faster R-CNN, ``dense`` is for RetinaNet and FCOS."""

    kind: Literal["supervised"] = "supervised"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    dense: DenseTraining = DenseTraining()
    mtl: MtlTraining = MtlTraining()


class ClisConfig(Frozen):
    """Learn from boxes and from pictures with a class label (CLIS, Li et al., arXiv 2210.05568, sec. III)."""

    kind: Literal["clis"] = "clis"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    alpha: float = Field(default=0.1, ge=0)
    """Weight of the image-classification loss L_imcls (eq. 2, table III)."""
    beta: float = Field(default=0.05, ge=0)
    """Weight of the contrastive loss L_con (eq. 2, table IV)."""
    beta_from: int = Field(default=0, ge=0)
    """Step from which beta counts; the queue fills from the start."""
    beta_ramp: int = Field(default=0, ge=0)
    """Steps over which beta then grows linearly to its value."""
    tau: float = Field(default=0.2, gt=0)
    """Temperature of the contrast (eq. 1)."""
    queue_size: int = Field(default=115_712, ge=1)
    """Keys in the dictionary Q; no more than the largest power of two up to the number of pictures."""
    momentum: float = Field(default=0.999, ge=0, lt=1)
    """Of the copy of the classification sub-network that makes the keys (the paper gives no value; MoCo's)."""
    projector: int = Field(default=128, ge=1)
    """Features of a key."""
    projector_layers: Literal[1, 2] = 1
    """Fully connected layers of the projector; the paper has one."""
    shared_projector: bool = True
    """One projector for both views, or one for each."""
    positive: Literal["live", "momentum"] = "live"
    """f_d of eq. 1: of the sub-network that learns, with gradient, or of its slow copy, without."""
    mask_same_class: bool = False
    """Whether keys of the instance's own class are no negatives; eq. 1 has no such mask."""
    mtl: MtlTraining = MtlTraining()
    siamese: bool = True
    """Whether pictures pass through the very sub-network of instance classification (SS of table II)."""
