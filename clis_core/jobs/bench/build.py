"""Class tars of drawn JPEGs in; megabytes a second of `clis build-images` and of unpacking with tar out."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clis_core.data.shards.reader import Shards
from clis_core.jobs.bench.loading import _picture
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.report import SilentReporter

CLASSES, EACH = 12, 250
DISTINCT = 96
"""Pictures that are drawn; the tars repeat them."""
LONG_SIDE = 500
ROUNDS = 5
LARGER = 10
"""How many times larger the source is whose memory is compared."""


def run(scale: float = 1.0) -> dict[str, Any]:
    """Build shards of 3,000 JPEGs in 12 class tars, of the size of ImageNet's, and unpack the same tars.

    The build is that of the command: every picture is checked and hashed, written twice for the random order, and on
    disk when it ends. The sides alternate, five times each; the tars are in the system's memory.

    Args:
        scale: fraction of the pictures.

    Returns:
        Megabytes of the tars a second (medians): ``ours``; ``peer``, the system's ``tar``, which leaves it to the
        system when to write; ``tar_on_disk``, the same followed by ``sync``; ``tarfile``, Python's own; and the ratios
        of ours to each (medians of rounds). ``equal``: whether the shards hold the very files that tar unpacked.
        ``cpu_ratio``: CPU seconds of tar by ours. ``peak_mb`` and ``peak_mb_10x``: peak resident memory of a process
        of its own that builds, and of one that builds from ten times the source; ``idle_mb``: of the same before.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        each = max(2, round(EACH * scale))
        source, size = _draw(folder / "source", each)
        rates, work = _alternate(folder, source, size)
        equal = _files(folder / "peer") == _pictures(folder / "ours")
        for side in ("ours", "peer", "tarfile"):
            shutil.rmtree(folder / side)
        memory = _memory(folder, source)
    ratios = {side: _ratio(rates["ours"], rates[side]) for side in ("peer", "tar_on_disk", "tarfile")}
    return {
        "name": "build",
        **{side: statistics.median(found) for side, found in rates.items()},
        "ratio": ratios["peer"],
        "on_disk_ratio": ratios["tar_on_disk"],
        "tarfile_ratio": ratios["tarfile"],
        "cpu_ratio": _ratio(work["peer"], work["ours"]),
        "equal": equal,
        **memory,
        "unit": "MB/s",
        "peer_name": "tar -x",
        "pictures": CLASSES * each,
        "kilobytes": size / (CLASSES * each) / 1000,
    }


def _alternate(folder: Path, source: Path, size: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Megabytes a second and CPU seconds of each side in each round; the first round is not counted."""
    tars = sorted(source.glob("*.tar"))
    sides: dict[str, Callable[[], None]] = {
        "ours": lambda: _build(source, folder / "ours"),
        "peer": lambda: _unpack(tars, folder / "peer"),
        "tarfile": lambda: _unpack_in_python(tars, folder / "tarfile"),
    }
    rates: dict[str, list[float]] = {side: [] for side in (*sides, "tar_on_disk")}
    work: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(ROUNDS + 1):
        for side, job in sides.items():
            shutil.rmtree(folder / side, ignore_errors=True)
            os.sync()
            start, busy = time.perf_counter(), _busy()
            job()
            seconds, busy = time.perf_counter() - start, _busy() - busy
            os.sync()
            if turn:
                rates[side].append(size / 1e6 / seconds)
                work[side].append(busy)
                if side == "peer":
                    rates["tar_on_disk"].append(size / 1e6 / (time.perf_counter() - start))
    return rates, work


def _build(source: Path, out: Path) -> None:
    plan = plan_images([source], source / "train.json")
    build_images(plan, out, BuildOptions(), reporter=SilentReporter())


def _unpack(tars: list[Path], out: Path) -> None:
    out.mkdir()
    for path in tars:
        subprocess.run(["tar", "-x", "-f", path, "-C", out], check=True)


def _unpack_in_python(tars: list[Path], out: Path) -> None:
    for path in tars:
        with tarfile.open(path) as tar:
            tar.extractall(out, filter="data")


def _busy() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _files(folder: Path) -> set[tuple[str, str]]:
    return {(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.iterdir()}


def _pictures(folder: Path) -> set[tuple[str, str]]:
    shards = Shards(folder)
    return {(shards.record(i)["filename"], hashlib.sha256(shards.data(i)).hexdigest()) for i in range(len(shards))}


def _memory(folder: Path, source: Path) -> dict[str, float | None]:
    """Peak memory of a build, and of one of ten times the source: the same tars under more names."""
    larger = folder / "larger"
    larger.mkdir()
    tars = LARGER * sorted(source.glob("*.tar"))
    names = [f"n{number:08d}" for number in range(len(tars))]
    for path, name in zip(tars, names, strict=True):
        os.link(path, larger / f"{name}.tar")
    _write_json(larger, names)
    idle, once = _apart(source, folder / "once")
    _, often = _apart(larger, folder / "often")
    return {"idle_mb": idle, "peak_mb": once, "peak_mb_10x": often}


def _apart(source: Path, out: Path) -> tuple[float, float]:
    """Resident memory before a build and its peak, MB, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(source, out, send))
    process.start()
    send.close()  # so that a process that dies ends the wait for its answer
    found: tuple[float, float] = receive.recv()
    process.join()
    shutil.rmtree(out)
    return found


def _measure(source: Path, out: Path, answer: Any) -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the peak of the imports is forgotten
    before = _peak()
    _build(source, out)
    answer.send((before, _peak()))


def _peak() -> float:
    """Largest resident memory of this process so far, MB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _draw(folder: Path, each: int) -> tuple[Path, int]:
    """Class tars of pictures with detail at every scale, of many sizes and qualities, some with comments; their bytes.

    As in ImageNet, many pictures have the tables of another one, and many have not.
    """
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(min(DISTINCT, CLASSES * each)):
        short = int(random.integers(300, 420))
        height, width = (short, LONG_SIDE) if random.random() < 0.7 else (LONG_SIDE, short)
        out = io.BytesIO()
        quality = int(random.integers(88, 98))
        Image.fromarray(_picture(random, height, width)).save(out, "JPEG", quality=quality)
        drawn.append(out.getvalue())
    folder.mkdir()
    labels = [f"n{number:08d}" for number in range(CLASSES)]
    for number, label in enumerate(labels):
        with tarfile.open(folder / f"{label}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for k in range(each):
                data = drawn[(number * each + k) % len(drawn)]
                if k % 4 == 0:  # what was found out about another head does not help there
                    data = data[:2] + b"\xff\xfe\0\x0e" + f"{label}{k:03d}".encode()[-12:] + data[2:]
                member = tarfile.TarInfo(f"{label}_{k}.JPEG")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    _write_json(folder, labels)
    return folder, sum(path.stat().st_size for path in folder.glob("*.tar"))


def _write_json(folder: Path, names: list[str]) -> None:
    categories = [{"id": k, "name": name, "image_count": 1} for k, name in enumerate(names, start=1)]
    text = json.dumps({"images": [], "annotations": [], "categories": categories})
    (folder / "train.json").write_text(text, encoding="utf-8")
