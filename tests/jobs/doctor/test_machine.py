"""Cores, memory, limits and disk: what is short is told, with what to type."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs.doctor import disk as disk_module
from clis_core.jobs.doctor import machine
from clis_core.jobs.doctor.disk import disk, existing, write_speed
from clis_core.jobs.doctor.machine import busy, cpu, memory, memory_bytes, open_files, shared_memory, usable_cores

Usage = namedtuple("Usage", "total used free")
GB = 1_000_000_000


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: 0.0)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def cgroup(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)
    return root


def test_cores_are_those_of_affinity_and_quota(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for text, cores in (("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8)):
        monkeypatch.setattr(machine, "_CGROUP", cgroup(tmp_path, cpu__max=text))
        assert usable_cores() == cores


def test_threads_and_workers_beyond_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 4)
    assert [check.level for check in cpu(4, 4)] == ["fine"]
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    fine, threads, workers = cpu(6, 16)
    assert "OMP_NUM_THREADS=16" in fine.text
    assert (threads.level, threads.hint) == ("warning", "export OMP_NUM_THREADS=4")
    assert (workers.level, workers.hint) == ("warning", "--set data.workers=4")
    assert [check.level for check in cpu(0, 1)] == ["fine", "note"]


def test_busy_cores_are_told() -> None:
    assert busy(2.0, 2) == []
    (found,) = busy(6.9, 2)
    assert found.level == "warning"
    assert "6.9 processes want 2 cores" in found.text


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_machine_memory", lambda: (64 * GB, 50 * GB))
    monkeypatch.setattr(machine, "_CGROUP", cgroup(tmp_path / "a", memory__max="max"))
    assert memory_bytes() == (64 * GB, 50 * GB)
    files = {"memory__max": str(8 * GB), "memory__current": str(7 * GB)}
    files["memory__stat"] = f"anon {2 * GB}\ninactive_file {4 * GB}\n"
    monkeypatch.setattr(machine, "_CGROUP", cgroup(tmp_path / "b", **files))
    assert memory_bytes() == (8 * GB, 5 * GB)
    monkeypatch.setattr(machine, "_machine_memory", lambda: (64 * GB, GB))
    first = memory()[0]
    assert first.level == "warning"
    assert "Only 1.0 of 8.0 GB" in first.text


def test_the_memory_here_is_known() -> None:
    total, free = memory_bytes()
    assert total >= free > 0


def test_little_shared_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 << 20, 40 << 20, 24 << 20))
    (found,) = shared_memory(tmp_path)
    assert found.level == "warning"
    assert "--shm-size" in str(found.hint)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(GB, 0, GB))
    assert shared_memory(tmp_path)[0].level == "fine"
    assert shared_memory(tmp_path / "none") == []


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 2048))
    (found,) = open_files()
    assert (found.level, found.hint) == ("warning", "ulimit -n 2048")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (65536, 65536))
    assert open_files()[0].level == "fine"


def test_a_disk_is_tried(tmp_path: Path) -> None:
    assert write_speed(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
    assert existing(tmp_path / "runs" / "deep") == tmp_path
    (found,) = disk(tmp_path / "runs" / "deep")
    assert found.figures["folder"] == str(tmp_path)
    assert found.figures["bytes_per_second"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free", "speed", "level", "says"),
    [
        (50 * GB, 500e6, "fine", "50.0 GB free"),
        (5 * GB, 500e6, "warning", "Only 5.0 GB"),
        (GB // 10, 500e6, "error", "no checkpoint fits"),
        (50 * GB, 5e6, "warning", "will take long"),
    ],
)
def test_what_a_disk_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, speed: float, level: str, says: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100 * GB, 0, free))
    monkeypatch.setattr(disk_module, "write_speed", lambda _: speed)
    (found,) = disk(tmp_path)
    assert found.level == level
    assert says in found.text
    assert level == "fine" or found.hint


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Any) -> float:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(disk_module, "write_speed", refuse)
    (found,) = disk(tmp_path)
    assert found.level == "error"
    assert "Read-only file system" in found.text
