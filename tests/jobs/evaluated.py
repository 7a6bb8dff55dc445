"""A drawn data set and a seed in; a run folder as training and `clis eval` leave it, without either, out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from clis_core.config.load import Layer, preset_layer, resolve, save_config
from clis_core.data.annotations import load_annotations
from clis_core.data.layout import find_json
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate_in_full, prepare
from clis_core.evaluation.groups import groups_of
from clis_core.files import write_text
from clis_core.jobs.detect import DETECTIONS
from clis_core.jobs.eval_files import RECORDS, publish, write_records


def detections_near(truth: dict[str, Any], seed: int, skill: float) -> Detections:
    """Some detections of each image, image by image; ``skill`` (0..1) of the objects are found."""
    random = np.random.default_rng(seed)
    ids = [c["id"] for c in truth["categories"]]
    rows: list[tuple[int, int, list[float], float]] = []
    for image in truth["images"]:
        mine = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        for a in mine:
            x, y, w, h = a["bbox"]
            moved = random.normal(size=4) * (0.03 if random.random() < skill else 0.25)
            box = [x + moved[0] * w, y + moved[1] * h, x + w * (1 + moved[2]), y + h * (1 + moved[3])]
            right = random.random() < skill
            category = a["category_id"] if right else int(random.choice(ids))
            rows.append((image["id"], category, box, float(random.uniform(0.3, 1))))
        for _ in range(4):
            x, y = random.uniform(0, 50, 2)
            box = [x, y, x + random.uniform(5, 40), y + random.uniform(5, 40)]
            rows.append((image["id"], int(random.choice(ids)), box, float(random.uniform(0, 0.5))))
    images, categories, boxes, scores = zip(*rows, strict=True)
    return Detections(
        np.array(images, np.int64),
        np.array(categories, np.int32),
        np.array(boxes, np.float32),
        np.array(scores, np.float32),
    )


def evaluated_run(
    run: Path, data: Path, *, seed: int = 0, skill: float = 0.6, settings: dict[str, Any] | None = None
) -> Path:
    """Make a run folder with config, log and evaluation.

    Returns:
        the folder.
    """
    layers = [preset_layer("baseline-tiny"), Layer("test", {"data": {"root": data}, **(settings or {})})]
    save_config(resolve(layers), run / "config.toml")
    random = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = [{"kind": "info", "time": 1.0, "text": "Train."}]
    for step in range(10, 510, 10):
        box, kind = 3 / step + 0.01 * float(random.random()), 20 / step + 0.1 * float(random.random())
        lines.append({"kind": "train", "time": 1.0 + step, "step": step, "loss": box + kind, "class": kind, "box": box,
                      "lr": 0.01, "gradient_norm": 1.0, "images_per_second": 9.0, "memory_mb": 1.0})  # fmt: skip
    lines += [{"kind": "eval", "time": 9.0, "step": s, "AP": 10 * seed + s / 100, "APr": None} for s in (250, 500)]
    write_text(run / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    evaluation_of(run / "eval-val", data, seed, skill)
    return run


def evaluation_of(folder: Path, data: Path, seed: int, skill: float) -> None:
    """Make the folder of an evaluation on the validation images."""
    gt, train = find_json(data, "val"), find_json(data, "train")
    assert gt is not None
    assert train is not None
    found = detections_near(json.loads(gt.read_text(encoding="utf-8")), seed, skill)
    table = load_annotations(train, None)
    categories = table.categories.with_counts(table.image_counts().tolist())
    images = {c.id: c.images or 0 for c in categories}
    groups = None if load_annotations(gt, None).is_lvis else groups_of(categories)
    metrics = evaluate_in_full(prepare(gt, None, groups), found, images=images)
    staging = folder / ".new"
    write_records(staging, metrics, {"step": 500, "images": 12, "detections": len(found)})
    found.save(staging / DETECTIONS)
    publish(staging, folder, [*RECORDS, DETECTIONS])
