"""Normalised pixels in, the levels of a feature pyramid out."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops.feature_pyramid_network import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
)

from clis_core.config.detector import BackboneConfig, DensePyramidConfig, PyramidConfig
from clis_core.detectors.backbones import STRIDES, build_backbone


class Encoder(nn.Module):
    """Backbone and feature pyramid (Lin et al. 2017): pixels to levels.

    Args:
        backbone: which network.
        pyramid: which of its maps, and the levels beyond them: one that is pooled, or two that are convolved.
    """

    def __init__(self, backbone: BackboneConfig, pyramid: PyramidConfig | DensePyramidConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone)
        self.used = [STRIDES.index(s) for s in pyramid.strides]
        channels = [self.backbone.channels[i] for i in self.used]
        self.pyramid = FeaturePyramidNetwork(channels, pyramid.channels, extra_blocks=_beyond(pyramid, channels[-1]))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` to one map ``[N, C, H / s, W / s]`` for each stride s of the pyramid."""
        maps = self.backbone(pixels)
        return list(self.pyramid({str(i): maps[i] for i in self.used}).values())

    def merged(self, pixels: Tensor) -> list[Tensor]:
        """What each level's last convolution makes the level of, without those that are made from another."""
        maps = self.backbone(pixels)
        levels = [inner(maps[i]) for inner, i in zip(self.pyramid.inner_blocks, self.used, strict=True)]
        for fine in reversed(range(len(levels) - 1)):
            above = F.interpolate(levels[fine + 1], size=levels[fine].shape[-2:], mode="nearest")
            levels[fine] = levels[fine] + above
        return levels


def _beyond(pyramid: PyramidConfig | DensePyramidConfig, last: int) -> ExtraFPNBlock:
    """What makes the levels beyond the backbone's; ``last`` is the channels of its last map."""
    if isinstance(pyramid, PyramidConfig):
        return LastLevelMaxPool()
    block = LastLevelP6P7(last if pyramid.extra == "c5" else pyramid.channels, pyramid.channels)
    block.use_P5 = pyramid.extra == "p5"  # torchvision tells by the channels, which may be equal
    return block
