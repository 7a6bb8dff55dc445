"""A tensor of every process in, what all of them share out: the sum, or the first one's. Alone, the tensor itself."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def world_size() -> int:
    """How many processes torchrun has joined; 1 without it."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@torch.no_grad()
def summed(values: Tensor) -> Tensor:
    """The sum over all processes. Collective: all have to call it, with the same shape."""
    if world_size() == 1:
        return values
    total = values.detach().clone()
    distributed.all_reduce(total)
    return total


@torch.no_grad()
def of_first(values: Tensor) -> Tensor:
    """The tensor of rank 0, in all processes. Collective."""
    if world_size() == 1:
        return values
    shared = values.detach().clone()
    distributed.broadcast(shared, src=0)
    return shared


def share(count: Tensor) -> Tensor:
    """What a sum over ``count`` rows of this process is divided by, 1 or more.

    It is the processes' mean of their counts: averaged over them, as DDP averages gradients, the quotients are then
    the sum over all rows divided by the number of all rows, however unequally the rows are dealt out. Collective.
    """
    return summed(count.float()).clamp(min=1) / world_size()


def rows_of(labels: Tensor) -> Tensor:
    """The number of rows of ``labels`` as a scalar tensor beside them."""
    return torch.full((), float(len(labels)), device=labels.device)
