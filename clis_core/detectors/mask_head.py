"""The mask branch: levels of the pyramid, boxes and their classes in, a small mask for each box out.

R boxes, C classes, P cells along a side of the pooled features, S = 2 P along a side of a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

from clis_core.config.detector import MaskConfig
from clis_core.detectors.roi_pool import RoiPool


class MaskHead(nn.Module):
    """The mask branch of Mask R-CNN (He et al. 2017, arXiv 1703.06870, fig. 4), beside whatever judges boxes.

    Args:
        config: which parts there are.
        channels: channels of the pyramid.
        num_classes: C.
        pool: of the box head; strides, samples and the choice of the level are the same here.
    """

    def __init__(self, config: MaskConfig, channels: int, num_classes: int, pool: RoiPool) -> None:
        super().__init__()
        self.class_agnostic = config.class_agnostic
        self.pool = RoiPool(pool.strides, config.pool, pool.sampling_ratio, pool.level_size)
        self.convs = MaskRCNNHeads(channels, (config.channels,) * config.convs, dilation=1)
        self.predictor = MaskRCNNPredictor(
            config.channels, config.channels, 1 if config.class_agnostic else num_classes
        )
        # torchvision's first weights are the larger the fewer classes there are; these are detectron2's.
        nn.init.normal_(self.predictor.mask_fcn_logits.weight, std=0.001)
        nn.init.zeros_(self.predictor.mask_fcn_logits.bias)
        self.side = 2 * config.pool

    def forward(self, features: list[Tensor], boxes: list[Tensor], labels: Tensor) -> Tensor:
        """Mask logits ``[R, S, S]`` of N images' boxes, of one class each.

        Args:
            features: maps ``[N, channels, H_l, W_l]``, one for each stride.
            boxes: N tensors ``[R_i, 4]``, xyxy, pixels of the resized image.
            labels: int64 ``[R]``, 1..C.
        """
        return self.logits(self.pool(features, boxes), labels)

    def logits(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Mask logits ``[R, S, S]`` of pooled features ``[R, channels, P, P]`` for the classes ``labels`` ``[R]``.

        Only the map of each box's own class is computed: of R x C maps all but R would be thrown away.
        """
        predictor = self.predictor
        x = predictor.relu(predictor.conv5_mask(self.convs(pooled)))  # [R, D, S, S]
        last = predictor.mask_fcn_logits
        # A convolution with one output would add up its bias's gradient cell after cell, and lose digits by that.
        own = torch.zeros_like(labels) if self.class_agnostic else labels - 1
        weight = last.weight[own, :, 0, 0].to(x.dtype)  # [R, D]
        logits = torch.bmm(weight[:, None], x.flatten(2))[:, 0] + last.bias[own, None].to(x.dtype)
        return logits.view(-1, self.side, self.side)  # type: ignore[no-any-return]

    def masks(self, features: list[Tensor], boxes: list[Tensor], labels: list[Tensor]) -> list[Tensor]:
        """The masks of N images' detections: float32 ``[K_i, S, S]`` each, 0..1, over the box."""
        found = self(features, boxes, torch.cat(labels)).float().sigmoid()
        return list(torch.split(found, [len(b) for b in boxes]))
