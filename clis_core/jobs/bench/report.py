"""Two drawn evaluations of 20,000 images in; time, peak memory and size of the report on them out."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clis_core.jobs.bench.fresh_process import apart, peak_mb
from clis_core.jobs.bench.lvis_eval import CLASSES, DETECTIONS, synthetic_detections, synthetic_truth

IMAGES = 20_000
PICTURES = 24
RUNS = ("first", "second")
GT = "val.json"


def run(scale: float = 1.0) -> dict[str, Any]:
    """Report on two evaluations of 20,000 images with 300 detections each, 1,203 classes, 24 pictures.

    Each side runs in a process of its own. Making the evaluations is not measured.

    Args:
        scale: fraction of the images.

    Returns:
        ``seconds`` and ``cpu_seconds`` of `clis_core.jobs.report.report`; ``mb``: peak memory of its process, of
        which ``imports_mb`` were there before; ``one_run_mb``, ``one_run_seconds``: the same for the first evaluation
        alone; ``at_once_mb``: peak memory of judging the first with all detections in memory, as `clis eval` does;
        ``page_mb``; ``equal``: whether the area below each class's curve on the page is the AP50 of `clis eval`.
    """
    images = max(2, round(IMAGES * scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _draw_images(folder, images)
        at_once = [apart(_draw_evaluation, folder, seed) for seed in range(len(RUNS))]
        one, two = apart(_report, folder, 1), apart(_report, folder, len(RUNS))
        equal = apart(_equal, folder)
    return {
        "name": "report",
        "seconds": two["seconds"],
        "cpu_seconds": two["cpu"],
        "mb": two["mb"],
        "imports_mb": two["before"],
        "one_run_seconds": one["seconds"],
        "one_run_mb": one["mb"],
        "at_once_mb": at_once[0]["mb"],
        "page_mb": two["page"] / 1e6,
        "equal": equal["equal"],
        "images": images,
        "detections": images * DETECTIONS,
        "pictures": two["pictures"],
        "runs": len(RUNS),
    }


def _draw_images(folder: Path, images: int) -> None:
    """An annotation file, and one picture under many names."""
    truth = synthetic_truth(images)
    counts = np.unique([b["category_id"] for b in truth["annotations"]], return_counts=True)
    train = dict(zip(*(column.tolist() for column in counts), strict=True))
    for image in truth["images"]:
        image["file_name"] = f"{image['id']:08d}.jpg"
    for category in truth["categories"]:
        category["image_count"] = train.get(category["id"], 1)
    (folder / GT).write_text(json.dumps(truth), encoding="utf-8")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC).save(folder / "one.jpg", quality=85)
    for image in truth["images"]:
        os.link(folder / "one.jpg", folder / image["file_name"])


def _draw_evaluation(folder: Path, seed: int) -> dict[str, Any]:
    from clis_core.config.load import Layer, preset_layer, resolve, save_config
    from clis_core.evaluation.evaluate import evaluate_in_full, prepare
    from clis_core.jobs.detect import DETECTIONS as FILE
    from clis_core.jobs.eval_files import RECORDS, publish, write_records

    run = folder / RUNS[seed]
    data = {"root": folder, "val": folder / GT, "val_images": folder}
    save_config(resolve([preset_layer("baseline-tiny"), Layer("bench", {"data": data})]), run / "config.toml")
    truth = json.loads((folder / GT).read_text(encoding="utf-8"))
    found = synthetic_detections(truth, DETECTIONS, seed + 1)
    del truth
    metrics = evaluate_in_full(prepare(folder / GT), found)
    out = run / "eval-val"
    write_records(out / ".new", metrics, {"step": 1, "detections": len(found)})
    found.save(out / ".new" / FILE)
    publish(out / ".new", out, [*RECORDS, FILE])
    return {"mb": peak_mb()}


def _report(folder: Path, runs: int) -> dict[str, Any]:
    from clis_core.jobs.report import report
    from clis_core.report import SilentReporter

    before, began, cpu = peak_mb(), time.perf_counter(), time.process_time()
    named = [str(folder / name) for name in RUNS[:runs]]
    written = report(named, folder / "report.html", pictures=PICTURES, reporter=SilentReporter())
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "mb": peak_mb(),
        "before": before,
        "page": written.size,
        "pictures": written.pictures,
    }


def _equal(folder: Path) -> dict[str, Any]:
    from clis_core.evaluation.groundtruth import read_ground_truth
    from clis_core.evaluation.outcomes import outcome_of
    from clis_core.evaluation.precision import mean_of_classes

    out = folder / RUNS[0] / "eval-val"
    curves = outcome_of(read_ground_truth(folder / GT), out / "detections.npz", 0.05).precision
    classes = json.loads((out / "per_class.json").read_text(encoding="utf-8"))["classes"]
    mine = [mean_of_classes(curves, [c]) for c in range(len(classes))]
    return {"equal": len(classes) == CLASSES and mine == [c["AP50"] for c in classes]}
