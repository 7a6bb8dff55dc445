"""An image size in; torchvision's own Faster R-CNN with ResNet-50-FPN and frozen norms, random weights, out."""

from __future__ import annotations

from typing import Any

from torchvision.models import resnet50
from torchvision.models.detection import FasterRCNN as TorchvisionFasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops import FrozenBatchNorm2d


def torchvision_detector(
    size: tuple[int, int], classes: int, trainable_layers: int, **settings: Any
) -> TorchvisionFasterRCNN:
    """The network as torchvision's own builder makes it with pretrained weights: the norms are frozen.

    Args:
        size: height and width of the images, which it leaves as they are.
        classes: without the background.
        trainable_layers: of the backbone, from its end.
        settings: of torchvision's class.
    """
    backbone = _resnet_fpn_extractor(
        resnet50(weights=None, norm_layer=FrozenBatchNorm2d), trainable_layers=trainable_layers
    )
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    return TorchvisionFasterRCNN(
        backbone,
        classes + 1,
        min_size=min(size),
        max_size=max(size),
        rpn_anchor_generator=anchors,
        **settings,
    )
