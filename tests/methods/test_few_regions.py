"""Pooling a few regions gives what the whole pyramid gives, in value and in gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from clis_core.detectors.build import Detector
from clis_core.methods.few_regions import pool_few
from tests.methods.small import small_detector


def random_boxes(images: int, count: int, size: tuple[int, int], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    frame = torch.tensor([size[1], size[0]])
    found = []
    for _ in range(images):
        a = torch.rand(count, 2, generator=generator) * frame
        b = a + torch.exp(torch.rand(count, 2, generator=generator) * 5)
        found.append(torch.cat((a, torch.minimum(b, frame.float())), dim=1))
    return found


def detector() -> Detector:
    found = small_detector()
    found.pool.level_size = 15.0  # so that the boxes lie on every level
    for parameter in found.parameters():
        parameter.requires_grad_()
    return found.double()


@pytest.mark.parametrize("size", [(64, 96), (128, 128), (32, 160)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_whole_pyramid(size: tuple[int, int], seed: int) -> None:
    one = detector()
    other = copy.deepcopy(one)
    pixels = torch.randn(3, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    boxes = [b.double() for b in random_boxes(3, 5, size, seed)]
    boxes[1] = boxes[1][:0]  # an image without boxes
    boxes[2][0] = torch.tensor([0, 0, size[1], size[0]])  # ... and a box that touches every edge
    whole = one.pool_regions(one.encoder(pixels), boxes)
    few = pool_few(other, pixels, boxes)
    torch.testing.assert_close(few, whole)
    weight = torch.randn_like(whole)
    for found, model in ((whole, one), (few, other)):
        (found * weight).sum().backward()
        assert model.encoder.pyramid.layer_blocks[0][0].weight.grad is not None
    compared = 0
    for (name, a), b in zip(one.encoder.named_parameters(), other.encoder.parameters(), strict=True):
        zero = torch.zeros_like(a)
        torch.testing.assert_close(
            zero if b.grad is None else b.grad, zero if a.grad is None else a.grad, msg=lambda m, n=name: f"{n}: {m}"
        )
        compared += bool(a.grad is not None and a.grad.abs().max() > 0)
    assert compared > 50


def test_the_boxes_of_this_test_lie_on_every_level() -> None:
    assert detector().pool.levels(torch.cat(random_boxes(3, 5, (64, 96), 0))).unique().tolist() == [0, 1, 2]


def test_every_level_stays_on_the_graph() -> None:
    one = detector()
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]], dtype=torch.float64)  # on the finest level alone
    pool_few(one, torch.randn(1, 3, 64, 64, dtype=torch.float64), [box]).sum().backward()
    for block in one.encoder.pyramid.layer_blocks:
        assert block[0].weight.grad is not None
    assert one.encoder.pyramid.layer_blocks[0][0].weight.grad.abs().max() > 0
    assert one.encoder.pyramid.layer_blocks[2][0].weight.grad.abs().max() == 0


def test_no_boxes_at_all() -> None:
    one = small_detector()
    found = pool_few(one, torch.randn(2, 3, 64, 64), [torch.zeros((0, 4))] * 2)
    assert found.shape == (0, 16, 3, 3)
    found.sum().backward()


def test_mixed_precision_sums_in_full() -> None:
    one = small_detector().eval()
    pixels, boxes = torch.randn(2, 3, 64, 96), random_boxes(2, 4, (64, 96), 0)
    with torch.no_grad():
        exact = pool_few(one, pixels, boxes)
        with torch.autocast("cpu", torch.bfloat16):
            mixed, whole = pool_few(one, pixels, boxes), one.pool_regions(one.encoder(pixels), boxes)
    assert mixed.dtype == whole.dtype == torch.float32
    scale = exact.abs().max()
    assert (mixed - exact).abs().max() < 1.5 * (whole - exact).abs().max() + 0.01 * scale
