"""Pyramid levels in; class logits, coded boxes and their quality at every anchor out.

N images, C channels of the pyramid, A anchors at a place, A_l of a level, K class logits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from clis_core.config.detector import DenseHeadConfig
from clis_core.losses.build import DenseLoss


class LevelOutput(NamedTuple):
    """What the head says of the anchors of one level, row by row, place by place.

    Attributes:
        logits: ``[N, A_l, K]``.
        codes: ``[N, A_l, 4]``: offsets from the anchors, or distances from the points.
        quality: ``[N, A_l]``, a logit; None where the head has no such output.
    """

    logits: Tensor
    codes: Tensor
    quality: Tensor | None


class DenseHead(nn.Module):
    """The two towers of RetinaNet and FCOS, the same for all levels, and an output for the boxes' quality.

    Args:
        config: which parts there are.
        channels: C.
        anchors: A.
        class_loss: gives the number of class logits and their activation.
        positive: whether codes are never negative, as distances are.
    """

    def __init__(
        self, config: DenseHeadConfig, channels: int, anchors: int, class_loss: DenseLoss, *, positive: bool
    ) -> None:
        super().__init__()
        self.class_loss = class_loss
        self.positive = positive
        self.square_root = config.combine == "sqrt"
        self.cls_tower = _tower(config, channels)
        self.box_tower = _tower(config, channels)
        self.conv_cls = _conv(channels, anchors * class_loss.num_logits)
        self.conv_box = _conv(channels, anchors * 4)
        self.conv_quality = _conv(channels, anchors) if config.quality != "none" else None
        with torch.no_grad():
            self.conv_cls.bias.copy_(class_loss.first_bias().repeat(anchors))  # type: ignore[union-attr]

    def forward(self, features: list[Tensor]) -> list[LevelOutput]:
        """The outputs of each level ``[N, C, H, W]``."""
        return [self._level(x) for x in features]

    def _level(self, feature: Tensor) -> LevelOutput:
        of_box = self.box_tower(feature)
        codes = _by_anchor(self.conv_box(of_box), 4)
        if self.positive:
            codes = codes.relu()
        quality = None if self.conv_quality is None else _by_anchor(self.conv_quality(of_box), 1)[:, :, 0]
        logits = _by_anchor(self.conv_cls(self.cls_tower(feature)), self.class_loss.num_logits)
        return LevelOutput(logits, codes, quality)

    def scores(self, logits: Tensor, quality: Tensor | None) -> Tensor:
        """Scores ``[..., C]``: class probability, times quality where there is one, or the root of both.

        Args:
            logits: ``[..., K]``.
            quality: ``[...]``, its logits.
        """
        scores = self.class_loss.scores(logits)
        if quality is None:
            return scores
        scores = scores * quality[..., None].float().sigmoid()
        return scores.sqrt() if self.square_root else scores


def _tower(config: DenseHeadConfig, channels: int) -> nn.Sequential:
    # 8 channels a group, 32 groups of 256 as torchvision's; one alone would be its own mean on a map of one pixel.
    together = math.gcd(channels, 8)
    groups = channels // together if together > 1 else 1
    layers: list[nn.Module] = []
    for _ in range(config.convs):
        layers.append(_conv(channels, channels))
        if config.norm == "group":
            layers.append(nn.GroupNorm(groups, channels))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def _by_anchor(x: Tensor, values: int) -> Tensor:
    """``[N, A * values, H, W]`` to ``[N, H * W * A, values]``; no copy where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, values)
