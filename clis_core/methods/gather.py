"""A tensor of every process in, the tensors of all of them out, in the order of the ranks."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


@torch.no_grad()
def gather(rows: Tensor) -> Tensor:
    """The rows ``[n, ...]`` of all processes, one after the other; n may differ between them.

    Without torchrun, the rows themselves.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    world = distributed.get_world_size()
    counts = [torch.zeros((), dtype=torch.int64, device=rows.device) for _ in range(world)]
    distributed.all_gather(counts, torch.tensor(len(rows), device=rows.device))
    lengths = [int(c) for c in counts]
    padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])
