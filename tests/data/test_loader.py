"""The loaders: the same batches for any number of workers and any start; errors reach the user whole."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clis_core.batch import Batch, fit_size
from clis_core.config.data import DataConfig, RepeatFactor, Uniform
from clis_core.data import workers as workers_module
from clis_core.data.decode import read_image
from clis_core.data.layout import Split, open_split
from clis_core.data.loader import TrainingLoader
from clis_core.data.sampling import Portion
from clis_core.data.workers import worker_died
from clis_core.errors import DataError


def config(root: Path, workers: int = 0, **fields: Any) -> DataConfig:
    fields = {"short_sides": (64, 80, 96), "long_side": 120, "sampler": RepeatFactor(threshold=0.5)} | fields
    return DataConfig(root=root, workers=workers, **fields)


@pytest.fixture
def split(drawn_lvis: Path, tmp_path: Path) -> Split:
    return open_split(DataConfig(root=drawn_lvis), "train", tmp_path / "cache")


def same(a: Batch, b: Batch) -> bool:
    return (
        a.names == b.names
        and all(
            torch.equal(x.pixels, y.pixels) and (x.size, x.flip) == (y.size, y.flip)
            for x, y in zip(a.images, b.images, strict=True)
        )
        and all(
            torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
            for x, y in zip(a.targets, b.targets, strict=True)
        )
    )


def test_batches_hold_what_they_say(split: Split) -> None:
    data = config(Path("."), short_sides=(64, 80), long_side=100)
    names = {str(split.files.path(i)): i for i in range(len(split.files))}
    flips, sizes = set(), set()
    for batch in TrainingLoader(split, data, 4, 0, 0, 20):
        assert len(batch.images) == len(batch.targets) == len(batch.names) == 4
        for image, target, name in zip(batch.images, batch.targets, batch.names, strict=True):
            height, width = split.table.sizes[names[name]].tolist()
            assert torch.equal(image.pixels, read_image(Path(name)))
            assert image.pixels.stride() == (1, 3 * width, 3)
            assert image.size in {fit_size(height, width, short, 100) for short in (64, 80)}
            boxes, labels = split.table.target(names[name])
            assert target.labels.tolist() == labels.tolist()
            assert (target.boxes.dtype, target.labels.dtype) == (torch.float32, torch.int64)
            scale = torch.tensor([image.size[1] / width, image.size[0] / height] * 2)
            expected = torch.from_numpy(boxes.copy()) * scale
            if image.flip:
                expected[:, [0, 2]] = image.size[1] - expected[:, [2, 0]]
            assert torch.allclose(target.boxes, expected, atol=1e-3)
            flips.add(image.flip)
            sizes.add(image.size)
    assert flips == {True, False}
    assert len(sizes) == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_same_for_any_number_of_workers(split: Split, workers: int) -> None:
    inline = list(TrainingLoader(split, config(Path(".")), 4, 3, 0, 12))
    # All batches are kept: none may be written over by a later one.
    spread = list(TrainingLoader(split, config(Path("."), workers), 4, 3, 0, 12))
    assert len(inline) == len(spread) == 12
    assert all(same(a, b) for a, b in zip(inline, spread, strict=True))
    assert all(image.pixels.stride(0) == 1 for batch in spread for image in batch.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_same_from_any_step(split: Split, workers: int) -> None:
    whole = list(TrainingLoader(split, config(Path(".")), 4, 0, 0, 80))
    part = TrainingLoader(split, config(Path("."), workers), 4, 0, 61, 70)
    assert len(part) == 9
    assert all(same(a, b) for a, b in zip(part, whole[61:70], strict=True))
    assert all(same(a, b) for a, b in zip(part, whole[61:70], strict=True))  # and again


def joined(parts: list[Batch]) -> Batch:
    return Batch(*([x for b in parts for x in getattr(b, name)] for name in ("images", "targets", "names")))


@pytest.mark.parametrize(("world", "parts"), [(2, 1), (4, 1), (2, 2), (3, 2), (1, 3)])
@pytest.mark.parametrize("grouped", [True, False])
def test_processes_share_out_what_one_would_have(split: Split, world: int, parts: int, grouped: bool) -> None:
    data = config(Path("."), group_by_shape=grouped)
    whole = list(TrainingLoader(split, data, 12, 3, 5, 11))
    ranks = [list(TrainingLoader(split, data, 12, 3, 5, 11, portion=Portion(r, world, parts))) for r in range(world)]
    size = 12 // world // parts
    for step, alone in enumerate(whole):
        shares = [ranks[r][step] for r in range(world)]
        of_part = [
            Batch(b.images[n : n + size], b.targets[n : n + size], b.names[n : n + size])
            for n in range(0, parts * size, size)
            for b in shares
        ]
        together = joined(of_part)
        assert same(together, alone)
        # What is drawn for an image does not hang on its neighbours, and nothing is drawn alike.
        seeds = [target.seed for target in together.targets]
        assert seeds == [target.seed for target in alone.targets]
        assert len(set(seeds)) == 12
        # All processes pad the images of a part to one size.
        for n in range(parts):
            images = joined(of_part[n * world : (n + 1) * world]).images
            frame = max(i.size[0] for i in images), max(i.size[1] for i in images)
            assert {image.frame for image in images} == {frame}


def test_no_image_is_lost_or_seen_twice_in_an_epoch_of_several_processes(split: Split) -> None:
    data = config(Path("."), sampler=Uniform(), group_by_shape=False)
    count = len(split.table)
    assert count % 6 == 0
    names = [
        name
        for rank in range(3)
        for batch in TrainingLoader(split, data, 6, 0, 0, count // 6, portion=Portion(rank, 3))
        for name in batch.names
    ]
    assert sorted(names) == sorted(str(split.files.path(i)) for i in range(count))


def test_seeds_differ(split: Split) -> None:
    a, b = (next(iter(TrainingLoader(split, config(Path(".")), 8, seed, 0, 1))) for seed in (0, 1))
    assert not same(a, b)


@pytest.mark.parametrize("how", ["no slots", "too large"])
def test_same_without_slots(split: Split, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "no slots":
        monkeypatch.delattr(os, "memfd_create")
    else:
        monkeypatch.setattr(workers_module, "_MOST", 1)
    inline = list(TrainingLoader(split, config(Path(".")), 4, 0, 0, 6))
    spread = list(TrainingLoader(split, config(Path("."), 1), 4, 0, 0, 6))
    assert all(same(a, b) for a, b in zip(inline, spread, strict=True))


def test_sampler_and_grouping_follow_the_config(split: Split) -> None:
    def names(**fields: Any) -> list[list[str]]:
        return [b.names for b in TrainingLoader(split, config(Path("."), **fields), 6, 0, 0, 64)]

    uniform = [n for batch in names(sampler=Uniform(), group_by_shape=False) for n in batch]
    count = len(split.table)
    assert len(set(uniform[:count])) == count  # every image once an epoch
    repeated = [n for batch in names(group_by_shape=False) for n in batch]
    assert len(set(repeated[:count])) < count
    sizes = {str(split.files.path(i)): tuple(split.table.sizes[i].tolist()) for i in range(count)}
    mixed = [len({h < w for h, w in (sizes[n] for n in batch)}) > 1 for batch in names()]
    assert sum(mixed) <= 1


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_state_is_left_alone(split: Split, workers: int) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    list(TrainingLoader(split, config(Path("."), workers), 4, 0, 0, 5))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert random.getstate() == before[2]


def photos(folder: Path) -> Split:
    """Two photographs of 800 x 600 pixels, the second turned by EXIF, with a box each."""
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.mkdir()
    Image.new("RGB", (800, 600), "red").save(folder / "a.jpg")
    Image.new("RGB", (800, 600), "blue").save(folder / "b.jpg", exif=exif.tobytes())
    sizes = [(600, 800), (800, 600)]
    images = [{"id": i, "height": h, "width": w, "file_name": f"{'ab'[i]}.jpg"} for i, (h, w) in enumerate(sizes)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [100, 50, w / 2, h / 4]} for i, (h, w) in enumerate(sizes)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (folder / "train.json").write_text(json.dumps(content))
    return open_split(DataConfig(root=folder), "train", None)


def test_large_photos_are_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    split = photos(tmp_path / "photos")
    data = config(Path("."), short_sides=(150,), long_side=1000, sampler=Uniform(), group_by_shape=False)
    batch = next(iter(TrainingLoader(split, data, 2, 0, 0, 1)))
    assert {tuple(image.pixels.shape[1:]) for image in batch.images} == {(150, 200), (200, 150)}
    for name, image, target in zip(batch.names, batch.images, batch.targets, strict=True):
        wide = name.endswith("a.jpg")
        assert image.size == ((150, 200) if wide else (200, 150))
        x = 25.0 if not image.flip else (75.0 if wide else 50.0)
        assert target.boxes.tolist() == [[x, 12.5, x + (100 if wide else 75), 12.5 + (37.5 if wide else 50)]]


@pytest.mark.parametrize("workers", [0, 2])
def test_exif_setting(tmp_path: Path, workers: int) -> None:
    split = photos(tmp_path / "photos")
    with pytest.raises(DataError) as caught:
        list(TrainingLoader(split, config(Path("."), workers, exif=False), 2, 0, 0, 64))
    assert "b.jpg is 800 x 600 pixels, but the annotations say 600 x 800" in caught.value.message
    assert "--set data.exif=true" in (caught.value.hint or "")


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_in_a_worker_arrives_as_it_was(drawn_lvis: Path, tmp_path: Path, workers: int) -> None:
    root = shutil.copytree(drawn_lvis, tmp_path / "data")
    split = open_split(DataConfig(root=root), "train", None)
    damaged = split.files.path(5)
    damaged.write_bytes(damaged.read_bytes()[:700])
    with pytest.raises(DataError) as caught:
        list(TrainingLoader(split, config(root, workers), 4, 0, 0, 64))
    assert caught.value.message.startswith(f"{damaged} is damaged: ")
    assert "Traceback" not in caught.value.message
    assert caught.value.hint == "Replace it, or leave it out."
    assert isinstance(caught.value, DataError)
    assert caught.value.exit_code == 4


# torch's loader takes 5 s to end its workers after an exception that was not caught in them.
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_bug_in_a_worker_stays_a_bug(split: Split, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("clis_core.data.loader.read_image", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        list(TrainingLoader(split, config(Path("."), workers), 4, 0, 0, 1))
    gc.collect()


def test_a_killed_worker_is_explained(split: Split) -> None:
    before = set(multiprocessing.active_children())

    def train() -> None:
        for _ in TrainingLoader(split, config(Path("."), 2), 4, 0, 0, 10_000):
            for child in set(multiprocessing.active_children()) - before:
                os.kill(child.pid or 0, signal.SIGKILL)

    # torch may notice while it waits for images, or interrupt whatever runs then.
    with pytest.raises((DataError, RuntimeError)) as caught:
        train()
    error = caught.value
    if not isinstance(error, DataError):
        assert isinstance(error, RuntimeError)
        died = worker_died(error)
        assert died is not None
        error = died
    assert "died" in error.message
    assert "--set data.workers=0" in (error.hint or "")
    assert worker_died(RuntimeError("CUDA out of memory")) is None
    assert worker_died(RuntimeError("Caught RuntimeError in DataLoader worker process 0.")) is None


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_signals_to_the_whole_job_do_not_stop_workers(split: Split, name: str) -> None:
    before = set(multiprocessing.active_children())
    count = 0
    for _ in TrainingLoader(split, config(Path("."), 2), 4, 0, 0, 60):
        if count == 3:
            for child in set(multiprocessing.active_children()) - before:
                subprocess.run(["kill", f"-{name}", str(child.pid)], check=True)
        count += 1
    assert count == 60


def test_workers_obey_their_parent(split: Split) -> None:
    before = set(multiprocessing.active_children())
    batches = iter(TrainingLoader(split, config(Path("."), 2), 4, 0, 0, 10_000))
    next(batches)
    for child in set(multiprocessing.active_children()) - before:
        child.terminate()
        child.join(5)
        assert child.exitcode == 0


_ORPHAN = """
import multiprocessing, os, sys, time
from clis_core.data import workers
workers._LOOK = 0.05
context = multiprocessing.get_context("fork")
def work(pipe):
    workers._start_worker(0)
    pipe.send(os.getpid())
    time.sleep(600)
ours, theirs = context.Pipe()
context.Process(target=work, args=(theirs,)).start()
print(ours.recv(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_workers_end_with_a_process_that_is_killed_before_torch_looks_after_them() -> None:
    with subprocess.Popen([sys.executable, "-c", _ORPHAN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        try:
            process.communicate(timeout=60)  # ends when the worker has let go of it as well
        except subprocess.TimeoutExpired:
            os.kill(worker, signal.SIGKILL)
            raise


def test_workers_end_with_the_loop(split: Split) -> None:
    before = set(multiprocessing.active_children())
    for _ in TrainingLoader(split, config(Path("."), 2), 4, 0, 0, 10_000):
        assert len(set(multiprocessing.active_children()) - before) == 2
        break
    deadline = time.monotonic() + 10
    while set(multiprocessing.active_children()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(multiprocessing.active_children()) - before


def test_what_workers_get_is_small(split: Split) -> None:
    loader = TrainingLoader(split, config(Path(".")), 4, 0, 0, 10)
    assert b".jpg" not in pickle.dumps(loader._load)


def test_no_shared_memory_for_a_batch_is_told(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's thread would lose the batch, and the main process wait for it for ever."""

    def full(_: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")

    monkeypatch.setattr("clis_core.data.workers._slots", lambda *_: None)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(DataError, match="no shared memory for a batch") as caught:
        list(TrainingLoader(split, config(Path("."), 1), 4, 0, 0, 6))
    assert "--shm-size" in (caught.value.hint or "")
