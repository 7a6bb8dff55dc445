"""ATSS and FCOS's ranges against plain loops written from the papers; what is ignored; which rule is taken."""

import math
import statistics

import pytest
import torch

from clis_core.batch import Target
from clis_core.config.method import AtssAssign, MaxIouAssign, RangesAssign
from clis_core.methods.assign import BACKGROUND, IGNORED, match
from clis_core.methods.assign_dense import assign, atss, ranges

STRIDES = (8, 16, 32, 64, 128)
FRAME = (96, 128)


def grid(sides=(1.0,)):
    """Square anchors of some sides, in strides, at the places of five levels; and how many each level has."""
    anchors, counts = [], []
    for stride in STRIDES:
        places = [
            (x * stride, y * stride) for y in range(-(-FRAME[0] // stride)) for x in range(-(-FRAME[1] // stride))
        ]
        half = [side * stride / 2 for side in sides]
        anchors += [(x - h, y - h, x + h, y + h) for x, y in places for h in half]
        counts.append(len(places) * len(sides))
    return torch.tensor(anchors), counts


def some_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([90.0, 60.0])
    side = 4 + torch.rand(count, 2, generator=generator) ** 2 * torch.tensor([110.0, 80.0])
    return torch.cat((corner, corner + side), dim=1)


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def atss_in_loops(truth, anchors, counts, k):
    best = {}
    for g, box in enumerate(truth):
        candidates, start = [], 0
        for count in counts:
            level = range(start, start + count)
            candidates += sorted(level, key=lambda a: math.dist(middle(anchors[a]), middle(box)))[:k]
            start += count
        overlaps = [overlap(anchors[a], box) for a in candidates]
        bound = statistics.mean(overlaps) + statistics.stdev(overlaps)
        for a, iou in zip(candidates, overlaps, strict=True):
            x, y = middle(anchors[a])
            inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if iou >= bound and inside and iou > best.get(a, (-1.0, 0))[0]:
                best[a] = (iou, g)
    return [best[a][1] if a in best else BACKGROUND for a in range(len(anchors))]


def ranges_in_loops(truth, anchors, counts, scale, radius):
    matched, a = [], 0
    for level, (stride, count) in enumerate(zip(STRIDES, counts, strict=True)):
        low = 0.0 if level == 0 else scale * stride / 2
        high = math.inf if level == len(STRIDES) - 1 else scale * stride
        for _ in range(count):
            x, y = middle(anchors[a])
            fits = []
            for g, box in enumerate(truth):
                sides = (x - box[0], y - box[1], box[2] - x, box[3] - y)
                cx, cy = middle(box)
                near = not radius or max(abs(x - cx), abs(y - cy)) < radius * stride
                if min(sides) > 0 and low < max(sides) <= high and near:
                    fits.append(((box[2] - box[0]) * (box[3] - box[1]), g))
            matched.append(min(fits)[1] if fits else BACKGROUND)
            a += 1
    return matched


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("k", "sides"), [(9, (8.0,)), (3, (4.0,)), (18, (6.0, 8.0))])
def test_atss_in_loops(seed, k, sides):
    anchors, counts = grid(sides)
    truth = some_boxes(1 + 2 * seed, seed).double()
    # Float64: with anchors on a grid, distances to boxes anywhere are not equal by chance; of two at one place the
    # order does not matter as long as both are taken.
    expected = atss_in_loops(truth.tolist(), anchors.tolist(), counts, k)
    found = atss(truth, anchors.double(), counts, k)
    assert found.tolist() == expected
    assert (found >= 0).any()
    assert atss(truth.float(), anchors, counts, k).shape == found.shape


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("scale", "radius"), [(8.0, 1.5), (4.0, 1.5), (4.0, 0.0)])
def test_ranges_in_loops(seed, scale, radius):
    anchors, counts = grid()
    truth = some_boxes(1 + 2 * seed, seed)
    found = ranges(truth, anchors, counts, scale, radius)
    assert found.tolist() == ranges_in_loops(truth.tolist(), anchors.tolist(), counts, scale, radius)
    assert (found >= 0).any()


def test_a_point_of_two_boxes_goes_to_the_smaller():
    anchors, counts = grid()
    big, small = [10.0, 10.0, 60.0, 60.0], [20.0, 20.0, 52.0, 52.0]
    at = next(i for i, a in enumerate(anchors.tolist()) if middle(a) == (32, 32))
    for truth, expected in (([big, small], 1), ([small, big], 0)):
        assert int(ranges(torch.tensor(truth), anchors, counts, 8.0, 0.0)[at]) == expected


@pytest.mark.parametrize("rule", [MaxIouAssign(), AtssAssign(), RangesAssign()])
def test_without_boxes_all_is_background_but_what_is_ignored(rule):
    anchors, counts = grid()
    ignored = torch.tensor([[0.0, 0.0, 40.0, 40.0]])
    target = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), ignored)
    matched = assign(target, anchors, counts, rule, points=True)
    assert set(matched.tolist()) == {BACKGROUND, IGNORED}
    at = next(i for i, a in enumerate(anchors.tolist()) if middle(a) == (16, 16))
    assert int(matched[at]) == IGNORED
    alone = assign(target._replace(ignored=None), anchors, counts, rule, points=True)
    assert (alone == BACKGROUND).all()


def test_the_rule_of_the_config_is_taken():
    anchors, counts = grid((4.0,))
    truth = some_boxes(4, 1)
    target = Target(truth, torch.ones(4, dtype=torch.int64))
    wanted = match(truth, anchors, 0.6, 0.2, best_anchor=True)
    assert torch.equal(
        assign(target, anchors, counts, MaxIouAssign(positive_iou=0.6, negative_iou=0.2), points=False), wanted
    )
    assert torch.equal(assign(target, anchors, counts, AtssAssign(k=5), points=False), atss(truth, anchors, counts, 5))
    points, _ = grid()
    grown, _ = grid((4.0,))
    wanted = atss(truth, grown, counts, 9)
    assert torch.equal(assign(target, points, counts, AtssAssign(scale=4.0), points=True), wanted)
    wanted = ranges(truth, points, counts, 4.0, 0.5)
    assert torch.equal(assign(target, points, counts, RangesAssign(scale=4.0, radius=0.5), points=True), wanted)
