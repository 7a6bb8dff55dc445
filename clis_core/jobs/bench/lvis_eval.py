"""Synthetic LVIS-sized files in; CPU time, memory and agreement of our evaluation and lvis out."""

from __future__ import annotations

import json
import logging
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.lvis import numpy_with_float
from clis_core.evaluation.results_json import read_detections, to_coco_json
from clis_core.jobs.bench.fresh_process import apart, peak_mb

CLASSES = 1203
IMAGES = 2000
DETECTIONS = 300
"""An image."""
GT, RESULTS = "gt.json", "results.json"
RUNS = 3
"""Of ours, which is short enough for other processes to disturb it; the median counts."""
TOLERANCE = 1e-12
"""LVIS metrics as fractions; across NumPy versions lvis differs from itself by 1e-16."""


def run(scale: float = 1.0) -> dict[str, Any]:
    """Evaluate 2,000 images of 300 detections each, ours and lvis, in fresh processes.

    Args:
        scale: fraction of the images, for a quick look; the ratio grows with the number of images.

    Returns:
        CPU seconds (user and system, all threads, no imports) from detections in memory, each side in its
        own form, and an annotation json to metrics: ``ours``, ``peer`` and their ``ratio``; the same from a
        results json: ``ours_from_json``, ``peer_from_json``, ``ratio_from_json``;
        ``ours_in_full``: from detections in memory, with class table, mistakes and calibration; peak memory
        in MB; ``equal``: whether the 13 metrics agree to 1e-12.
    """
    images = max(1, round(IMAGES * scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = synthetic_truth(images)
        (folder / GT).write_text(json.dumps(truth), encoding="utf-8")
        to_coco_json(synthetic_detections(truth, DETECTIONS), folder / RESULTS)
        del truth
        full = apart(_ours_in_full, folder)
        runs, peer = [apart(_ours, folder) for _ in range(RUNS)], apart(_peer, folder)
        ours = sorted(runs, key=lambda run: run["cpu"])[RUNS // 2]
    gap = max(abs(ours["metrics"][n] - peer["metrics"][n]) for n in peer["metrics"])
    return {
        "name": "lvis-eval",
        "ours": ours["cpu"],
        "peer": peer["cpu"],
        "ratio": peer["cpu"] / ours["cpu"],
        "ours_from_json": ours["cpu_from_json"],
        "peer_from_json": peer["cpu_from_json"],
        "ratio_from_json": peer["cpu_from_json"] / ours["cpu_from_json"],
        "ours_in_full": full["cpu"],
        "ours_mb": ours["mb"],
        "ours_in_full_mb": full["mb"],
        "peer_mb": peer["mb"],
        "equal": gap <= TOLERANCE,
        "largest_gap": gap,
        "images": images,
        "detections": images * DETECTIONS,
    }


def synthetic_truth(images: int, classes: int = CLASSES, seed: int = 0) -> dict[str, Any]:
    """An LVIS annotation file of random boxes; a few classes are everywhere and most are seldom.

    Args:
        images: how many.
        classes: how many; their ids have gaps.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    ids = np.arange(classes) * 2 + 1
    share = 1 / np.arange(1, classes + 1)
    share /= share.sum()
    records: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        drawn = random.choice(ids, size=min(classes, 16), replace=False, p=share)
        cut = max(1, len(drawn) // 2)
        present, absent = drawn[:cut].tolist(), drawn[cut:].tolist()
        records.append(
            {
                "id": image * 3,
                "width": 640,
                "height": 480,
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": present[:1],
            }
        )
        for category in random.choice(present, size=12).tolist():
            width, height = np.exp(random.uniform(2, 5.5, 2))
            x, y = random.uniform(0, 640 - width), random.uniform(0, 480 - height)
            bbox = [round(float(v), 2) for v in (x, y, width, height)]
            area = round(0.7 * bbox[2] * bbox[3], 2)  # of a mask
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": image * 3,
                    "category_id": category,
                    "bbox": bbox,
                    "area": area,
                }
            )
    categories = [
        {"id": int(i), "name": f"class {i}", "frequency": "fcr"[3 * rank // classes]} for rank, i in enumerate(ids)
    ]
    return {"images": records, "annotations": boxes, "categories": categories}


def synthetic_detections(truth: dict[str, Any], per_image: int, seed: int = 1) -> Detections:
    """Detections of a middling detector: half near a true box, half anywhere; with ties and empty boxes.

    Args:
        truth: an annotation file with boxes.
        per_image: detections of each image.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    images = np.repeat([i["id"] for i in truth["images"]], per_image)  # [K]
    count = len(images)
    order = np.argsort([b["image_id"] for b in truth["annotations"]], kind="stable")
    xywh = np.array([b["bbox"] for b in truth["annotations"]]).reshape(-1, 4)[order]
    owner = np.array([b["image_id"] for b in truth["annotations"]])[order]
    label = np.array([b["category_id"] for b in truth["annotations"]])[order]
    first, last = np.searchsorted(owner, images), np.searchsorted(owner, images, side="right")
    boxes = np.concatenate([random.uniform(0, 400, (count, 2)), np.exp(random.uniform(1, 5, (count, 2)))], axis=1)
    categories = random.choice([c["id"] for c in truth["categories"]], count)
    near = (random.random(count) < 0.5) & (last > first)
    chosen = random.integers(first[near], last[near])
    boxes[near] = xywh[chosen] * (1 + 0.15 * random.normal(size=(int(near.sum()), 4)))
    categories[near] = label[chosen]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 0) * (random.random((count, 1)) > 0.01)
    scores = random.random(count)
    tied = random.random(count) < 0.3
    scores[tied] = np.round(scores[tied], 2)
    return Detections(
        image_ids=images.astype(np.int64),
        category_ids=categories.astype(np.int32),
        boxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32),
        scores=scores.astype(np.float32),
    )


def _ours(folder: Path) -> dict[str, Any]:
    import hotcoco  # noqa: F401  (its import is not measured, as that of lvis is not)

    from clis_core.evaluation.evaluate import evaluate

    times = [time.process_time()]
    detections = read_detections(folder / RESULTS)
    times.append(time.process_time())
    values = evaluate(folder / GT, detections).values
    times.append(time.process_time())
    return _seen(times, {name: -1 if value is None else value / 100 for name, value in values.items()})


def _ours_in_full(folder: Path) -> dict[str, Any]:
    import hotcoco  # noqa: F401

    from clis_core.evaluation.evaluate import evaluate_in_full, prepare

    detections = read_detections(folder / RESULTS)
    start = time.process_time()
    values = evaluate_in_full(prepare(folder / GT), detections).values
    return _seen([start, start, time.process_time()], values)


def _peer(folder: Path) -> dict[str, Any]:
    import lvis

    logging.disable(logging.WARNING)  # it says, with a deprecated method, that it assumes good results
    warnings.simplefilter("ignore", DeprecationWarning)
    times = [time.process_time()]
    with (folder / RESULTS).open(encoding="utf-8") as file:
        results = json.load(file)
    times.append(time.process_time())
    gt = lvis.LVIS(str(folder / GT))
    engine = lvis.LVISEval(gt, lvis.LVISResults(gt, results), "bbox")
    with numpy_with_float():
        engine.run()
    times.append(time.process_time())
    return _seen(times, {name: float(value) for name, value in engine.get_results().items()})


def _seen(times: list[float], metrics: Mapping[str, float | None]) -> dict[str, Any]:
    start, read, end = times
    return {"cpu": end - read, "cpu_from_json": end - start, "mb": peak_mb(), "metrics": metrics}
