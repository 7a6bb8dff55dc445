"""Class tars of drawn JPEGs in; megabytes a second of `clis build-images` and of unpacking with tar out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
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
from clis_core.jobs.bench.fresh_process import apart, peak_mb
from clis_core.jobs.bench.loading import draw_photograph
from clis_core.jobs.bench.timing import busy, medians, ratio
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
    ratios = {side: ratio(rates, "ours", side) for side in ("peer", "tar_on_disk", "tarfile")}
    return {
        "name": "build",
        **medians(rates),
        "ratio": ratios["peer"],
        "on_disk_ratio": ratios["tar_on_disk"],
        "tarfile_ratio": ratios["tarfile"],
        "cpu_ratio": ratio(work, "peer", "ours"),
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
            start, worked = time.perf_counter(), busy()
            job()
            seconds, worked = time.perf_counter() - start, busy() - worked
            os.sync()
            if turn:
                rates[side].append(size / 1e6 / seconds)
                work[side].append(worked)
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
    idle, once = apart(_measure, source, folder / "once")
    _, often = apart(_measure, larger, folder / "often")
    return {"idle_mb": idle, "peak_mb": once, "peak_mb_10x": often}


def _measure(source: Path, out: Path) -> tuple[float, float]:
    """Resident memory before a build and its peak, MB, of this process."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the peak of the imports is forgotten
    before = peak_mb()
    _build(source, out)
    peak = peak_mb()
    shutil.rmtree(out)
    return before, peak


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
        Image.fromarray(draw_photograph(random, height, width)).save(out, "JPEG", quality=quality)
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
