"""Random annotation files, detections with all the oddities, and lvis as a user would run it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate_in_full, prepare
from clis_core.evaluation.metrics import Metrics
from clis_core.jobs.bench.lvis_eval import synthetic_detections, synthetic_truth

OFFICIAL_SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "lvis_val_100.json"


def write(folder: Path, content: Any, name: str = "gt.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def in_full(gt: Path, found: Detections, *, engine: Any = None, groups: Any = None, **options: Any) -> Metrics:
    """Evaluate a file in full, in one call."""
    return evaluate_in_full(prepare(gt, engine, groups), found, **options)


def coco_truth(images: int, classes: int, seed: int) -> dict[str, Any]:
    """The same without LVIS fields, with crowd boxes and boxes of area 0."""
    truth = synthetic_truth(images, classes, seed)
    random = np.random.default_rng(seed)
    for image in truth["images"]:
        del image["neg_category_ids"], image["not_exhaustive_category_ids"]
    for category in truth["categories"]:
        del category["frequency"]
    for box in truth["annotations"]:
        box["iscrowd"] = int(random.random() < 0.1)
        box["area"] *= random.random() > 0.02
    return truth


def odd_detections(truth: dict[str, Any], per_image: int, seed: int) -> Detections:
    """Shuffled, with exact copies, boxes without size or with negative size, and scores of few values."""
    random = np.random.default_rng(seed)
    found = synthetic_detections(truth, per_image, seed)
    order = random.permutation(len(found))
    order[: len(order) // 10] = order[-(len(order) // 10) :][: len(order) // 10]
    boxes = found.boxes[order]
    turned = random.random(len(boxes)) < 0.02
    boxes[turned, 2:] = boxes[turned, :2] - 5
    flat = random.random(len(boxes)) < 0.02
    boxes[flat, 3] = boxes[flat, 1]
    scores = found.scores[order]
    scores[::3] = np.round(scores[::3], 1)
    return Detections(found.image_ids[order], found.category_ids[order], boxes, scores)


class _NumpyOfOld:
    def __getattr__(self, name: str) -> Any:
        return float if name == "float" else getattr(np, name)


def official_lvis(gt: Path, results: list[dict[str, Any]], kind: str = "bbox") -> tuple[dict[str, float], np.ndarray]:
    """What lvis itself says: its metrics (fractions, -1 where absent) and its precision ``[T, R, C, A]``."""
    import lvis
    import lvis.eval

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        truth = lvis.LVIS(str(gt))
        engine = lvis.LVISEval(truth, lvis.LVISResults(truth, results), kind)
    lvis.eval.np = _NumpyOfOld()
    try:
        engine.run()
    finally:
        lvis.eval.np = np
    return dict(engine.get_results()), engine.eval["precision"]


def as_records(detections: Detections) -> list[dict[str, Any]]:
    """A results list, as plainly as can be."""
    records = []
    for image, category, box, score in zip(
        detections.image_ids, detections.category_ids, detections.boxes, detections.scores, strict=True
    ):
        x1, y1, x2, y2 = (float(v) for v in box)
        records.append(
            {
                "image_id": int(image),
                "category_id": int(category),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(score),
            }
        )
    return records
