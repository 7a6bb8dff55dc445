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
