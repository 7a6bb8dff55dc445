"""A tensor of every process in, what all of them share out: sum, rows, or the first one's. Alone, the tensor itself."""

from __future__ import annotations

from typing import NamedTuple

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


@torch.no_grad()
def largest(values: Tensor) -> Tensor:
    """The largest of each value over all processes. Collective."""
    if world_size() == 1:
        return values
    most = values.detach().clone()
    distributed.all_reduce(most, op=distributed.ReduceOp.MAX)
    return most


class Gathered(NamedTuple):
    """Rows of all processes.

    Attributes:
        rows: ``[n, ...]``, one process after the other.
        mine: which of them are this process's.
    """

    rows: Tensor
    mine: slice


@torch.no_grad()
def gathered(rows: Tensor) -> Gathered:
    """The rows ``[n, ...]`` of all processes, in the order of the ranks; n may differ between them. Collective."""
    world = world_size()
    if world == 1:
        return Gathered(rows, slice(0, len(rows)))
    counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(world)]
    distributed.all_gather(counts, torch.tensor(len(rows), device=rows.device))
    lengths = [int(c) for c in counts]
    padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    rank = distributed.get_rank()
    first = sum(lengths[:rank])
    rows = torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])
    return Gathered(rows, slice(first, first + lengths[rank]))


def share(count: Tensor) -> Tensor:
    """What a sum over ``count`` rows of this process is divided by, 1 or more.

    It is the processes' mean of their counts: averaged over them, as DDP averages gradients, the quotients are then
    the sum over all rows divided by the number of all rows, however unequally the rows are dealt out. Collective.
    """
    return summed(count.float()).clamp(min=1) / world_size()


def rows_of(rows: Tensor) -> Tensor:
    """The number of rows of a tensor as a scalar tensor beside it."""
    return torch.full((), float(len(rows)), device=rows.device)
