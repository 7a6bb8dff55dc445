"""What torchrun says of this process: its rank among how many; and a place where all of them wait for each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from torch import distributed

from clis_core.errors import ConfigError


@dataclass(frozen=True)
class Ranks:
    """This process among those of torchrun.

    Attributes:
        rank: 0 for the first, which writes what is shared.
        world: how many there are; 1 without torchrun.
    """

    rank: int = 0
    world: int = 1

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            distributed.barrier()


@contextlib.contextmanager
def ranks() -> Iterator[Ranks]:
    """The processes that torchrun started, for the time of a block.

    Raises:
        ConfigError: torchrun's variables are there in part.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdigit() or (world != "1" and "RANK" not in os.environ):
        raise ConfigError(
            f"WORLD_SIZE is {world!r}, and RANK {os.environ.get('RANK')!r}.",
            hint="Start it with torchrun --nproc_per_node N -m clis_cli ..., or unset them.",
        )
    if int(world) <= 1 or distributed.is_initialized():
        yield Ranks()
        return
    distributed.init_process_group("gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
