"""A channel count for each stage goes in; a residual network of one block a stage comes out, for training from nothing.

An eighth of the arithmetic of ResNet-18: where there are no first weights and minutes to train, it sees that many more
images.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEM, STAGES = 32, (48, 96, 128, 192)
_GROUP = 16  # channels of a group of group norm


class Block(nn.Module):
    """Two convolutions with group norm beside a shortcut (He et al. 2016; Wu and He 2018); halves the resolution.

    Args:
        channels_in: of the input.
        channels: of the output; a multiple of 16.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *_conv(channels_in, channels, 3, stride=2), nn.ReLU(inplace=True), *_conv(channels, channels, 3)
        )
        self.shortcut = nn.Sequential(*_conv(channels_in, channels, 1, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels_in, H, W]`` to ``[N, channels, H / 2, W / 2]``."""
        return torch.relu(self.inner(x) + self.shortcut(x))


def slim_stages() -> list[nn.Module]:
    """Stages of stride 4, 8, 16 and 32, with random weights; their channels are `STAGES`."""
    stem = [*_conv(3, STEM, 3, stride=2), nn.ReLU(inplace=True)]
    blocks = [Block(a, b) for a, b in zip((STEM, *STAGES), STAGES, strict=False)]
    return [nn.Sequential(*stem, blocks[0]), *blocks[1:]]


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv, nn.GroupNorm(channels // _GROUP, channels)
