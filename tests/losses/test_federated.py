"""The federated loss against plain loops, which classes are drawn, and all of them as binary cross entropy."""

import pytest
import torch
from torch.nn import functional as F

from clis_core.config.class_loss import FederatedLoss
from clis_core.losses.build import build_class_loss
from clis_core.losses.counts import ClassCounts
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import make, regions


def chosen_by(loss, labels, seed):
    """Labels whose logits learnt something."""
    torch.manual_seed(seed)
    logits = torch.zeros(len(labels), loss.num_logits, requires_grad=True)
    loss(logits, labels).backward()
    return {j + 1 for j in range(loss.num_logits) if logits.grad[:, j].any()}


@pytest.mark.parametrize("classes", [1, 3, 4, 50])
def test_equals_the_equations(classes):
    loss = make(config=FederatedLoss(classes=classes))
    logits, _ = regions(loss)
    labels = torch.tensor([0, 2, 2, 0, 5, 0, 0, 0, 5, 2, 0, 0])
    logits.requires_grad_()
    chosen = chosen_by(loss, labels, seed=4)
    torch.manual_seed(4)
    value = loss(logits, labels)
    assert {2, 5} <= chosen
    assert len(chosen) == min(5, max(2, classes))

    def oracle(rows):
        return oracles.federated(rows, labels.tolist(), chosen)

    assert value.item() == pytest.approx(oracle(logits.detach().double().tolist()), rel=1e-5)
    assert_gradient(value, logits, oracle)


def test_with_all_classes_it_is_binary_cross_entropy():
    loss = make(config=FederatedLoss(classes=5))
    logits, labels = regions(loss)
    wanted = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 6)[:, 1:].float(), reduction="sum") / 12
    torch.testing.assert_close(loss(logits, labels), wanted)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_classes_are_drawn_by_their_images(power):
    images = torch.tensor([64, 16, 4, 1, 0])
    loss = build_class_loss(FederatedLoss(classes=1, power=power), 5, ClassCounts(images, images, 100)).train()
    counts, draws = [0] * 5, 2000
    for seed in range(draws):
        (label,) = chosen_by(loss, torch.zeros(1, dtype=torch.int64), seed)
        counts[label - 1] += 1
    assert counts[4] == 0  # a class that no image holds cannot be drawn
    total = sum(n**power for n in (64, 16, 4, 1))
    for found, n in zip(counts, (64, 16, 4, 1), strict=False):
        share = n**power / total
        assert abs(found / draws - share) < 4 * (share * (1 - share) / draws) ** 0.5


def test_classes_at_hand_are_never_left_out():
    loss = make(config=FederatedLoss(classes=2))
    assert chosen_by(loss, torch.tensor([1, 2, 3, 4, 0]), seed=0) == {1, 2, 3, 4}
