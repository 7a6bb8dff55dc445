"""Torchrun's variables in, the processes of a job joined for the time of a block out."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from clis_core.errors import ClisError, ConfigError
from clis_core.training.ranks import ALONE, Link, Ranks, first_words

PATIENCE = timedelta(days=7)
"""How long processes wait for each other: they may finish their parts of a job hours apart, and torchrun ends them all
when one dies."""
STALLED = timedelta(minutes=30)
"""How long a process waits for the others within a step; longer than compiling takes."""
JOINING = timedelta(minutes=10)
"""How long processes look for each other at the start."""


@contextlib.contextmanager
def ranks(wanted: str = "cpu") -> Iterator[Ranks]:
    """The processes that torchrun started, for the time of a block.

    Args:
        wanted: the device that a network learns on, as in `Ranks.device`; "cpu" where none learns.

    Raises:
        ConfigError: torchrun's variables are there in part, or there are too few GPUs.
        ClisError: the other processes cannot be reached.
    """
    alone = _environment()
    if alone.world == 1:
        yield alone
        return
    if distributed.is_initialized():
        raise ConfigError(
            "This process belongs to a group of torch.distributed already.",
            hint="Leave init_process_group away: clis joins the processes itself.",
        )
    device = torch.device(alone.device(wanted) or "cpu")
    over: dict[str, Any] = {"backend": "gloo"}
    if device.type == "cuda":
        _check_gpus(alone, wanted)
        torch.cuda.set_device(device)
        over = {"backend": "nccl", "device_id": device}
    elif device.type != "cpu":
        raise ConfigError(f"Several processes cannot train on {device}.", hint="--device cpu, or one process")
    try:
        store = PrefixStore(f"clis/{_life(_store(), alone)}", _store())
        store.set(f"clis/who/{alone.rank}", f"{socket.gethostname()}, process {os.getpid()}")
        distributed.init_process_group(store=store, rank=alone.rank, world_size=alone.world, timeout=STALLED, **over)
        group = distributed.new_group(backend="gloo", timeout=PATIENCE)
    except RuntimeError as error:
        raise ClisError(
            f"The {alone.world} processes could not be joined: {first_words(error)}",
            hint="Every machine must reach the one of --rdzv-endpoint; NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME name "
            "the network to take",
        ) from error
    try:
        yield Ranks(alone.rank, alone.world, alone.local, Link(store, group))
    finally:
        distributed.destroy_process_group()


@functools.cache
def _store() -> Any:
    """Torchrun's store, which a process can join once."""
    return next(rendezvous("env://", timeout=JOINING))[0]


def _life(store: Any, alone: Ranks) -> str:
    """A word that only the processes of this start have in common.

    Torchrun's store outlives them when it starts them again, and holds what those before have written. So the others
    greet the word that they find, and take it once the first process has answered to their own greeting.
    """
    if alone.first:
        life = secrets.token_hex(8)
        store.set("clis/life", life)
        for other in range(1, alone.world):
            store.wait([f"clis/{life}/greeting/{other}"], JOINING)
            store.set(f"clis/{life}/answer/{other}", store.get(f"clis/{life}/greeting/{other}"))
        return life
    mine, end = secrets.token_hex(8), time.monotonic() + JOINING.total_seconds()
    while time.monotonic() < end:
        if store.check(["clis/life"]):
            life = str(store.get("clis/life").decode())
            answer = f"clis/{life}/answer/{alone.rank}"
            if store.check([answer]) and store.get(answer).decode() == mine:
                return life
            store.set(f"clis/{life}/greeting/{alone.rank}", mine)
        time.sleep(0.02)
    raise distributed.DistError("the first process does not answer")


def _environment() -> Ranks:
    """What torchrun says of this process."""
    world = os.environ.get("WORLD_SIZE", "1")
    if world == "1":
        return ALONE
    numbers = [world, os.environ.get("RANK", ""), os.environ.get("LOCAL_RANK", "0")]
    there = all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not all(number.isdigit() for number in numbers) or not int(world) or not there:
        raise ConfigError(
            f"WORLD_SIZE is {world!r}, and of torchrun's other variables some are missing or wrong: "
            f"RANK {os.environ.get('RANK')!r}, MASTER_ADDR {os.environ.get('MASTER_ADDR')!r}, "
            f"MASTER_PORT {os.environ.get('MASTER_PORT')!r}.",
            hint="Start it with torchrun --nproc_per_node N -m clis_cli ..., or unset them.",
        )
    return Ranks(int(numbers[1]), int(world), int(numbers[2]))


def _check_gpus(alone: Ranks, wanted: str) -> None:
    there = torch.cuda.device_count()
    if wanted not in ("", "cuda"):
        raise ConfigError(
            f"device = {wanted!r} is one GPU, and there are {alone.world} processes.",
            hint="--device cuda gives each process one of its own; CUDA_VISIBLE_DEVICES chooses which",
        )
    if alone.local >= there:
        here = os.environ.get("LOCAL_WORLD_SIZE", str(alone.local + 1))
        raise ConfigError(
            f"{here} processes of this machine cannot train on its {there} GPUs: each needs one of its own.",
            hint=f"torchrun --nproc_per_node {max(1, there)} -m clis_cli train ...; or --device cpu",
        )
