"""Batches of bytes go from worker processes to the main one through memory that is used again and again."""

from __future__ import annotations

import mmap
import os
import weakref
from collections import deque
from collections.abc import Iterable
from multiprocessing import reduction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Slots:
    """Shared memory cut into slots; a slot is free again when the last tensor in it is gone.

    torch makes a new piece of shared memory for every tensor that it passes between processes. To touch new
    memory takes almost as long as to decode a JPEG into it: on a virtual machine 0.38 ms for an image of
    580 kB, where memory that was used before takes 0.01 ms. This memory is also no part of /dev/shm, which
    containers keep small.

    The main process takes a slot and tells the worker its number, the worker writes, the main process reads.

    Args:
        count: number of slots.
        size: bytes of a slot; they take memory only as far as they are written.

    Raises:
        OSError: the system has no such memory; only Linux does.
    """

    def __init__(self, count: int, size: int) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("no memfd_create")
        handle = os.memfd_create("clis-batches")
        os.ftruncate(handle, count * size)
        self._open(handle, size)
        self._free = deque(range(count))

    def take(self) -> int | None:
        """A free slot, None where there is none: the oldest, which its next worker has most likely seen."""
        return self._free.popleft() if self._free else None

    def write(self, slot: int, parts: Iterable[NDArray[np.uint8]]) -> None:
        """Write arrays, uint8 ``[n]``, one after the other, as they come; together no more than ``size``."""
        memory = self._array(slot, self._size)
        end = 0
        for part in parts:
            memory[end : end + len(part)] = part  # half the time that torch takes to start copying
            end += len(part)

    def read(self, slot: int, length: int) -> Tensor:
        """What was written, uint8 ``[length]``, in place; the slot is free when all views of it are gone."""
        array = self._array(slot, length)
        weakref.finalize(array, self._free.append, slot).atexit = False
        return torch.from_numpy(array)

    def _open(self, handle: int, size: int) -> None:
        self._size = size
        self._memory = mmap.mmap(handle, 0)
        self._handle = handle
        weakref.finalize(self, os.close, handle)

    def _array(self, slot: int, length: int) -> NDArray[np.uint8]:
        return np.frombuffer(self._memory, np.uint8, length, slot * self._size)

    def __reduce__(self) -> tuple[Any, ...]:
        # Where workers are not forked from this process, they get the memory's handle as they start.
        return _attach, (reduction.DupFd(self._handle), self._size)


def _attach(handle: Any, size: int) -> Slots:
    slots = Slots.__new__(Slots)
    slots._open(handle.detach(), size)
    return slots
