"""EQL v2 against plain loops over several steps, its neutral setting, and what it does to a class without objects."""

import pytest
import torch
from torch.nn import functional as F

from clis_core.config.class_loss import Eqlv2Loss
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import make, regions


@pytest.mark.parametrize("objectness", [True, False])
@pytest.mark.parametrize("values", [{}, {"gamma": 3.0, "mu": 0.2, "alpha": 1.0}], ids=str)
def test_equals_the_equations_step_by_step(objectness, values):
    loss = make(config=Eqlv2Loss(objectness=objectness, **values))
    positive, negative = [0.0] * 5, [0.0] * 5
    settings = {"gamma": 12.0, "mu": 0.8, "alpha": 4.0, **values, "background": objectness}
    for seed in range(4):
        logits, labels = regions(loss, seed=seed)
        logits.requires_grad_()
        value = loss(logits, labels)
        rows = logits.detach().double().tolist()
        wanted, more, less = oracles.eqlv2(rows, labels.tolist(), positive, negative, **settings)
        assert value.item() == pytest.approx(wanted, rel=1e-5)
        held = list(positive), list(negative)
        assert_gradient(value, logits, lambda r: oracles.eqlv2(r, labels.tolist(), *held, **settings)[0])  # noqa: B023
        positive = [a + b for a, b in zip(positive, more, strict=True)]
        negative = [a + b for a, b in zip(negative, less, strict=True)]
        assert loss.gradients[0].tolist() == pytest.approx(positive, rel=1e-5, abs=1e-6)
        assert loss.gradients[1].tolist() == pytest.approx(negative, rel=1e-5)


def test_counted_gradients_are_those_of_the_loss():
    loss = make("eqlv2-plain")
    loss(*regions(loss, seed=5))
    before = loss.gradients.clone()
    logits, labels = regions(loss)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, labels) * 12, logits)
    y = F.one_hot(labels, 6)[:, 1:]
    torch.testing.assert_close(loss.gradients[0] - before[0], (gradient.abs() * y).sum(0))
    torch.testing.assert_close(loss.gradients[1] - before[1], (gradient.abs() * (1 - y)).sum(0))


def test_without_weights_it_is_binary_cross_entropy():
    loss = make(config=Eqlv2Loss(alpha=0, mu=-1e3))
    for seed in range(3):
        logits, labels = regions(loss, seed=seed)
        wanted = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 6).float(), reduction="sum") / 12
        torch.testing.assert_close(loss(logits, labels), wanted)


def test_a_class_without_objects_is_left_alone_and_its_first_object_counts():
    loss = make("eqlv2")
    for seed in range(5):
        logits, labels = regions(loss, seed=seed)
        loss(logits, labels.masked_fill(labels == 4, 0))
    logits = torch.zeros(2, 6, requires_grad=True)
    loss(logits, torch.tensor([0, 4]), count=False).backward()
    assert float(logits.grad[0, 4]) < 1e-3
    assert float(logits.grad[1, 4]) == pytest.approx(-0.25 * 5, rel=1e-2)  # 1 + alpha


def test_scores():
    loss = make("eqlv2")
    logits, _ = regions(loss)
    for row, found in zip(logits.tolist(), loss.scores(logits).tolist(), strict=True):
        p = [oracles.sigmoid(z) for z in row]
        assert found == pytest.approx([(1 - p[0]) * one for one in p[1:]], rel=1e-5)
    assert loss.first_bias()[0] == 0
    assert loss.first_bias()[1:].sigmoid().tolist() == pytest.approx([1e-3] * 5)
