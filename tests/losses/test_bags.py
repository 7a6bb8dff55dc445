"""BAGS against plain loops, its groups, the others that are drawn, and one group as a softmax."""

import pytest
import torch
from torch.nn import functional as F

from clis_core.config.class_loss import BagsLoss
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import make, regions

ALL = 1e6  # every "others" is learnt from


def test_groups_are_those_of_the_training_boxes():
    # boxes: 400, 60, 8, 5, 2
    assert make(config=BagsLoss(bounds=(5, 50))).group.tolist() == [2, 2, 1, 1, 0]
    assert make(config=BagsLoss(bounds=(6, 60, 400))).group.tolist() == [3, 2, 1, 0, 0]
    assert make(config=BagsLoss()).group.tolist() == [2, 1, 0, 0, 0]
    assert make(config=BagsLoss(bounds=())).group.tolist() == [0] * 5
    assert make(config=BagsLoss()).num_logits == 2 + 4 + 5


@pytest.mark.parametrize("bounds", [(5, 50), (), (1000, 2000), (3, 6, 50)])
def test_equals_the_equations(bounds):
    loss = make(config=BagsLoss(bounds=bounds, others=ALL))
    logits, labels = regions(loss)
    logits.requires_grad_()
    value = loss(logits, labels)
    group = loss.group.tolist()

    def oracle(rows):
        return oracles.bags(rows, labels.tolist(), group, len(bounds) + 1)

    assert value.item() == pytest.approx(oracle(logits.detach().double().tolist()), rel=1e-5)
    assert_gradient(value, logits, oracle)


def test_a_group_without_objects_learns_nothing():
    loss = make(config=BagsLoss(bounds=(5, 50), others=ALL))
    logits, _ = regions(loss)
    logits.requires_grad_()
    labels = torch.tensor([0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 2])  # both are of the last group
    value = loss(logits, labels)
    assert value.item() == pytest.approx(
        oracles.bags(logits.detach().tolist(), labels.tolist(), loss.group.tolist(), 3)
    )
    value.backward()
    assert not logits.grad[:, [2, 3, 7, 8, 9]].any()
    assert logits.grad[:, [0, 1, 4, 5, 6]].all()


def test_one_group_is_a_softmax():
    """Of the "others" and the classes, like background and the classes."""
    loss = make(config=BagsLoss(bounds=(), others=ALL))
    logits, labels = regions(loss)
    wanted = F.cross_entropy(logits[:, 2:], labels) + F.cross_entropy(logits[:, :2], (labels > 0).long())
    torch.testing.assert_close(loss(logits, labels), wanted)
    is_object = logits[:, :2].softmax(dim=1)[:, 1:]
    torch.testing.assert_close(loss.scores(logits), logits[:, 2:].softmax(dim=1)[:, 1:] * is_object)


def test_others_are_drawn_in_proportion_to_the_objects():
    loss = make(config=BagsLoss(bounds=(5, 50), others=2.0))
    labels = torch.tensor([0] * 60 + [5, 1, 1, 3])  # one object of group 0, two of group 2, one of group 1
    drawn = set()
    for seed in range(20):
        torch.manual_seed(seed)
        logits = torch.zeros(64, loss.num_logits, requires_grad=True)
        loss(logits, labels).backward()
        others = logits.grad[:, 2:5] < 0  # where "others" was the target
        assert others.sum(0).tolist() == [2, 2, 4]
        assert not others[60, 0]
        assert not others[61:63, 2].any()
        # The mean over what was drawn: each of the 3 regions of group 0 counts a third.
        assert logits.grad[60, 9].item() == pytest.approx((0.5 - 1) / 3)
        drawn.add(tuple(others[:, 0].nonzero()[:, 0].tolist()))
    assert len(drawn) > 10


def test_scores():
    loss = make("bags")
    logits, _ = regions(loss)
    group = loss.group.tolist()
    for row, found in zip(logits.tolist(), loss.scores(logits).tolist(), strict=True):
        is_object = oracles.softmax(row[:2])[1]
        for c in range(5):
            members = [k for k in range(5) if group[k] == group[c]]
            p = oracles.softmax([row[2 + group[c]], *(row[5 + k] for k in members)])
            assert found[c] == pytest.approx(is_object * p[1 + members.index(c)], rel=1e-5)
