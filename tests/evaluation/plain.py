"""The matching, AP and TIDE's kinds of mistakes in plain loops over records, as their papers put them."""

from __future__ import annotations

from typing import Any

import numpy as np

from clis_core.evaluation.detections import Detections
from tests.evaluation.odd_world import as_records

Records = list[dict[str, Any]]


def confused(truth: dict[str, Any], found: Detections, seed: int) -> Detections:
    """The same detections, of which many have another class that is judged in their image, or any other class."""
    random = np.random.default_rng(seed)
    categories = found.category_ids.copy()
    everything = [c["id"] for c in truth["categories"]]
    for image in truth["images"]:
        asked = [b["category_id"] for b in truth["annotations"] if b["image_id"] == image["id"]]
        asked += image.get("neg_category_ids", [])
        for row in np.flatnonzero(found.image_ids == image["id"]):
            draw = random.random()
            if draw < 0.6:
                categories[row] = random.choice(asked if asked and draw < 0.4 else everything)
    return Detections(found.image_ids, categories, found.boxes, found.scores)


def iou(a: list[float], b: list[float]) -> float:
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (a[2] * a[3] + b[2] * b[3] - across * down)


def best_of_images(truth: dict[str, Any], found: Detections, cap: int | None = 300) -> Records:
    """The best ``cap`` of each image, best first."""
    kept: Records = []
    records = as_records(found)
    for image in truth["images"]:
        here = sorted((r for r in records if r["image_id"] == image["id"]), key=lambda r: -r["score"])
        kept += here[:cap]
    return kept


def is_federated(truth: dict[str, Any]) -> bool:
    return "neg_category_ids" in truth["images"][0]


def matched(truth: dict[str, Any], records: Records, threshold: float = 0.5, coco_cap: int | None = 100) -> Records:
    """The records that are judged, each with its ``object`` (or None) and its ``state``: right, wrong or neither.

    Objects get ``found``, the record that found them.
    """
    judged: Records = []
    for box in truth["annotations"]:
        box["found"] = None
    for image in truth["images"]:
        boxes = [b for b in truth["annotations"] if b["image_id"] == image["id"]]
        for category in sorted(c["id"] for c in truth["categories"]):
            there = [b for b in boxes if b["category_id"] == category]
            here = [r for r in records if (r["image_id"], r["category_id"]) == (image["id"], category)]
            here.sort(key=lambda r: -r["score"])
            if is_federated(truth):
                here = [r for r in here if r["bbox"][2] * r["bbox"][3] > 0]
                if not there and category not in image["neg_category_ids"]:
                    continue
            else:
                here = here[:coco_cap]
            for record in here:
                _choose(record, there, threshold, federated=is_federated(truth))
                if record["object"] is None and category in image.get("not_exhaustive_category_ids", []):
                    record["state"] = "neither"
            judged += here
    return judged


def _choose(record: dict[str, Any], boxes: Records, threshold: float, *, federated: bool) -> None:
    best, record["object"], record["state"] = threshold, None, "wrong"
    for box in boxes:
        if not (box.get("iscrowd") and not federated) and box["found"] is None:
            overlap = iou(record["bbox"], box["bbox"])
            if overlap >= best:
                best, record["object"], record["state"] = overlap, box, "right"
    if record["object"] is not None:
        record["object"]["found"] = record
    elif not federated:
        for box in boxes:
            x, y, width, height = record["bbox"]
            across = min(x + width, box["bbox"][0] + box["bbox"][2]) - max(x, box["bbox"][0])
            down = min(y + height, box["bbox"][1] + box["bbox"][3]) - max(y, box["bbox"][1])
            inside = across * down / (width * height) if across > 0 and down > 0 else 0
            if box.get("iscrowd") and inside >= threshold:
                record["state"], record["object"] = "neither", box


def average_precision(marks: list[tuple[float, bool]], objects: int) -> float:
    """AP in percent points of scores and whether they are right, which are in the order of equal scores."""
    precision, recall, right, wrong = [], [], 0, 0
    for _, hit in sorted(marks, key=lambda mark: -mark[0]):
        right, wrong = right + hit, wrong + (not hit)
        precision.append(right / (right + wrong))
        recall.append(right / objects)
    steps = np.linspace(0, 1, 101).tolist()  # as lvis has them: the eighth is not 7 / 100
    at = [max((p for p, r in zip(precision, recall, strict=True) if r >= step), default=0.0) for step in steps]
    return 100 * sum(at) / 101


def kinds(truth: dict[str, Any], judged: Records) -> None:
    """Give each wrong record its ``kind`` and ``target``, and each object its ``fate``: found, Cls, Loc or Miss."""
    objects = real_objects(truth)
    for box in objects:
        box["fate"], box["best"] = ("found" if box["found"] else "Miss"), -1.0
    for record in judged:
        record["kind"] = record["target"] = None
        if record["state"] != "wrong":
            continue
        own: tuple[float, Any] = (0.0, None)
        other: tuple[float, Any] = (0.0, None)
        for box in (b for b in objects if b["image_id"] == record["image_id"]):
            overlap = iou(record["bbox"], box["bbox"])
            if box["category_id"] == record["category_id"]:
                own = max(own, (overlap, box), key=lambda pair: pair[0])
            else:
                other = max(other, (overlap, box), key=lambda pair: pair[0])
        record["kind"], record["target"] = _kind(own, other)
    for record in judged:
        box = record["target"]
        if record["kind"] in ("Cls", "Loc") and not box["found"] and record["score"] > box["best"]:
            box["fate"], box["best"] = record["kind"], record["score"]


def _kind(own: tuple[float, Any], other: tuple[float, Any]) -> tuple[str, Any]:
    if 0.1 <= own[0] < 0.5:
        return "Loc", own[1]
    if other[0] >= 0.5:
        return "Cls", other[1]
    if own[0] >= 0.5:
        return "Dupe", own[1]
    return ("Bkg" if max(own[0], other[0]) < 0.1 else "Both"), None


def real_objects(truth: dict[str, Any]) -> Records:
    return [b for b in truth["annotations"] if is_federated(truth) or not b.get("iscrowd")]


def mean_ap(truth: dict[str, Any], judged: Records, classes: list[int], mend: str | None = None) -> float | None:
    """AP50 over classes in percent points, with one kind of mistake put right."""
    entries = [
        (r["category_id"], r["score"], r["state"] == "right", r["object"]) for r in judged if r["state"] != "neither"
    ]
    objects = [b["category_id"] for b in real_objects(truth)]
    if mend == "Miss":
        objects = [b["category_id"] for b in real_objects(truth) if b["fate"] != "Miss"]
    elif mend == "FalseNeg":
        objects = [b["category_id"] for b in real_objects(truth) if b["fate"] == "found"]
    elif mend == "FalsePos":
        entries = [e for e in entries if e[2]]
    elif mend is not None:
        entries = [
            (r["category_id"], r["score"], r["state"] == "right", r["object"])
            for r in judged
            if r["state"] != "neither" and r["kind"] != mend
        ]
        if mend in ("Cls", "Loc"):
            entries += [
                (r["target"]["category_id"], r["score"], True, r["target"]) for r in judged if r["kind"] == mend
            ]
            best: dict[int, tuple[Any, ...]] = {}
            for entry in entries:
                if entry[2] and (entry[3]["id"] not in best or entry[1] > best[entry[3]["id"]][1]):
                    best[entry[3]["id"]] = entry
            entries = [e for e in entries if not e[2]] + list(best.values())
    values = [
        average_precision([(e[1], e[2]) for e in entries if e[0] == c], objects.count(c))
        for c in classes
        if c in objects
    ]
    return sum(values) / len(values) if values else None
