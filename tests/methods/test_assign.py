"""Matching and sampling against torchvision's matcher and plain loops."""

import pytest
import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from clis_core.methods.assign import BACKGROUND, IGNORED, match, sample


def boxes(count, seed, size=100.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size
    return torch.cat((corner, corner + 2 + torch.rand(count, 2, generator=generator) * 40), dim=1)


@pytest.mark.parametrize(("positive", "negative", "best"), [(0.7, 0.3, True), (0.5, 0.5, False)])
@pytest.mark.parametrize("seed", range(5))
def test_equals_torchvision(positive, negative, best, seed):
    truth, candidates = boxes(6, seed), torch.cat((boxes(300, seed + 50), boxes(6, seed) + 1))
    theirs = Matcher(positive, negative, allow_low_quality_matches=best)(box_iou(truth, candidates))
    assert torch.equal(match(truth, candidates, positive, negative, best_anchor=best), theirs)


def test_plain_loop():
    truth, candidates = boxes(4, 1), boxes(80, 2)
    iou = box_iou(truth, candidates)
    expected = []
    for a in range(80):
        g = max(range(4), key=lambda g: iou[g, a])
        value = iou[g, a]
        expected.append(g if value >= 0.7 else BACKGROUND if value < 0.3 else IGNORED)
        if any(iou[k, a] == iou[k].max() > 0 for k in range(4)):
            expected[-1] = g
    assert match(truth, candidates, 0.7, 0.3, best_anchor=True).tolist() == expected


def test_every_truth_that_meets_an_anchor_gets_one():
    truth = torch.tensor([[0.0, 0.0, 3.0, 3.0], [500.0, 500.0, 510.0, 510.0]])  # the second meets none
    anchors = torch.tensor([[0.0, 0.0, 32.0, 32.0], [40.0, 40.0, 72.0, 72.0]])
    assert match(truth, anchors, 0.7, 0.3, best_anchor=True).tolist() == [0, BACKGROUND]


def test_no_truth_is_all_background():
    assert match(torch.zeros(0, 4), boxes(7, 0), 0.7, 0.3, best_anchor=True).tolist() == [BACKGROUND] * 7


@pytest.mark.parametrize(
    ("objects", "background", "expected"),
    [(100, 1000, (64, 192)), (10, 1000, (10, 246)), (100, 50, (64, 50)), (0, 0, (0, 0)), (3, 2, (3, 2))],
)
def test_sample_counts(objects, background, expected):
    matched = torch.cat((torch.zeros(objects), torch.full((background,), -1), torch.full((9,), -2))).long()
    matched = matched[torch.randperm(len(matched))]
    positive, negative = sample(matched, 256, 0.25)
    assert (len(positive), len(negative)) == expected
    assert (matched[positive] >= 0).all()
    assert (matched[negative] == BACKGROUND).all()
    assert len(positive.unique()) == len(positive)
    assert len(negative.unique()) == len(negative)


def test_sample_is_uniform():
    torch.manual_seed(0)
    matched = torch.tensor([0] * 4 + [-1] * 8)
    hits = torch.zeros(12)
    for _ in range(2000):
        for index in sample(matched, 4, 0.5):
            hits[index] += 1
    assert (hits[:4] / 2000 - 2 / 4).abs().max() < 0.06
    assert (hits[4:] / 2000 - 2 / 8).abs().max() < 0.06


def test_what_lies_on_an_ignored_box_is_no_background() -> None:
    generator = torch.Generator().manual_seed(3)
    corners = 80 * torch.rand(60, 2, generator=generator)
    boxes = torch.cat((corners, corners + 1 + 30 * torch.rand(60, 2, generator=generator)), dim=1)
    truth, ignored = boxes[:3] + 1, torch.tensor([[10.0, 10, 50, 50], [60, 20, 90, 90]])
    plain = match(truth, boxes, 0.5, 0.5, best_anchor=False)
    found = match(truth, boxes, 0.5, 0.5, best_anchor=False, ignored=ignored)
    for box, before, after in zip(boxes.tolist(), plain.tolist(), found.tolist(), strict=True):
        shares = []
        for x0, y0, x1, y1 in ignored.tolist():
            width, height = min(box[2], x1) - max(box[0], x0), min(box[3], y1) - max(box[1], y0)
            shares.append(max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1])))
        assert after == (IGNORED if before == BACKGROUND and max(shares) >= 0.5 else before)
    assert 5 < int((found == IGNORED).sum()) < 55
    assert match(truth[:0], boxes, 0.5, 0.5, best_anchor=True, ignored=ignored).tolist().count(IGNORED) > 5
