"""The contrastive loss against equation 1, written out."""

import math

import pytest
import torch
from torch.nn import functional as F

from clis_core.losses.contrast import contrastive_loss


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def by_loops(f_i, f_d, queue, tau, allowed) -> float:
    total = 0.0
    for p in range(len(f_i)):
        top = math.exp(sum(float(a) * float(b) for a, b in zip(f_i[p], f_d[p], strict=True)) / tau)
        rest = 0.0
        for k in range(len(queue)):
            if allowed is None or allowed[p, k]:
                rest += math.exp(sum(float(a) * float(b) for a, b in zip(f_i[p], queue[k], strict=True)) / tau)
        total += -math.log(top / (top + rest))
    return total / len(f_i)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tau", [0.05, 0.2, 1.0])
def test_equals_equation_1(masked: bool, tau: float) -> None:
    torch.manual_seed(0)
    f_i, f_d, queue = unit(5, 8), unit(5, 8), unit(17, 8)
    allowed = torch.rand(5, 17) < 0.6 if masked else None
    found = contrastive_loss(f_i, f_d, queue, tau, allowed)
    assert float(found) == pytest.approx(by_loops(f_i, f_d, queue, tau, allowed), rel=1e-5)


def test_an_empty_queue_and_no_pairs_give_zero_with_a_gradient() -> None:
    f_i, f_d = unit(3, 8).requires_grad_(), unit(3, 8).requires_grad_()
    for views in ((f_i, f_d), (f_i[:0], f_d[:0])):
        loss = contrastive_loss(*views, unit(0, 8), 0.2)
        assert float(loss.detach()) == 0
        loss.backward()
    assert f_i.grad is not None
    assert not f_i.grad.any()


def test_no_negative_is_allowed() -> None:
    loss = contrastive_loss(unit(2, 8), unit(2, 8), unit(4, 8), 0.2, torch.zeros(2, 4, dtype=torch.bool))
    assert float(loss) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_small_temperature_stays_finite_in_half_precision(dtype: torch.dtype) -> None:
    f_i, queue = unit(4, 8).to(dtype).requires_grad_(), unit(9, 8).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        loss = contrastive_loss(f_i, f_i.detach(), queue, 0.005)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(f_i.grad).all()


def test_it_falls_as_the_views_come_together_and_the_others_go_away() -> None:
    torch.manual_seed(1)
    f_i, far, queue = unit(6, 8), unit(6, 8), unit(20, 8)
    near = F.normalize(f_i + 0.1 * far, dim=1)
    assert contrastive_loss(f_i, near, queue, 0.2) < contrastive_loss(f_i, far, queue, 0.2)
    assert contrastive_loss(f_i, far, -f_i, 0.2) < contrastive_loss(f_i, far, f_i, 0.2)
