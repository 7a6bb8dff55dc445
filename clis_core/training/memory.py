"""How much memory the process has used at its peak."""

from __future__ import annotations

import sys

import torch


def peak_memory_mb() -> float:
    """Peak memory in MB: of the GPU where one is in use, else resident memory of this process (0 where unknown)."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
