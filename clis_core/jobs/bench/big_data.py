"""1.24 million small pictures in 124 shards in; memory, times, opened files and what a bad server costs out.

The bytes are those of one shard under 124 names (hard links), so that the disk holds 40 MB: every path, index and
manifest is as with 124 of them, and all is in the system's memory.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clis_core.categories import Categories, Category
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.manifest import read_manifest, write_manifest
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.resuming import Access
from clis_core.data.shards.sample import Sample
from clis_core.data.shards.sampling import PictureSampler
from clis_core.data.shards.stream import stream
from clis_core.data.workers import load_batches
from clis_core.jobs.bench.faulty_server import serving
from clis_core.jobs.bench.fresh_process import apart, peak_mb
from clis_core.report import SilentReporter

SHARDS, SAMPLES, CLASSES = 124, 10_000, 1203
SIDE, BATCH, WORKERS, BATCHES = 32, 64, 2, 200
FEW_FILES = 64
"""Files that a process may open, for a second look."""
REMOTE = 4
"""Shards that are read from a server."""


def run(scale: float = 1.0) -> dict[str, Any]:
    """Read 124 shards of 10,000 pictures of 32 x 32, each part in a fresh process; wall seconds.

    Args:
        scale: fraction of the samples of a shard.

    Returns:
        ``open``: seconds and MB to open the shards and all labels; ``order``: seconds for the order of an epoch, and
        whether each picture is in it ``once``; ``random``: pictures a second read and decoded at random in one process,
        MB that it took, and files that it has open, then again where it may have 64; ``loading``: with two workers
        seconds to the first batch of 64, pictures a second from then on, and MB that a worker alone holds; ``remote``:
        samples a second of 4 shards from a server, from one that fails at three of five requests, how often it did,
        and whether the samples are the ``same``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shards"
        each = max(100, round(SAMPLES * scale))
        _write(folder, each)
        return {
            "name": "big-data",
            "samples": SHARDS * each,
            "shards": SHARDS,
            "open": apart(_open, folder),
            "order": apart(_order, folder),
            "random": apart(_random, folder, min(20_000, SHARDS * each), None),
            "few_files": apart(_random, folder, min(5_000, SHARDS * each), FEW_FILES),
            "loading": apart(_loading, folder),
            "remote": apart(_remote, folder),
        }


def _write(folder: Path, each: int) -> None:
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(64):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(out, "JPEG", quality=50)
        pictures.append(out.getvalue())
    categories = Categories(Category(c, f"class {c}", None, "r", 1) for c in range(1, CLASSES + 1))
    with ShardBuilder(folder, categories, {"command": "bench"}, shards=1) as builder:
        for k in range(each):
            picture, category = pictures[k % len(pictures)] + k.to_bytes(4, "little"), 1 + k % CLASSES
            builder.add(Sample(f"n{category:08d}", f"{k}.jpg", category, picture, SIDE, SIDE, {}))
        manifest = builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    one = manifest.shards[0]
    shards = [replace(one, name=f"{number:05d}.tar") for number in range(SHARDS)]
    for shard in shards[1:]:
        os.link(folder / one.name, folder / shard.name)
        os.link(folder / one.index_name, folder / shard.index_name)
    counts = {k: SHARDS * v for k, v in manifest.counts.items()}
    write_manifest(folder, replace(manifest, shards=tuple(shards), counts=counts))


def _open(folder: Path) -> dict[str, float]:
    before, started = peak_mb(), time.perf_counter()
    shards = Shards(folder)
    opened = time.perf_counter() - started
    labels = shards.labels
    return {
        "seconds": opened,
        "labels_seconds": time.perf_counter() - started - opened,
        "mb": peak_mb() - before,
        "labels_mb": labels.nbytes / 2**20,
    }


def _order(folder: Path) -> dict[str, Any]:
    labels = Shards(folder).labels
    before, started = peak_mb(), time.perf_counter()
    sampler = PictureSampler(labels, 0, "uniform")
    epoch = np.concatenate([sampler(np.arange(k, min(k + 4096, len(labels)))) for k in range(0, len(labels), 4096)])
    seconds = time.perf_counter() - started
    once = bool((np.bincount(epoch, minlength=len(labels)) == 1).all())
    same = bool((PictureSampler(labels, 0, "uniform")(np.arange(5000, 6000)) == epoch[5000:6000]).all())
    return {"seconds": seconds, "mb": peak_mb() - before, "once": once, "the_same_from_any_position": same}


def _random(folder: Path, count: int, files: int | None) -> dict[str, float]:
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    shards = Shards(folder)
    order = np.random.default_rng(0).integers(0, len(shards), count).tolist()
    before, had, started = _private_mb(), _open_files(), time.perf_counter()
    for number in order:
        shards.image(number)
    seconds = time.perf_counter() - started
    return {"pictures_per_second": count / seconds, "mb": _private_mb() - before, "open_files": _open_files() - had}


def _loading(folder: Path) -> dict[str, float]:
    torch.set_num_threads(1)
    if "fork" in multiprocessing.get_all_start_methods():  # as in a training; this process itself was spawned
        multiprocessing.set_start_method("fork", force=True)
    shards = Shards(folder)
    sampler = PictureSampler(shards.labels, 0, "uniform")
    steps = (sampler(np.arange(k * BATCH, (k + 1) * BATCH)).tolist() for k in range(BATCHES))

    def load(numbers: Sequence[int]) -> Iterator[tuple[Tensor, float]]:
        for number in numbers:
            yield shards.image(number), 0.0
        yield torch.zeros(3, 1, 1, dtype=torch.uint8), _private_mb()  # what this worker alone holds

    started = time.perf_counter()
    batches = load_batches(load, steps, workers=WORKERS, largest=BATCH * 3 * SIDE * SIDE + 3, pin=False)
    held = [next(batches)[1][-1]]
    first = time.perf_counter() - started
    held += [rest[-1] for _, rest in islice(batches, BATCHES)]
    rate = BATCH * (BATCHES - 1) / (time.perf_counter() - started - first)
    return {"first_batch_seconds": first, "pictures_per_second": rate, "worker_mb": max(held)}


def _remote(folder: Path) -> dict[str, Any]:
    manifest = read_manifest(folder)
    shards = manifest.shards[:REMOTE]
    small = folder / "some"
    small.mkdir()
    for shard in shards:
        os.link(folder / shard.name, small / shard.name)
    counts = {k: v // len(manifest.shards) * REMOTE for k, v in manifest.counts.items()}
    write_manifest(small, replace(manifest, shards=shards, counts=counts))
    found = {}
    for name, faults in (("good", 0.0), ("bad", 0.6)):
        with serving(small, faults=faults) as (address, told):
            digests, seconds = 0, 0.0
            for epoch in range(2 if faults else 1):
                started = time.perf_counter()
                access = Access(timeout=0.25, retries=20, pause=0.01)
                samples = stream(address, seed=0, epoch=epoch, access=access)
                digests = sum(hash((s.key, s.jpeg)) & 0xFFFFFFFF for s in samples)
                seconds += time.perf_counter() - started
            found[name] = (digests, seconds, (2 if faults else 1) * sum(s.samples for s in shards), list(told))
    return {
        "good_samples_per_second": found["good"][2] / found["good"][1],
        "bad_samples_per_second": found["bad"][2] / found["bad"][1],
        "faults": {kind: found["bad"][3].count(kind) for kind in ("503", "cut", "stall")},
        "same": found["good"][0] == found["bad"][0],
    }


def _private_mb() -> float:
    """Memory that this process alone holds."""
    file = Path("/proc/self/smaps_rollup")
    if not file.exists():
        return peak_mb()
    lines = file.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _open_files() -> int:
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.exists() else 0
