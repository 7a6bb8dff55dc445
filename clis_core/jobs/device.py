"""The device that a config names, or the best there is; a torch device out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from clis_core.errors import ClisError, ConfigError


def open_device(name: str) -> torch.device:
    """The device called ``name``; for an empty name cuda where there is one, else cpu.

    Raises:
        ConfigError: no such device, or it is not there.
    """
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device = {name!r} is not a device.", hint="--device cpu, cuda, cuda:1 or mps") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }.get(device.type, False)
    if not there:
        raise ConfigError(f"device = {name!r} is not available on this machine.", hint="--device cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # memory figures and page-locked memory go by the current device
    return device


@contextlib.contextmanager
def naming_full_memory(hint: str) -> Iterator[None]:
    """A block whose "out of memory", of a GPU or of the machine, leaves it as a `ClisError` with ``hint``."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise ClisError(f"Out of memory: {str(error).splitlines()[0]}", hint=hint) from error
