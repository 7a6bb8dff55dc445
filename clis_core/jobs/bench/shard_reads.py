"""Drawn JPEGs in shards in; pictures a second at random, as a stream and decoded, and those of plain readers, out."""

from __future__ import annotations

import io
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sample import Sample
from clis_core.data.shards.stream import stream
from clis_core.jobs.bench.loading import draw_photograph
from clis_core.jobs.bench.timing import alternate, medians, ratio
from clis_core.report import SilentReporter

WIDTH, HEIGHT, QUALITY = 500, 400, 92
DISTINCT = 256
"""Pictures that are drawn; the shards repeat them."""
SAMPLES, SHARDS = 6144, 8
DECODED = 1024
ROUNDS = 5


def run(scale: float = 1.0) -> dict[str, Any]:
    """Read 6,144 samples from eight shards, and decode 1,024 of them, in one process and one thread.

    All sides alternate, five times each. The files are in the system's memory: this measures the readers, not a disk.

    Args:
        scale: fraction of the samples.

    Returns:
        Images a CPU second (medians): ``ours``, random access and decoding; ``peer``, the same operator on bytes that
        are in memory; ``ratio``, the median of pairs. Samples a CPU second: ``random``, a picture's bytes in random
        order; ``tarfile_pictures``, the pictures alone in the order of the tars by the standard library; ``stream``,
        our stream; ``tarfile``, whole samples by the standard library; and the ratios of each two. ``equal``: whether
        all pictures, records and categories are the same on both sides.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, pictures = Path(name) / "shards", _draw()
        count = max(SHARDS, round(SAMPLES * scale))
        started = time.process_time()
        _build(folder, pictures, count)
        built = time.process_time() - started
        shards = Shards(folder)
        order = np.random.default_rng(0).permutation(count).tolist()
        some = order[: max(2, round(DECODED * scale))]
        held = [shards.data(i) for i in some]
        jobs: dict[str, tuple[int, Callable[[], object]]] = {
            "random": (count, lambda: [len(shards.data(i)) for i in order]),
            "tarfile_pictures": (count, lambda: [len(data) for data in _pictures(folder)]),
            "stream": (count, lambda: [len(s.jpeg) for s in stream(folder, seed=0, epoch=0)]),
            "tarfile": (count, lambda: [len(sample[0]) for sample in _samples(folder)]),
            "ours": (len(some), lambda: [shards.image(i).shape for i in some]),
            "peer": (len(some), lambda: [_bare(data).shape for data in held]),
        }
        busy = alternate({name: job for name, (_, job) in jobs.items()}, ROUNDS).busy
        rates = {name: [many / seconds for seconds in busy[name]] for name, (many, _) in jobs.items()}
        equal = _equal(folder, shards) and all(
            torch.equal(shards.image(i), _bare(data)) for i, data in zip(some, held, strict=True)
        )
    torch.set_num_threads(threads)
    return {
        "name": "shard-reads",
        **medians(rates),
        "ratio": ratio(rates, "ours", "peer"),
        "random_ratio": ratio(rates, "random", "tarfile_pictures"),
        "stream_ratio": ratio(rates, "stream", "tarfile"),
        "equal": equal,
        "written": count / built,
        "samples": count,
        "decoded": len(some),
        "kilobytes": statistics.mean(map(len, pictures)) / 1000,
    }


def _draw() -> list[bytes]:
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(DISTINCT):
        out = io.BytesIO()
        Image.fromarray(draw_photograph(random, HEIGHT, WIDTH)).save(out, "JPEG", quality=QUALITY)
        drawn.append(out.getvalue())
    return drawn


def _build(folder: Path, pictures: list[bytes], count: int) -> None:
    categories = Categories(Category(c, f"class {c}") for c in range(1, 101))
    with ShardBuilder(folder, categories, {"command": "bench"}, shards=SHARDS) as builder:
        for k in range(count):
            data = pictures[k % len(pictures)]
            label = 1 + 100 * k // count
            builder.add(Sample(f"n{label:08d}", f"{k}.jpg", label, data, HEIGHT, WIDTH, {}))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())


def _samples(folder: Path) -> Iterator[tuple[bytes, int, dict[str, Any]]]:
    """Picture, category and record of each sample, by the standard library."""
    jpeg, record = b"", {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                data = file.read() if file else b""
                if member.name.endswith(".jpg"):
                    jpeg = data
                elif member.name.endswith(".json"):
                    record = json.loads(data)
                else:
                    yield jpeg, int(data), record


def _pictures(folder: Path) -> Iterator[bytes]:
    """The pictures alone, by the standard library."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    file = tar.extractfile(member)
                    yield file.read() if file else b""


def _equal(folder: Path, shards: Shards) -> bool:
    """Whether random access, the stream and the standard library give the same samples in the same order."""
    streamed = stream(folder, seed=0, epoch=0, shuffle=0)
    for i, (ours, peer) in enumerate(zip(streamed, _samples(folder), strict=True)):
        at_random = (shards.data(i), shards.categories[shards.labels[i] - 1].id, shards.record(i))
        if not (at_random == peer == (ours.jpeg, ours.category, ours.record)):
            return False
    return True


def _bare(data: bytes) -> torch.Tensor:
    pixels: torch.Tensor = torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), 3, True)
    return pixels
