"""How a detector is taught by methods that CLIS is compared with: other uses of pictures with a class label."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from clis_core.config.frozen import Frozen
from clis_core.config.method import RoiTraining, RpnTraining

DeticRule = Literal["max-size", "max-score", "max-objectness", "image", "wsddn"]


class DeticConfig(Frozen):
    """Learn from boxes, and from whole pictures by their label alone (Detic, Zhou et al., ECCV 2022, arXiv 2201.02605).

    Pictures pass through the detector one by one; no regions are needed.
    """

    kind: Literal["detic"] = "detic"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    rule: DeticRule = "max-size"
    """What a picture's label is learnt from: its largest proposal, the one that scores its class highest (as YOLO9000
    does), the one with the highest objectness, the whole picture, or all proposals by WSDDN's two streams."""
    weight: float = Field(default=0.1, ge=0)
    """lambda: weight of the loss of pictures (sec. 3.2)."""
    proposals: int = Field(default=128, ge=1)
    """Best proposals of a picture that the rules choose from."""


class SelfTrainingConfig(Frozen):
    """Learn from boxes, and from pictures with a detector's confident box of their own label as if it were true
    (self-training, Zoph et al. 2020, arXiv 2006.06882).

    The boxes are the regions of ``clis gen-regions``; ``pictures.min_score`` says which are confident.
    """

    kind: Literal["self-training"] = "self-training"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    weight: float = Field(default=1.0, ge=0)
    """alpha: the losses are (L_h + alpha n L_p) / (1 + alpha), L_h of detection images and L_p of pictures."""
    normalise: bool = True
    """n is the ratio of the running means of L_h and L_p, so that both weigh alike; else 1."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """Of the running means."""


class DlwlConfig(Frozen):
    """Learn from boxes, and from whole pictures by proposals that their label is assigned to in each step, after the
    abstract of DLWL (Ramanathan et al., CVPR 2020)."""

    kind: Literal["dlwl"] = "dlwl"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    weight: float = Field(default=0.1, ge=0)
    """Weight of the class loss of pictures; the abstract gives none."""
    proposals: int = Field(default=128, ge=1)
    """Best proposals of a picture that may be assigned."""
    most: int = Field(default=4, ge=1)
    """Proposals of a picture that are assigned at most; one is at least."""
    overlap: float = Field(default=0.3, ge=0, lt=1)
    """Two that overlap by more (IoU) are not both assigned."""


class UnbiasedTeacherConfig(Frozen):
    """Learn from boxes, and from whole pictures by what a slow copy of the detector finds in them (Unbiased Teacher,
    Liu et al., ICLR 2021, arXiv 2102.09480)."""

    kind: Literal["unbiased-teacher"] = "unbiased-teacher"
    rpn: RpnTraining = RpnTraining()
    roi: RoiTraining = RoiTraining()
    burn_in: int = Field(default=12_000, ge=0)
    """Steps from boxes alone, after which the teacher is the detector's copy; 0 with a detector that is trained."""
    momentum: float = Field(default=0.9996, ge=0, lt=1)
    """Of the teacher; at each step it becomes momentum x teacher + (1 - momentum) x detector."""
    threshold: float = Field(default=0.7, ge=0, lt=1)
    """Score above which what the teacher finds is taught."""
    weight: float = Field(default=4.0, ge=0)
    """Weight of the losses of pictures."""
    use_label: bool = False
    """Teach findings of the picture's own class alone, and nothing of a picture without one. Else, as in the paper, the
    pictures are unlabelled, and those without findings are background."""
    strong_scenes: bool = True
    """Whether detection images are learnt from twice, as they are and strongly augmented."""
