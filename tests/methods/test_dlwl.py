"""DLWL-style assignment: the constraints hold, the best solution is found where the search can be complete."""

import itertools

import pytest
import torch

from clis_core.methods.dlwl import assign_label
from clis_core.methods.whole_pictures import whole_pictures
from tests.methods.small import some_batch, with_pictures
from tests.methods.test_image_methods import make


def iou(a, b):
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in range(2)]
    both = sides[0] * sides[1]
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def allowed(chosen, boxes, most, overlap):
    pairs = itertools.combinations(chosen, 2)
    return 1 <= len(chosen) <= most and all(iou(boxes[a], boxes[b]) <= overlap for a, b in pairs)


@pytest.mark.parametrize("seed", range(40))
def test_an_assignment_is_allowed_and_gains(seed):
    generator = torch.Generator().manual_seed(seed)
    count, most = 1 + seed % 7, 1 + seed % 3
    corner = torch.rand(count, 2, generator=generator) * 30
    boxes = torch.cat((corner, corner + 5 + torch.rand(count, 2, generator=generator) * 25), dim=1)
    gains = torch.rand(count, generator=generator) * 2 - 1 - (seed % 2)  # of odd seeds all are losses
    chosen = assign_label(gains, boxes, most, 0.3).tolist()
    plain = boxes.tolist()
    assert allowed(chosen, plain, most, 0.3)
    assert chosen[0] == int(gains.argmax())
    assert all(gains[r] > 0 for r in chosen[1:])
    value = float(gains[chosen].sum())
    every = [c for n in range(1, most + 1) for c in itertools.combinations(range(count), n)]
    best = max(float(gains[list(c)].sum()) for c in every if allowed(c, plain, most, 0.3))
    # Greedy: the best one first, so that no more is lost than the others could add.
    assert value <= best + 1e-6
    if most == 1 or seed % 2:
        assert value == pytest.approx(best)
    # Nothing more could be added to it.
    more = [r for r in range(count) if r not in chosen and gains[r] > 0 and allowed([*chosen, r], plain, most, 0.3)]
    assert not more


def test_apart_proposals_are_solved_to_the_optimum():
    boxes = torch.tensor([[x, 0.0, x + 8, 8] for x in (0.0, 10, 20, 30, 40)])
    gains = torch.tensor([0.2, -0.1, 0.5, 0.1, 0.3])
    assert assign_label(gains, boxes, 3, 0.3).tolist() == [2, 4, 0]
    assert assign_label(gains, boxes, 9, 0.3).tolist() == [2, 4, 0, 3]


def test_no_proposal_and_only_losses():
    assert assign_label(torch.zeros(0), torch.zeros(0, 4), 3, 0.3).tolist() == []
    assert assign_label(
        torch.tensor([-0.5, -0.2]), torch.tensor([[0.0, 0, 4, 4], [9, 9, 12, 12]]), 3, 0.3
    ).tolist() == [1]


def test_targets_are_proposals_of_the_pictures_own_label():
    method = make("dlwl", proposals=12, most=3)
    detector = method.detector
    raw, labels, _ = whole_pictures(with_pictures(some_batch((1,)), t=0), torch.device("cpu"))
    pictures = detector.preprocess(raw)
    with torch.no_grad():
        maps = detector.encoder(pictures.pixels)
        proposals = method._propose(pictures, maps)
        targets = method._assign(maps, proposals, labels)
        for n, target in enumerate(targets):
            assert 1 <= len(target.boxes) <= 3
            assert target.labels.tolist() == [int(labels[n])] * len(target.boxes)
            own = [m[n : n + 1] for m in maps]
            logits = detector.head.fc_cls(detector.head.cls_2fc(detector.pool_regions(own, [proposals[n][:12]])))
            gains = [float(row[labels[n]]) - float(row[0]) for row in logits.softmax(dim=1)]
            first = proposals[n][max(range(len(gains)), key=gains.__getitem__)]
            assert torch.equal(target.boxes[0], first)
