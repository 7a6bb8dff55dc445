"""A synthetic json of LVIS train's size in; seconds and memory to read it out, ours and lvis."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

IMAGES, BOXES, CLASSES = 100_000, 1_270_000, 1203
SIDE = 640, 480
SECOND_LOADS = 3
PAUSE = 0.2


def run(scale: float = 1.0) -> dict[str, Any]:
    """Read a json of 100,000 images and 1.27 M boxes with polygons (1.1 GB), each time in a fresh process.

    Args:
        scale: fraction of the images and boxes.

    Returns:
        ``ours``: seconds of the first load, from the json; ``peer``: seconds of ``lvis.LVIS``; their
        ``ratio``. ``second``: seconds of later loads, from the cache (median), and its ``second_ratio``.
        ``first_mb``, ``second_mb``, ``peer_mb``: private memory of the process that loading added, at its
        peak, after every box was touched; None where the system does not tell. ``equal``: whether boxes and
        labels are those of lvis.
    """
    images, boxes = max(1, round(IMAGES * scale)), max(1, round(BOXES * scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "lvis_v1_train.json"
        write_json(path, images, boxes)
        os.utime(path, (0, 0))  # as a file that was not written just now, which is hashed again to be sure
        first = _apart(_ours, folder)
        second = [_apart(_ours, folder) for _ in range(SECOND_LOADS)]
        peer = _apart(_peer, folder)
        ours, theirs = np.load(folder / "ours.npz"), np.load(folder / "peer.npz")
        equal = all(np.array_equal(ours[k], theirs[k]) for k in ("boxes", "labels", "counts"))
        size = path.stat().st_size
    seconds = statistics.median(s["seconds"] for s in second)
    return {
        "name": "annotations",
        "ours": first["seconds"],
        "peer": peer["seconds"],
        "ratio": peer["seconds"] / first["seconds"],
        "second": seconds,
        "second_ratio": peer["seconds"] / seconds,
        "first_mb": first["mb"],
        "second_mb": max((s["mb"] for s in second if s["mb"] is not None), default=None),
        "peer_mb": peer["mb"],
        "equal": equal,
        "json_mb": size / 1e6,
        "images": images,
        "boxes": boxes,
    }


def write_json(path: Path, images: int, boxes: int, seed: int = 0) -> None:
    """Write a file as LVIS v1 train is: coco_url, federated fields, a polygon for each box."""
    random = np.random.default_rng(seed)
    width, height = SIDE
    polygons = [", ".join(f"{v:.2f}" for v in random.uniform(10, 470, 2 * n)) for n in random.integers(20, 80, 500)]
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2020}, "licenses": [], "images": [')
        for k in range(images):
            place = f"train2017/{k * 7 + 9:012d}.jpg"
            negative = random.integers(1, CLASSES + 1, 8).tolist()
            file.write(
                f'{", " if k else ""}{{"date_captured": "2013-11-14 17:02", "neg_category_ids": {negative}, '
                f'"id": {k * 7 + 9}, "license": 4, "height": {height}, "width": {width}, '
                f'"flickr_url": "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg", '
                f'"coco_url": "http://images.cocodataset.org/{place}", "not_exhaustive_category_ids": []}}'
            )
        file.write('], "annotations": [')
        for start in range(0, boxes, 10_000):
            stop = min(start + 10_000, boxes)
            many = stop - start
            owner = (random.integers(0, images, many) * 7 + 9).tolist()
            category = random.integers(1, CLASSES + 1, many).tolist()
            corner = random.uniform(-1, [width - 20, height - 20], (many, 2)).round(2).tolist()
            sides = random.uniform(1, [200, 150], (many, 2)).round(2).tolist()
            records = (
                f'{{"area": {w * h:.2f}, "id": {k + 1}, "segmentation": [[{polygons[k % 500]}]], '
                f'"image_id": {image}, "bbox": [{x}, {y}, {w}, {h}], "category_id": {c}}}'
                for k, image, c, (x, y), (w, h) in zip(range(start, stop), owner, category, corner, sides, strict=True)
            )
            file.write((", " if start else "") + ", ".join(records))
        file.write('], "categories": [')
        file.write(
            ", ".join(
                f'{{"name": "class_{c}", "instance_count": 1, "def": "a thing", "synonyms": ["class_{c}"], '
                f'"image_count": 1, "id": {c}, "frequency": "f", "synset": "class.n.{c}"}}'
                for c in range(1, CLASSES + 1)
            )
        )
        file.write("]}")


def _ours(folder: Path, go: Any, done: Any, answer: Any) -> None:
    from clis_core.data.annotations import load_annotations

    with _watched(go, done):
        start = time.perf_counter()
        table = load_annotations(folder / "lvis_v1_train.json", folder / "cache")
        seconds = time.perf_counter() - start
        float(table.boxes.sum()), int(table.labels.sum()), int(table.offsets.sum())  # map every page
    counts = np.diff(table.offsets)
    np.savez(folder / "ours.npz", boxes=table.boxes, labels=table.labels, counts=counts)
    answer.send(seconds)


def _peer(folder: Path, go: Any, done: Any, answer: Any) -> None:
    import lvis

    with _watched(go, done):
        start = time.perf_counter()
        table = lvis.LVIS(str(folder / "lvis_v1_train.json"))
        seconds = time.perf_counter() - start
    found = [table.img_ann_map[i] for i in table.imgs]
    width, height = SIDE
    xywh = np.array([a["bbox"] for some in found for a in some])  # [M, 4]
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    boxes = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
    label = {c: k for k, c in enumerate(sorted(table.cats), start=1)}
    labels = np.array([label[a["category_id"]] for some in found for a in some], np.int32)
    np.savez(folder / "peer.npz", boxes=boxes, labels=labels, counts=[len(some) for some in found])
    answer.send(seconds)


@contextmanager
def _watched(go: Any, done: Any) -> Iterator[None]:
    """Give the parent time to see this process's memory before and after."""
    go.set()
    time.sleep(PAUSE)
    yield
    time.sleep(PAUSE)
    done.set()
    time.sleep(PAUSE)


def _apart(job: Callable[[Path, Any, Any, Any], None], folder: Path) -> dict[str, Any]:
    """Run in a fresh process, whose memory is watched from here: its own threads stand still as it parses."""
    context = multiprocessing.get_context("spawn")
    go, done = context.Event(), context.Event()
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=job, args=(folder, go, done, send))
    process.start()
    send.close()  # so that a process that dies ends the wait for its answer
    while not go.wait(PAUSE) and process.is_alive():
        pass
    before, alone = (
        _memory(process.pid, "status", "RssAnon"),
        _memory(process.pid, "smaps_rollup", "Private_"),
    )
    peak = before
    while not done.is_set() and process.is_alive():
        peak = max(peak, _memory(process.pid, "status", "RssAnon"))
        time.sleep(0.01)
    alone = _memory(process.pid, "smaps_rollup", "Private_") - alone
    seconds = receive.recv()
    process.join()
    return {"seconds": seconds, "mb": max(peak - before, alone) or None}


def _memory(process: int | None, file: str, kind: str) -> float:
    """MB of a kind of memory of a process; 0 where the system does not tell.

    RssAnon is what it has allocated; Private_ are pages, also of files, that nobody else has mapped.
    """
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024
