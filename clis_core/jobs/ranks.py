"""What torchrun says of this process: its rank among how many; and a place where all of them wait for each other."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from clis_core.errors import ClisError, ConfigError

PATIENCE = timedelta(days=7)
"""How long processes wait for each other: they may finish their parts of a job hours apart, and torchrun ends them all
when one dies."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of torchrun.

    Attributes:
        rank: 0 for the first, which writes what is shared.
        world: how many there are; 1 without torchrun.
        local: rank among those of this machine.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    def wait(self) -> None:
        """Wait until all processes are here.

        Raises:
            ClisError: another one has ended.
        """
        if self.world > 1:
            with _naming_the_lost():
                distributed.barrier()

    def on_first(self, job: Callable[[], None]) -> None:
        """Run a function in the first process, while the others wait.

        Raises:
            ClisError: what it raised, in all processes.
        """
        raised: list[ClisError | None] = [None]
        if self.rank == 0:
            try:
                job()
            except ClisError as error:
                raised = [error]
        if self.world > 1:
            with _naming_the_lost():
                distributed.broadcast_object_list(raised, src=0)
        if raised[0] is not None:
            raise raised[0]

    def device(self, wanted: str) -> str:
        """Name of this process's device: of several GPUs, its own.

        Args:
            wanted: what the user asked for; empty takes cuda where there is one.
        """
        if self.world > 1 and (wanted == "cuda" or (not wanted and torch.cuda.is_available())):
            return f"cuda:{self.local}"
        return wanted


@contextlib.contextmanager
def _naming_the_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of a connection that was closed
        raise ClisError(
            f"Another process of this job has ended: {str(error).splitlines()[0]}",
            hint="Its own message says why; the same command goes on where it was.",
        ) from error


@contextlib.contextmanager
def ranks() -> Iterator[Ranks]:
    """The processes that torchrun started, for the time of a block.

    Raises:
        ConfigError: torchrun's variables are there in part.
    """
    local = os.environ.get("LOCAL_RANK", "0")
    if distributed.is_available() and distributed.is_initialized():
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), int(local))
        return
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdigit() or (world != "1" and "RANK" not in os.environ):
        raise ConfigError(
            f"WORLD_SIZE is {world!r}, and RANK {os.environ.get('RANK')!r}.",
            hint="Start it with torchrun --nproc_per_node N -m clis_cli ..., or unset them.",
        )
    if int(world) <= 1:
        yield Ranks()
        return
    distributed.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), int(local))
    finally:
        distributed.destroy_process_group()
