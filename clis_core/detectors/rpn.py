"""Region proposal network: feature maps in, anchors with scores and offsets out, and the proposals they make.

N images, A anchors of an image over all levels, A_l of one level, P proposals. Boxes are xyxy in pixels of the
resized image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import batched_nms

from clis_core.config.detector import RpnConfig
from clis_core.detectors.boxcoding import RPN_WEIGHTS, clip, decode

MIN_SIDE = 1e-3


class RpnOutput(NamedTuple):
    """What the network says of every anchor.

    Attributes:
        anchors: ``[A, 4]``, the same for every image of a batch.
        logits: ``[N, A]``, object against background.
        offsets: ``[N, A, 4]`` from the anchors.
        levels: anchors of each level, A = sum(levels).
    """

    anchors: Tensor
    logits: Tensor
    offsets: Tensor
    levels: list[int]


class ProposalNetwork(nn.Module):
    """Two small outputs on every pyramid level, and the choice of the best boxes.

    Args:
        config: anchors and NMS.
        channels: channels of the pyramid.
        strides: stride of each pyramid level.
    """

    def __init__(self, config: RpnConfig, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.anchors = AnchorGenerator(
            tuple((round(config.anchor_scale * s),) for s in strides),
            (config.anchor_ratios,) * len(strides),
        )
        self.head = RPNHead(channels, len(config.anchor_ratios), conv_depth=config.convs)

    def forward(self, pixels: Tensor, features: list[Tensor]) -> RpnOutput:
        """Outputs for a batch ``[N, 3, H, W]`` with its pyramid levels ``[N, C, H_l, W_l]``."""
        logits, offsets = self.head(features)
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        # The generator takes the precision of the maps, and bfloat16 would round anchors to 8 pixels.
        maps = [f[:1, :1].float() for f in features]
        anchors = self.anchors(ImageList(pixels[:1], [size]), maps)[0]
        flat_logits = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]  # [N, A_l]
        flat_offsets = [x.permute(0, 2, 3, 1).reshape(len(x), -1, 4) for x in offsets]  # [N, A_l, 4]
        return RpnOutput(
            anchors,
            torch.cat(flat_logits, dim=1),
            torch.cat(flat_offsets, dim=1),
            [x.shape[1] for x in flat_logits],
        )

    @torch.no_grad()
    def propose(
        self, output: RpnOutput, sizes: list[tuple[int, int]], before_nms: int, proposals: int, nms_iou: float
    ) -> list[Tensor]:
        """The best boxes of each image: best of each level, decoded, NMS within the level, best of all.

        Args:
            output: of `forward`.
            sizes: (height, width) of each image without padding.
            before_nms: boxes of a level that enter NMS.
            proposals: boxes of an image that leave it.
            nms_iou: overlap above which the lower-scored of two proposals of a level goes.

        Returns:
            N tensors ``[P, 4]``, P <= ``proposals``, best first.
        """
        chosen, level_of = [], []
        start = 0
        for level, count in enumerate(output.levels):
            logits = output.logits[:, start : start + count]
            top = logits.topk(min(before_nms, count), dim=1).indices + start  # [N, K]
            chosen.append(top)
            level_of.append(torch.full_like(top[0], level))
            start += count
        index = torch.cat(chosen, dim=1)
        levels = torch.cat(level_of)
        result = []
        for image, size in enumerate(sizes):
            logits = output.logits[image, index[image]].float()
            offsets = output.offsets[image, index[image]].float()
            boxes = clip(decode(offsets, output.anchors[index[image]], RPN_WEIGHTS), size)
            keep = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(dim=1).nonzero()[:, 0]
            boxes, logits = boxes[keep], logits[keep]
            kept = batched_nms(boxes, logits, levels[keep], nms_iou)[:proposals]
            result.append(boxes[kept])
        return result
