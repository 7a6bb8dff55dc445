"""Embedded regions in, class logits out: the linear class layer, the cosine one, or the one with factors.

R regions, D = head width, K logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.config.detector import HeadConfig
from clis_core.losses.build import ClassLoss


class CosineClassifier(nn.Module):
    """z = T x w / (|w| |x|) + b: the normalised linear layer of Seesaw (Wang et al. 2021, arXiv 2008.10032).

    Args:
        in_features: D.
        out_features: K.
        temperature: T.
    """

    def __init__(self, in_features: int, out_features: int, temperature: float) -> None:
        super().__init__()
        self.in_features = in_features
        self.temperature = temperature
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """``[R, D]`` to logits ``[R, K]``; the norms are taken in float32."""
        cosine = F.linear(_unit(x), _unit(self.weight))
        return self.temperature * cosine + self.bias.to(cosine.dtype)


class ScaledClassifier(nn.Module):
    """z = f w x + b, a factor f for each logit: learnable weight scaling (Kang et al. 2020, arXiv 1910.09217).

    Args:
        in_features: D.
        out_features: K.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        self.scale = nn.Parameter(torch.ones(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """``[R, D]`` to logits ``[R, K]``."""
        return F.linear(x, self.weight * self.scale[:, None], self.bias)


Classifier = nn.Linear | CosineClassifier | ScaledClassifier


def build_classifier(config: HeadConfig, class_loss: ClassLoss) -> Classifier:
    """The class layer of a head; `init_classifier` gives it its first weights."""
    match config.classifier:
        case "linear":
            return nn.Linear(config.width, class_loss.num_logits)
        case "cosine":
            return CosineClassifier(config.width, class_loss.num_logits, config.temperature)
        case "scaled":
            return ScaledClassifier(config.width, class_loss.num_logits)


def init_classifier(layer: Classifier, class_loss: ClassLoss) -> None:
    """Small random weights, and the bias that the class loss begins with."""
    nn.init.normal_(layer.weight, std=0.01)
    with torch.no_grad():
        layer.bias.copy_(class_loss.first_bias())


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=1).to(x.dtype)
