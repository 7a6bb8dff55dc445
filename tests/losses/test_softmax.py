"""Softmax cross entropy against a plain loop."""

import math

import pytest
import torch

from clis_core.config.class_loss import SoftmaxLoss
from clis_core.losses.build import build_class_loss


def test_plain_loop():
    torch.manual_seed(0)
    loss = build_class_loss(SoftmaxLoss(), 5)
    assert loss.num_logits == 6
    logits, labels = torch.randn(9, 6) * 3, torch.randint(0, 6, (9,))
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total -= math.log(math.exp(row[label]) / sum(math.exp(z) for z in row))
    assert loss(logits, labels).item() == pytest.approx(total / 9, rel=1e-6)
    scores = loss.scores(logits)
    assert scores.shape == (9, 5)
    for row, got in zip(logits.tolist(), scores.tolist(), strict=True):
        assert got == pytest.approx([math.exp(z) / sum(math.exp(k) for k in row) for z in row[1:]], rel=1e-5)


def test_nothing_to_learn_is_zero_and_attached():
    logits = torch.zeros(0, 4, requires_grad=True)
    value = build_class_loss(SoftmaxLoss(), 3)(logits, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
