"""Files that are hashed and brought to disk while they are written."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from clis_core.data.shards import hashed_file, packing, staging
from clis_core.data.shards.early_sync import EarlySync
from clis_core.data.shards.hashed_file import HashedFile
from clis_core.data.shards.out_folder import is_finished
from clis_core.errors import DataError
from tests.data.shards.world import build, content, samples


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches and early syncs of some bytes."""
    monkeypatch.setattr(packing, "_BATCH", 1000)
    monkeypatch.setattr(staging, "_BATCH", 1000)
    monkeypatch.setattr(hashed_file, "ENOUGH", 3000)
    monkeypatch.setattr(staging, "ENOUGH", 3000)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("sizes", [[], [0], [1], [999, 1, 1], [5000, 3, 0, 20_000], [400] * 100])
def test_the_file_and_its_hash(sizes: list[int], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pieces = [random.bytes(size) for size in sizes]
    with HashedFile(tmp_path / "a") as file:
        for piece in pieces:
            file.write(piece)
        found = file.finish()
    assert (tmp_path / "a").read_bytes() == b"".join(pieces)
    assert found == hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.usefixtures("soon")
def test_the_disk_begins_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(threading.current_thread().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with HashedFile(tmp_path / "a") as file:
        for _ in range(100):
            file.write(bytes(400))
        file.finish()
    assert calls
    assert all(name != threading.main_thread().name for name in calls)


def test_one_sync_at_a_time() -> None:
    go, early = threading.Event(), EarlySync()
    assert early.begin(go.wait)
    assert not early.begin(go.wait)
    go.set()
    early.wait()
    assert early.begin(go.wait)
    early.close()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("number", [1, 4])
def test_a_failed_early_sync_is_not_passed_over(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system tells a lost write once, and to whoever asks first."""
    build(tmp_path / "a", samples(60))
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        if threading.current_thread() is not threading.main_thread():
            calls += 1
            if calls == number:
                raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DataError, match="Input/output error") as caught:
            build(tmp_path / "b", samples(60))
    assert caught.value.hint
    assert not is_finished(tmp_path / "b")
    build(tmp_path / "b", samples(60))
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.fixture
def failing_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first fsync of a thread fails, all others are fine."""
    real, failed = os.fsync, threading.Event()

    def fsync(descriptor: int) -> None:
        if threading.current_thread() is not threading.main_thread() and not failed.is_set():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.usefixtures("soon", "failing_once")
def test_the_last_early_sync_of_a_file_counts(tmp_path: Path) -> None:
    with HashedFile(tmp_path / "a") as file:
        file.write(bytes(4000))
        with pytest.raises(OSError, match="Input/output error"):
            file.finish()


@pytest.mark.usefixtures("soon", "failing_once")
def test_the_last_early_sync_before_a_checkpoint_counts(tmp_path: Path) -> None:
    parts = staging.Staging(tmp_path, 1)
    parts.start({})
    parts.append(0, [bytes(4000)])
    with pytest.raises(OSError, match="Input/output error"):
        parts.checkpoint(1)
    assert not (tmp_path / staging.PROGRESS).exists()
    parts.close()
