"""Random files with masks of every way of writing them, detections with masks, and official results of theirs."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from clis_core.data.mask_paste import Window, rle_of_window
from clis_core.data.segmentation import as_json, runs_of
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.rles import Rles
from clis_core.jobs.bench.lvis_eval import synthetic_detections, synthetic_truth
from tests.evaluation.odd_world import coco_truth

SIZE = (120, 160)


def with_masks(truth: dict[str, Any], seed: int) -> dict[str, Any]:
    """Boxes drawn anew within small images, each with a polygon or with run lengths, as text or as a list."""
    random = np.random.default_rng(seed)
    for image in truth["images"]:
        image["height"], image["width"] = SIZE
    for number, box in enumerate(truth["annotations"]):
        x, y = random.random(2) * [100, 80]
        w, h = 8 + random.random(2) * 30
        corners = [x, y, x + w, y + h / 3, x + w * 0.8, y + h, x + w / 5, y + h * 0.9]
        rle = coco_mask.frPyObjects([corners], *SIZE)[0]
        box["bbox"], box["area"] = [x, y, w, h], float(coco_mask.area(rle))
        if number % 3 == 0 or (number % 7 == 0 and box.get("iscrowd")):
            box["segmentation"] = as_json(rle)
        elif number % 3 == 1:
            box["segmentation"] = {"size": list(SIZE), "counts": runs_of(rle["counts"]).tolist()}
        else:
            box["segmentation"] = [corners]
    return truth


def lvis_world(seed: int) -> dict[str, Any]:
    return with_masks(synthetic_truth(8, 12, seed), seed)


def coco_world(seed: int) -> dict[str, Any]:
    return with_masks(coco_truth(8, 6, seed), seed)


def masked_detections(truth: dict[str, Any], per_image: int, seed: int) -> Detections:
    """Detections near the objects and anywhere, some without a pixel, with scores of few values."""
    random = np.random.default_rng(seed)
    found = synthetic_detections(truth, per_image, seed)
    boxes = found.boxes.copy()
    # Few objects are hit by chance: half of the detections are one of their image, moved a little.
    by_image: dict[int, list[dict[str, Any]]] = {}
    for box in truth["annotations"]:
        by_image.setdefault(box["image_id"], []).append(box)
    category_ids, masks = found.category_ids.copy(), []
    for n, image in enumerate(found.image_ids.tolist()):
        window = np.clip(boxes[n] * 0.25, 0, [SIZE[1], SIZE[0]] * 2).astype(int)
        bitmap = random.random((max(0, window[3] - window[1]), max(0, window[2] - window[0]))) < random.random()
        rle = rle_of_window(Window(bitmap, int(window[1]), int(window[0])), SIZE)
        if image in by_image and n % 2:
            box = by_image[image][int(random.integers(len(by_image[image])))]
            x, y, w, h = box["bbox"]
            shift = random.normal(0, 2, 8)
            corners = np.array([x, y, x + w, y + h / 3, x + w * 0.8, y + h, x + w / 5, y + h * 0.9]) + shift
            rle = coco_mask.frPyObjects([corners.tolist()], *SIZE)[0]
            category_ids[n] = box["category_id"]
            boxes[n] = [x, y, x + w, y + h]
        masks.append(rle)
    scores = found.scores.copy()
    scores[::3] = np.round(scores[::3], 1)
    return replace(found, boxes=boxes, category_ids=category_ids, scores=scores, masks=Rles.of(masks))


def mask_results(found: Detections) -> list[dict[str, Any]]:
    """A results list of masks, as plainly as can be."""
    assert found.masks is not None
    columns = (found.image_ids.tolist(), found.category_ids.tolist(), found.masks.records(), found.scores.tolist())
    return [
        {"image_id": i, "category_id": c, "segmentation": as_json(m), "score": s}
        for i, c, m, s in zip(*columns, strict=True)
    ]


def official_coco(gt: Path, results: list[dict[str, Any]]) -> np.ndarray:
    """pycocotools' twelve numbers of masks, fractions."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(gt))
        engine = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "segm")
        engine.evaluate()
        engine.accumulate()
        engine.summarize()
    return np.asarray(engine.stats)
