"""JPEG files of COCO's size in; images a second of the training loader and of bare decoding out."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from clis_core.config.data import DataConfig
from clis_core.data.layout import Split, open_split
from clis_core.data.loader import TrainingLoader
from clis_core.detectors.preprocess import resize
from clis_core.jobs.bench.timing import alternate, medians, ratio

FILES, WIDTH, HEIGHT = 256, 640, 480
BATCH, STEPS, ROUNDS = 16, 96, 5


def run(scale: float = 1.0, folder: Path | None = None, workers: int | None = None) -> dict[str, Any]:
    """Load 1,536 training images with augmentation, and decode the same files in the same order and no more.

    Both use the same torch DataLoader and the same number of processes, and start them anew each time; the
    bare side sends nothing back. They alternate, five times each.

    Args:
        scale: fraction of the steps.
        folder: a data set to load; None draws 256 JPEGs of 640 x 480 that cost as much as photographs.
        workers: processes; None takes the processor's cores.

    Returns:
        Images a second (medians): ``ours``, ``peer`` (bare decoding), and their ``ratio`` (median of pairs);
        ``cpu_ratio``: the same by CPU seconds of all processes, which tells more on a busy machine.
        ``inline``: the same ratio without worker processes. ``with_resize``: images a second of our loader
        when the network's first step, resizing to 640-800 pixels, runs on the same cores. ``equal``: whether
        the loader's pixels are those of bare decoding.
    """
    processes = workers if workers is not None else os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        root = folder or _draw(Path(name) / "data")
        split = open_split(DataConfig(root=root), "train", Path(name) / "cache")
        steps = max(2, round(STEPS * scale))
        spread = _compare(split, processes, steps)
        inline = _compare(split, 0, steps)
        paths = [split.files.path(i) for i in range(len(split.files))]
        return {
            "name": "loading",
            "ours": spread["ours"],
            "peer": spread["bare"],
            "ratio": spread["ratio"],
            "cpu_ratio": spread["cpu_ratio"],
            "inline": inline["ratio"],
            "with_resize": spread["resized"],
            "with_resize_ratio": spread["resized"] / spread["bare"],
            "equal": _equal(split),
            "workers": processes,
            "images": steps * BATCH,
            "kilobytes": statistics.mean(path.stat().st_size for path in paths) / 1000,
            "pixels": split.table.sizes.prod(axis=1).mean().item(),
        }


def _compare(split: Split, workers: int, steps: int) -> dict[str, float]:
    """Images a second by name, and the ratio of ours to bare."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    order = [batch.names for batch in _loader(split, workers, steps)]  # and the files are in memory now
    jobs: dict[str, Callable[[], None]] = {
        "ours": lambda: _load(split, workers, steps),
        "bare": lambda: _decode(order, workers),
        "resized": lambda: _load(split, workers, steps, resized=True),
    }
    wall, busy, _ = alternate(jobs, ROUNDS, warm_up=0, collect=True)
    torch.set_num_threads(threads)
    return {
        **medians({name: [steps * BATCH / seconds for seconds in found] for name, found in wall.items()}),
        "ratio": ratio(wall, "bare", "ours"),
        "cpu_ratio": ratio(busy, "bare", "ours"),
    }


def _load(split: Split, workers: int, steps: int, *, resized: bool = False) -> None:
    for batch in _loader(split, workers, steps):
        if resized:
            for image in batch.images:
                resize(image.pixels, image.size)


def _loader(split: Split, workers: int, steps: int) -> TrainingLoader:
    return TrainingLoader(split, DataConfig(workers=workers), BATCH, 0, 0, steps)


def _decode(order: list[list[str]], workers: int) -> None:
    loader: DataLoader[Any] = DataLoader(
        _Bare(), batch_size=None, sampler=order, num_workers=workers, collate_fn=_as_it_is
    )
    for _ in loader:
        pass


class _Bare(Dataset[Any]):
    """Decodes the images of a batch and drops them."""

    def __getitem__(self, paths: list[str]) -> int:
        for path in paths:
            _bare(path)
        return len(paths)


def _bare(path: str) -> torch.Tensor:
    with open(path, "rb") as file:
        data = bytearray(file.read())
    pixels: torch.Tensor = torch.ops.image.decode_jpeg(torch.frombuffer(data, dtype=torch.uint8), 3, True)
    return pixels


def _as_it_is(value: Any) -> Any:
    return value


def _equal(split: Split) -> bool:
    """Whether the images of the first step are the files' pixels."""
    batch = next(iter(_loader(split, 1, 1)))
    return all(torch.equal(image.pixels, _bare(name)) for image, name in zip(batch.images, batch.names, strict=True))


def _draw(folder: Path) -> Path:
    """A data set of pictures with detail at every scale, as in photographs."""
    random = np.random.default_rng(0)
    (folder / "train2017").mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for k in range(FILES):
        height, width = (HEIGHT, WIDTH) if random.random() < 0.7 else (WIDTH, HEIGHT)
        name = f"{k:012d}.jpg"
        Image.fromarray(draw_photograph(random, height, width)).save(folder / "train2017" / name, quality=90)
        images.append({"id": k, "height": height, "width": width, "file_name": name})
        for _ in range(12):
            corner, sides = random.uniform(0, 300, 2), random.uniform(10, 150, 2)
            box = {"image_id": k, "category_id": int(random.integers(1, 81)), "bbox": [*corner, *sides]}
            annotations.append({"id": len(annotations), **box})
    categories = [{"id": c, "name": f"class {c}"} for c in range(1, 81)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_train2017.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def draw_photograph(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Noise whose strength falls with its frequency, as natural images' does: uint8 ``[h, w, 3]``."""
    total = np.full((height, width, 3), 128.0)
    for octave in range(8):
        cell = 2**octave
        coarse = random.normal(0, 1, (height // cell + 2, width // cell + 2, 1)) + random.normal(0, 0.3, 3)
        noise = Image.fromarray((128 + 32 * coarse).clip(0, 255).astype(np.uint8))
        smooth = noise.resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(smooth, np.float64) - 128) * 0.25 * 1.15**octave
    return total.clip(0, 255).astype(np.uint8)
