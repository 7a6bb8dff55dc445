"""EQL against plain loops, its neutral setting, and which classes it spares."""

import pytest
import torch
from torch.nn import functional as F

from clis_core.config.class_loss import EqlLoss
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import make, regions, some_counts


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.05, 1.0])
def test_equals_the_equations(threshold):
    loss = make(config=EqlLoss(threshold=threshold))
    logits, labels = regions(loss)
    logits.requires_grad_()
    value = loss(logits, labels)
    frequency = [float(n) / 200 for n in some_counts().images]  # 1.0, 0.15, 0.02, 0.015, 0.005
    assert sum(f < 0.02 for f in frequency) == 2  # the threshold itself is not below it

    def oracle(rows):
        return oracles.eql(rows, labels.tolist(), frequency, threshold)

    assert value.item() == pytest.approx(oracle(logits.detach().double().tolist()), rel=1e-5)
    assert_gradient(value, logits, oracle)


def test_with_threshold_0_it_is_binary_cross_entropy():
    loss = make(config=EqlLoss(threshold=0))
    logits, labels = regions(loss)
    wanted = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 6)[:, 1:].float(), reduction="sum") / 12
    torch.testing.assert_close(loss(logits, labels), wanted)


def test_objects_spare_seldom_classes_and_background_does_not():
    loss = make("eql")
    logits = torch.zeros(2, 5, requires_grad=True)
    loss(logits, torch.tensor([1, 0])).backward()
    assert logits.grad[0].tolist() == [-0.25, 0.25, 0, 0, 0]
    assert logits.grad[1].tolist() == [0.25] * 5


def test_first_scores():
    loss = make(config=EqlLoss(prior=0.02))
    assert loss.scores(loss.first_bias()[None]).tolist()[0] == pytest.approx([0.02] * 5)
