"""Memory that is shared and used again: never while someone still looks at it."""

from __future__ import annotations

import gc
import multiprocessing
import os

import numpy as np
import pytest

from clis_core.data.slots import Slots

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has memfd_create")


def test_what_is_written_is_read() -> None:
    slots = Slots(2, 10)
    slots.write(1, [np.arange(4, dtype=np.uint8), np.arange(6, dtype=np.uint8)])
    assert slots.read(1, 10).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    slots.write(0, [np.full(3, 9, np.uint8)])
    assert slots.read(0, 3).tolist() == [9, 9, 9]


def test_a_slot_is_free_when_its_last_view_is_gone() -> None:
    slots = Slots(2, 12)
    assert [slots.take(), slots.take(), slots.take()] == [0, 1, None]
    slots.write(1, [np.arange(12, dtype=np.uint8)])
    whole = slots.read(1, 12)
    view = whole.view(2, 6).permute(1, 0)[1:]
    del whole
    gc.collect()
    assert slots.take() is None
    assert view.tolist() == [[1, 7], [2, 8], [3, 9], [4, 10], [5, 11]]
    del view
    gc.collect()
    assert slots.take() == 1


def test_memory_outlives_the_slots() -> None:
    slots = Slots(1, 1 << 16)
    slots.write(0, [np.full(1 << 16, 7, np.uint8)])
    read = slots.read(0, 1 << 16)
    del slots
    gc.collect()
    assert int(read.sum()) == 7 << 16


def test_handle_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))
    slots = Slots(1, 4096)
    del slots
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_forked_process_writes_into_the_same_memory() -> None:
    slots = Slots(3, 8)
    slots.write(2, [np.zeros(8, np.uint8)])
    process = multiprocessing.get_context("fork").Process(target=slots.write, args=(2, [np.arange(8, dtype=np.uint8)]))
    process.start()
    process.join()
    assert slots.read(2, 8).tolist() == list(range(8))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_started_process_gets_the_same_memory(method: str) -> None:
    slots = Slots(3, 8)
    process = multiprocessing.get_context(method).Process(target=slots.write, args=(2, [np.arange(8, dtype=np.uint8)]))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert slots.read(2, 8).tolist() == list(range(8))


def test_system_without_such_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with pytest.raises(OSError, match="memfd"):
        Slots(1, 8)
