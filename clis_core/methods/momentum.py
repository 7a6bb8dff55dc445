"""Keys for the contrast: a slow copy of a network, and the queue of what it made of other instances.

K places of the queue, D features of a key.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from clis_core.losses.ranks import gathered


class MomentumCopy(nn.Module):
    """A copy of a network that follows it slowly (He et al. 2020, MoCo, eq. 2) and is never trained itself.

    Args:
        live: the network.
        momentum: m; at each step the copy becomes m x copy + (1 - m) x live.
    """

    def __init__(self, live: nn.Module, momentum: float) -> None:
        super().__init__()
        self.network = copy.deepcopy(live).requires_grad_(False)
        self.momentum = momentum

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """What the copy makes of ``x``, without gradient."""
        return self.network(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def follow(self, live: nn.Module) -> None:
        """Move one step towards the live network."""
        mine: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(mine, [p.detach() for p in live.parameters()], 1 - self.momentum)


class KeyQueue(nn.Module):
    """The dictionary Q of CLIS, sec. III-B3: the newest keys, first in, first out; empty at the start.

    Keys, labels, pointer and count are buffers: they are in the checkpoint.

    Args:
        size: K.
        features: D.
    """

    keys: Tensor
    labels: Tensor
    pointer: Tensor
    count: Tensor

    def __init__(self, size: int, features: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(size, features))
        self.register_buffer("labels", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def held(self) -> tuple[Tensor, Tensor]:
        """The keys in the queue, float32 ``[count, D]``, and their labels, int64 ``[count]``; views, not copies."""
        count = int(self.count)
        return self.keys[:count], self.labels[:count]

    @torch.no_grad()
    def push(self, keys: Tensor, labels: Tensor) -> None:
        """Put in the keys of all processes; the oldest go where there is no room. Collective under torchrun.

        Args:
            keys: ``[P, D]`` of this process.
            labels: int64 ``[P]``, 1..C.
        """
        keys, labels = gathered(keys.detach().to(self.keys.dtype)).rows, gathered(labels).rows
        size = len(self.keys)
        keys, labels = keys[-size:], labels[-size:]
        place = (int(self.pointer) + torch.arange(len(keys), device=self.keys.device)) % size
        self.keys[place] = keys
        self.labels[place] = labels
        self.pointer.fill_((int(self.pointer) + len(keys)) % size)
        self.count.fill_(min(size, int(self.count) + len(keys)))
