"""Convolutions with a batch norm of stored statistics: two modules in, one convolution out.

With frozen statistics a batch norm is an affine map, so that norm(conv(x)) is a convolution with scaled
weights: w' = w * gamma / sqrt(var + eps), b' = beta - mean * gamma / sqrt(var + eps). Scaling the weights costs
far less than scaling the feature maps, and keeps one feature map less for the backward pass.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FrozenBatchNorm2d


class ConvNorm(nn.Module):
    """A convolution followed by a batch norm of stored statistics.

    Args:
        conv: the convolution; its weight is taken over.
        norm: the batch norm after it.
        affine: whether the norm's scale and shift are trained.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d | FrozenBatchNorm2d, *, affine: bool) -> None:
        super().__init__()
        self.weight = conv.weight
        self.bias = conv.bias
        self.stride, self.padding = conv.stride, conv.padding
        self.dilation, self.groups = conv.dilation, conv.groups
        self.eps = norm.eps
        gamma = norm.weight.detach().clone()
        beta = norm.bias.detach().clone()
        if affine:
            self.gamma, self.beta = nn.Parameter(gamma), nn.Parameter(beta)
        else:
            self.register_buffer("gamma", gamma)
            self.register_buffer("beta", beta)
        self.register_buffer("mean", cast(Tensor, norm.running_mean).detach().clone())
        self.register_buffer("var", cast(Tensor, norm.running_var).detach().clone())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that does both."""
        scale = self.gamma * torch.rsqrt(self.var + self.eps)  # [C_out]
        shift = self.beta - self.mean * scale
        if self.bias is not None:
            shift = shift + self.bias * scale
        return self.weight * scale[:, None, None, None], shift

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C_in, H, W]`` to ``[N, C_out, H', W']``."""
        weight, bias = self.folded()
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def fold_norms(module: nn.Module, *, affine: bool) -> int:
    """Replace each convolution that a batch norm follows, in place, by one `ConvNorm`.

    A norm counts as following where it is the next child of the same parent, which holds for torchvision's
    residual networks and MobileNets.

    Args:
        module: the network.
        affine: whether the norms' scales and shifts are trained.

    Returns:
        How many pairs were replaced.
    """
    pairs = 0
    children = list(module.named_children())
    for (name, first), (next_name, second) in pairwise(children):
        # Exactly these types: a subclass may do more, such as pad, standardise its weights, or activate.
        if type(first) is nn.Conv2d and type(second) in (nn.BatchNorm2d, FrozenBatchNorm2d):
            setattr(module, name, ConvNorm(first, second, affine=affine))
            setattr(module, next_name, nn.Identity())
            pairs += 1
    for child in module.children():
        if not isinstance(child, ConvNorm):
            pairs += fold_norms(child, affine=affine)
    return pairs


def freeze(module: nn.Module) -> None:
    """Stop training a network for good: every `ConvNorm` in it becomes one plain convolution."""
    for name, child in list(module.named_children()):
        if isinstance(child, ConvNorm):
            weight, bias = child.folded()
            out_channels, in_channels, *kernel = weight.shape
            conv = nn.Conv2d(
                in_channels * child.groups,
                out_channels,
                (kernel[0], kernel[1]),
                cast(tuple[int, int], child.stride),
                child.padding,  # type: ignore[arg-type]
                cast(tuple[int, int], child.dilation),
                child.groups,
            )
            conv.weight = nn.Parameter(weight.detach().clone(memory_format=torch.preserve_format))
            conv.bias = nn.Parameter(bias.detach().clone())
            setattr(module, name, conv)
        else:
            freeze(child)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
