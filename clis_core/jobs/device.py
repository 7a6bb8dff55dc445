"""The device that a config names, or the best there is; a torch device out."""

from __future__ import annotations

import torch

from clis_core.errors import ConfigError


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
    return device
