"""The machine's processor, memory and limits in; what of them is short for training out."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from clis_core.jobs.doctor.checks import Check

LITTLE_MEMORY = 2_000_000_000
LITTLE_SHM = 64 << 20
FEW_FILES = 1024
_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


def cpu(workers: int, threads: int | None) -> list[Check]:
    """Cores that this process may use, and the threads and workers that want them.

    Args:
        workers: of the loader, ``data.workers``.
        threads: of torch; None where torch cannot be imported.
    """
    cores, usable = os.cpu_count() or 1, usable_cores()
    asked = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ}
    text = f"{usable} of {cores} cores usable; torch takes {threads} threads"
    if asked:
        text += " (" + ", ".join(f"{name}={value}" for name, value in asked.items()) + ")"
    figures = {"cores": cores, "usable": usable, "torch_threads": threads, "workers": workers, "environment": asked}
    found = [Check("cpu", "fine", f"{text}; {workers} processes load images.", None, figures)]
    if threads is not None and threads > usable:
        text = f"torch takes {threads} threads on {usable} usable cores, which makes each slower."
        found.append(Check("cpu", "warning", text, f"export OMP_NUM_THREADS={usable}"))
    elif threads == 1 and usable > 1:
        text = f"torch takes 1 thread of {usable} usable cores: fine beside a GPU, slow for training on the CPU."
        found.append(Check("cpu", "note", text, f"export OMP_NUM_THREADS={usable}"))
    if workers > usable:
        text = f"{workers} processes would load images on {usable} usable cores."
        found.append(Check("cpu", "warning", text, f"--set data.workers={usable}"))
    return [*found, *busy(load_average(), usable)]


def busy(load: float, usable: int) -> list[Check]:
    """Whether others keep the cores busy, which makes training and what is measured here slower.

    Args:
        load: processes that have wanted a core, on average of the last minute.
        usable: cores.
    """
    if load <= 1.5 * usable:
        return []
    text = f"{load:.1f} processes want {usable} cores at a time: what is measured here, and training, is slower for it."
    return [Check("cpu", "warning", text, "top shows which", {"load": round(load, 2)})]


def memory() -> list[Check]:
    """Memory of the machine or container, shared memory, and how many files may be open."""
    total, free = memory_bytes()
    figures = {"total": total, "available": free}
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB of memory available"
    found = [Check("memory", "fine", f"{text}.", None, figures)]
    if free < LITTLE_MEMORY:
        hint = "Close other programs; fewer data.workers, a smaller --batch"
        found = [Check("memory", "warning", f"Only {text}.", hint, figures)]
    return [*found, *shared_memory(Path("/dev/shm")), *open_files()]


def shared_memory(folder: Path) -> list[Check]:
    """What worker processes share: not the images, which go through memory of clis's own, but torch's locks."""
    if not folder.is_dir():
        return []
    usage = shutil.disk_usage(folder)
    figures = {"total": usage.total, "free": usage.free}
    text = f"{usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB of shared memory ({folder}) free"
    if usage.free < LITTLE_SHM // 2:
        hint = "docker run --shm-size=1g (or --ipc=host); or --set data.workers=0"
        return [Check("memory", "warning", f"Only {text}: processes that load images may die.", hint, figures)]
    return [Check("memory", "fine", f"{text}.", None, figures)]


def open_files() -> list[Check]:
    """How many files a process may have open."""
    if sys.platform == "win32":
        return []
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    figures = {"soft": soft, "hard": hard}
    if 0 <= soft < FEW_FILES:
        hint = f"ulimit -n {FEW_FILES * 4 if hard < 0 else min(hard, FEW_FILES * 4)}"
        text = f"A process may open {soft} files; many shards and workers need more."
        return [Check("memory", "warning", text, hint, figures)]
    return [
        Check("memory", "fine", f"A process may open {soft if soft >= 0 else 'any number of'} files.", None, figures)
    ]


def load_average() -> float:
    """Processes that wanted a core, on average of the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def usable_cores() -> int:
    """Cores that this process may run on, by its affinity and its container's quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(_CGROUP)
    return max(1, min(cores, quota or cores))


def memory_bytes() -> tuple[int, int]:
    """Bytes of memory in all and available, of the machine or of the container where that has less; 0 if unknown."""
    total, free = _machine_memory()
    limit, used = _container_memory(_CGROUP)
    if limit is None or limit >= total:
        return total, free
    return limit, max(0, min(free, limit - used))


def _machine_memory() -> tuple[int, int]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        pages = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if pages else 0
        return total, total
    kilobytes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kilobytes.get("MemTotal", 0) << 10, kilobytes.get("MemAvailable", 0) << 10


def _container_memory(root: Path) -> tuple[int | None, int]:
    """Limit of a container, None without one, and what of it cannot be had back; both in bytes."""
    limit = _number(root / "memory.max") or _number(root / "memory" / "memory.limit_in_bytes")
    used = _number(root / "memory.current") or _number(root / "memory" / "memory.usage_in_bytes") or 0
    if limit is None or limit >= _UNLIMITED:
        return None, 0
    # Pages of files that were read count as used, and are given up when something else needs room.
    return limit, max(0, used - _file_pages(root))


def _file_pages(root: Path) -> int:
    for path in (root / "memory.stat", root / "memory" / "memory.stat"):
        try:
            pairs = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
        except OSError:
            continue
        found = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
        return found.get("inactive_file", found.get("total_inactive_file", 0))
    return 0


def _quota(root: Path) -> int | None:
    """Whole cores that a container may use at a time; None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        whole, length = _number(root / "cpu" / "cpu.cfs_quota_us"), _number(root / "cpu" / "cpu.cfs_period_us")
        return -(-whole // length) if whole and length and whole > 0 else None
    return -(-int(quota) // int(period)) if quota.isdigit() else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
