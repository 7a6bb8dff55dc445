"""A folded convolution and norm equal the two modules, in value and in gradient."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from clis_core.detectors.convnorm import ConvNorm, fold_norms, freeze


def randomise_norms(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | FrozenBatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large"])
def test_folded_network_equals_inference_mode(name):
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).double().eval()
    randomise_norms(network)
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    expected = network(x)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert fold_norms(network, affine=True) == norms  # none is left over
    torch.testing.assert_close(network.train()(x) if "mobilenet" not in name else network(x), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_gradients(bias):
    torch.manual_seed(0)
    conv, norm = (
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=bias).double(),
        nn.BatchNorm2d(6).double(),
    )
    randomise_norms(norm)
    norm.weight.data.uniform_(0.5, 1.5)
    norm.eval()
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad((norm(conv(x)) ** 2).sum(), [x, conv.weight, norm.weight, norm.bias])
    both = ConvNorm(conv, norm, affine=True)
    got = torch.autograd.grad((both(x) ** 2).sum(), [x, both.weight, both.gamma, both.beta])
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_frozen_norm_has_nothing_to_train():
    both = ConvNorm(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), affine=False)
    assert [n for n, _ in both.named_parameters()] == ["weight"]
    assert {"gamma", "beta", "mean", "var"} <= both.state_dict().keys()


def test_freeze_is_the_same_function_without_parameters_to_train():
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    randomise_norms(network)
    fold_norms(network, affine=True)
    x = torch.randn(1, 3, 64, 64)
    expected = network(x)
    freeze(network)
    torch.testing.assert_close(network(x), expected)
    assert not any(p.requires_grad for p in network.parameters())
    assert not any(isinstance(m, ConvNorm) for m in network.modules())
