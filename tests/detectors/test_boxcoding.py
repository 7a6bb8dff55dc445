"""Offsets equal torchvision's coder, and decode undoes encode."""

import torch
from torchvision.models.detection._utils import BoxCoder

from clis_core.detectors.boxcoding import ROI_WEIGHTS, RPN_WEIGHTS, clip, decode, encode


def boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 200
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=generator) * 100), dim=1)


def test_against_torchvision():
    for weights in (RPN_WEIGHTS, ROI_WEIGHTS):
        coder = BoxCoder(weights)
        truth, reference = boxes(50, 0), boxes(50, 1)
        offsets = encode(truth, reference, weights)
        torch.testing.assert_close(offsets, coder.encode_single(truth, reference), atol=1e-4, rtol=1e-4)
        wild = torch.randn(50, 4) * 5
        torch.testing.assert_close(decode(wild, reference, weights), coder.decode_single(wild, reference))


def test_round_trip_by_hand():
    truth, reference = torch.tensor([[10.0, 20.0, 30.0, 60.0]]), torch.tensor([[0.0, 0.0, 20.0, 20.0]])
    offsets = encode(truth, reference, RPN_WEIGHTS)
    assert torch.allclose(offsets, torch.tensor([[0.5, 1.5, 0.0, 0.6931472]]))
    torch.testing.assert_close(decode(offsets, reference, RPN_WEIGHTS), truth)


def test_clip():
    assert clip(torch.tensor([[-5.0, 3.0, 50.0, 99.0]]), (40, 30)).tolist() == [[0.0, 3.0, 30.0, 40.0]]
