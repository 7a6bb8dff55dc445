"""RoIAlign as a weighted sum of pixels equals torchvision's kernel, in value and in gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import MultiScaleRoIAlign

from clis_core.detectors.roi_pool import RoiPool


def make(seed, images=2, size=(96, 128), strides=(4, 8, 16, 32), channels=3, count=9, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    maps = [
        torch.randn(images, channels, size[0] // s, size[1] // s, generator=generator, dtype=dtype)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for s in strides
    ]
    frame = torch.tensor([size[1], size[0]], dtype=dtype)
    boxes = []
    for _ in range(images):
        a = torch.rand(count, 2, generator=generator, dtype=dtype) * frame
        b = a + torch.exp(torch.rand(count, 2, generator=generator, dtype=dtype) * 6 - 1)
        boxes.append(torch.cat((a, torch.minimum(b, frame)), dim=1))  # some touch the border, some are tiny
    return maps, boxes


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), pool=st.sampled_from([1, 3, 7]), samples=st.sampled_from([1, 2, 3]))
def test_equals_torchvision(seed, pool, samples):
    maps, boxes = make(seed)
    sizes = [(96, 128)] * 2
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], pool, samples)(
        {str(i): m for i, m in enumerate(maps)}, boxes, sizes
    )
    weight = torch.randn_like(theirs)
    expected = torch.autograd.grad((theirs * weight).sum(), maps)
    ours = RoiPool((4, 8, 16, 32), pool, samples, 224.0)(maps, boxes)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(torch.autograd.grad((ours * weight).sum(), maps), expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_both_ways_agree_and_reach_every_level():
    maps, boxes = make(0, dtype=torch.float32)
    pool = RoiPool((4, 8, 16, 32), 7, 2, 15.0)
    image = torch.arange(2).repeat_interleave(9)
    rois = torch.cat(boxes)
    assert set(pool.levels(rois).tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(pool.bags(maps, rois, image), pool._kernel(maps, rois, image), atol=1e-4, rtol=1e-4)


def test_level_follows_equation_1():
    pool = RoiPool((4, 8, 16, 32), 7, 2, 224.0)
    sides = torch.tensor([10.0, 56.0, 111.9, 112.0, 223.9, 224.0, 447.0, 448.0, 5000.0])
    boxes = torch.stack((torch.zeros(9), torch.zeros(9), sides, sides), dim=1)
    assert pool.levels(boxes).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("way", ["bags", "_kernel"])
def test_no_boxes_keeps_the_graph(way):
    maps, _ = make(0, dtype=torch.float32)
    out = getattr(RoiPool((4, 8, 16, 32), 7, 2, 224.0), way)(maps, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert out.shape == (0, 3, 7, 7)
    for gradient in torch.autograd.grad(out.sum(), maps):
        assert not gradient.any()
