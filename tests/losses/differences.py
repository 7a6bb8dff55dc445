"""A loss's gradient against differences of its oracle."""

import torch


def assert_gradient(value, logits, oracle, rel=2e-3):
    """``oracle`` takes rows of floats; checked at every logit."""
    (found,) = torch.autograd.grad(value, logits)
    rows, step = logits.detach().double().tolist(), 1e-5
    for n, row in enumerate(rows):
        for k, z in enumerate(row):
            row[k] = z + step
            above = oracle(rows)
            row[k] = z - step
            below = oracle(rows)
            row[k] = z
            wanted = (above - below) / (2 * step)
            assert abs(float(found[n, k]) - wanted) < 1e-5 + rel * abs(wanted), (n, k)
