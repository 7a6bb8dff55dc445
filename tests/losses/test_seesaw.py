"""Seesaw against plain loops, its neutral setting, its counts, and the cosine class layer."""

import math

import pytest
import torch
from torch.nn import functional as F

from clis_core.config.class_loss import SeesawLoss
from clis_core.config.detector import HeadConfig
from clis_core.detectors.classifier import CosineClassifier, build_classifier, init_classifier
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import make, regions


def learnt(config, batches=3):
    """A loss with counts that differ."""
    loss = make(config=config)
    for seed in range(batches):
        loss(*regions(loss, count=30, seed=100 + seed))
    return loss


@pytest.mark.parametrize("objectness", [True, False])
@pytest.mark.parametrize("values", [{}, {"p": 0.3, "q": 0.5, "eps": 0.2}, {"p": 0.0}, {"q": 0.0}], ids=str)
def test_equals_the_equations(objectness, values):
    loss = learnt(SeesawLoss(objectness=objectness, **values))
    logits, labels = regions(loss)
    logits.requires_grad_()
    value = loss(logits, labels)
    seen = loss.seen.tolist()
    assert sum(seen) == 3 * 30 + 12  # the regions at hand are counted before
    held = logits.detach().double().tolist()

    def oracle(rows):
        return oracles.seesaw(rows, labels.tolist(), seen, held, objectness=objectness, **values)

    assert value.item() == pytest.approx(oracle(held), rel=1e-5)
    assert_gradient(value, logits, oracle)


def test_without_its_factors_it_is_softmax():
    plain = learnt(SeesawLoss(p=0, q=0, objectness=False))
    logits, labels = regions(plain)
    torch.testing.assert_close(plain(logits, labels), F.cross_entropy(logits, labels))
    torch.testing.assert_close(plain.scores(logits), logits.softmax(dim=1)[:, 1:])
    loss = learnt(SeesawLoss(p=0, q=0))
    logits, labels = regions(loss)
    objects = labels > 0
    wanted = F.cross_entropy(logits[objects, 2:], labels[objects] - 1, reduction="sum")
    wanted += F.cross_entropy(logits[:, :2], objects.long(), reduction="sum")
    torch.testing.assert_close(loss(logits, labels), wanted / 12)


def test_scores():
    loss = make("seesaw")
    logits, _ = regions(loss)
    for row, found in zip(logits.tolist(), loss.scores(logits).tolist(), strict=True):
        is_object = oracles.softmax(row[:2])[1]
        assert found == pytest.approx([is_object * p for p in oracles.softmax(row[2:])], rel=1e-5)


def test_every_label_is_counted():
    loss = make("seesaw")
    loss(*regions(loss, seed=1))
    labels = torch.tensor([0, 0, 2, 5, 5, 2, 2])
    before = loss.seen.clone()
    loss(torch.zeros(7, 7), labels)
    assert (loss.seen - before).tolist() == [2, 0, 3, 0, 0, 2]


def test_a_frequent_class_spares_a_seldom_one_and_not_the_other_way_round():
    loss = make(config=SeesawLoss(q=0))
    loss.seen += torch.tensor([0, 1000, 1, 0, 0, 0])
    pushed = {}
    for label in (1, 2):
        logits = torch.zeros(1, 7, requires_grad=True)
        loss(logits, torch.tensor([label]), count=False).backward()
        pushed[label] = logits.grad[0, 2:]
    assert pushed[1][1] < 0.1 * pushed[2][0]  # what an object of 1 does to 2, of 2 to 1


def test_the_cosine_class_layer():
    torch.manual_seed(0)
    loss = make("seesaw")
    layer = build_classifier(HeadConfig(width=8, classifier="cosine", temperature=5.0), loss)
    init_classifier(layer, loss)
    assert isinstance(layer, CosineClassifier)
    with torch.no_grad():
        layer.bias.uniform_()
    x = torch.randn(3, 8)
    for n, row in enumerate(layer(x).tolist()):
        for k, z in enumerate(row):
            w, a = layer.weight[k].tolist(), x[n].tolist()
            dot = sum(u * v for u, v in zip(w, a, strict=True))
            lengths = math.sqrt(sum(v * v for v in w) * sum(v * v for v in a))
            assert z == pytest.approx(5 * dot / lengths + float(layer.bias[k].detach()), abs=1e-5)
    torch.testing.assert_close(layer(100 * x), layer(x))
    assert layer(torch.zeros(1, 8)).isfinite().all()  # a region of which nothing is left behind the ReLU
