"""EFL and EQFL against plain loops over several steps, their neutral settings, and the gradients that they count."""

import copy

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from clis_core.config.class_loss import DenseLossConfig, EqualizedFocalLoss, EqualizedQualityFocalLoss, FocalLoss
from clis_core.losses.build import build_dense_loss
from tests.losses import oracles
from tests.losses.differences import assert_gradient
from tests.losses.some import regions

KINDS = {"efl": EqualizedFocalLoss(), "eqfl": EqualizedQualityFocalLoss()}


def make(config, classes=5):
    return build_dense_loss(config, classes).train()


def inputs(loss, seed=0, count=20, classes=5, scale=2.0):
    logits, labels = regions(loss, count=count, classes=classes, seed=seed, scale=scale)
    quality = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return (logits, labels) if loss.config.kind == "efl" else (logits, labels, quality)


def oracle_of(loss, labels, quality, positive, negative):
    config = loss.config
    factors = oracles.focus(positive, negative, config.gamma, config.scale)
    if config.kind == "efl":
        return lambda rows: oracles.efl(rows, labels.tolist(), factors, config.gamma, config.alpha)
    return lambda rows: oracles.eqfl(rows, labels.tolist(), quality.double().tolist(), factors, config.gamma)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("values", [{}, {"gamma": 1.5, "scale": 3.0}], ids=str)
def test_equals_the_equations_step_by_step_and_counts_its_own_gradients(kind, values):
    loss = make(KINDS[kind].model_copy(update=values))
    positive, negative = torch.zeros(5), torch.zeros(5)
    for seed in range(4):
        logits, labels, *rest = inputs(loss, seed)
        logits.requires_grad_()
        oracle = oracle_of(loss, labels, *(rest or [None]), positive.tolist(), negative.tolist())
        value = loss(logits, labels, *rest)
        assert value.item() == pytest.approx(oracle(logits.detach().double().tolist()), rel=1e-4)
        assert_gradient(value, logits, oracle)
        fresh = copy.deepcopy(loss)
        fresh.balance.gradients.copy_(torch.stack((positive, negative)))
        (gradient,) = torch.autograd.grad(fresh.eval()(logits, labels, *rest), logits)
        y = F.one_hot(labels, 6)[:, 1:]
        positive = positive + (gradient.abs() * y).sum(0)
        negative = negative + (gradient.abs() * (1 - y)).sum(0)
        torch.testing.assert_close(loss.balance.gradients, torch.stack((positive, negative)), rtol=1e-4, atol=1e-6)
    assert (loss.balance.focus(2.0, 8.0) > 2.0).any()


def test_without_scale_it_is_the_focal_loss():
    loss = make(EqualizedFocalLoss(scale=0))
    for seed in range(3):
        logits, labels = inputs(loss, seed)
        wanted = sigmoid_focal_loss(logits, F.one_hot(labels, 6)[:, 1:].float(), reduction="sum")
        torch.testing.assert_close(loss(logits, labels), wanted / (labels > 0).sum())


def test_without_scale_it_is_the_quality_focal_loss():
    loss = make(EqualizedQualityFocalLoss(scale=0))
    for seed in range(3):
        logits, labels, quality = inputs(loss, seed)
        y = F.one_hot(labels, 6)[:, 1:] * quality[:, None]
        entropy = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        wanted = ((logits.sigmoid() - y) ** 2 * entropy).sum() / (labels > 0).sum()
        torch.testing.assert_close(loss(logits, labels, quality), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_no_objects_one_class_and_half_precision(kind):
    for classes in (1, 5):
        loss = make(KINDS[kind], classes)
        for count, scale, dtype in ((0, 1.0, torch.float32), (20, 2.0, torch.bfloat16), (20, 300.0, torch.float16)):
            logits, labels, *rest = inputs(loss, count=count, classes=classes, scale=scale)
            logits = logits.to(dtype).requires_grad_()
            for of in (labels, torch.zeros_like(labels)):
                with torch.autocast("cpu", torch.bfloat16):
                    value = loss(logits, of, *rest)
                value.backward()
                assert value.dtype == torch.float32
                assert value.isfinite()
                assert logits.grad.isfinite().all()
                assert loss.balance.gradients.isfinite().all()
        assert loss.scores(logits.detach()).shape == (20, classes)


def test_the_focal_loss_is_torchvision_s_and_attached_without_anchors():
    loss = make(FocalLoss(gamma=1.5, alpha=0.4))
    for seed in range(3):
        logits, labels = regions(loss, count=20, classes=5, seed=seed)
        wanted = sigmoid_focal_loss(logits, F.one_hot(labels, 6)[:, 1:].float(), 0.4, 1.5, reduction="sum")
        torch.testing.assert_close(loss(logits, labels), wanted / (labels > 0).sum())
    for dtype in (torch.float32, torch.bfloat16):
        logits = torch.zeros(0, 5, dtype=dtype, requires_grad=True)
        value = loss(logits, torch.zeros(0, dtype=torch.int64))
        value.backward()
        assert value.dtype == torch.float32
        assert value == 0
    assert loss.first_bias().sigmoid().tolist() == pytest.approx([0.01] * 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_loaded_goes_on_exactly(kind):
    through = make(KINDS[kind])
    for seed in range(3):
        through(*inputs(through, seed))
    resumed = make(KINDS[kind])
    resumed.load_state_dict(copy.deepcopy(through.state_dict()))
    for seed in range(3, 6):
        assert torch.equal(through(*inputs(through, seed)), resumed(*inputs(resumed, seed)))
    assert torch.equal(through.balance.gradients, resumed.balance.gradients)
    before = through.balance.gradients.clone()
    through(*inputs(through), count=False)
    assert torch.equal(through.balance.gradients, before)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_come_back(kind):
    adapter = TypeAdapter(DenseLossConfig)
    assert adapter.validate_json(adapter.dump_json(KINDS[kind])) == KINDS[kind]
    assert make(KINDS[kind]).first_bias().sigmoid().tolist() == pytest.approx([1e-3] * 5)
