"""LVIS metrics against plain loops written from the definition of the federated evaluation.

10 IoU thresholds, 101 recalls, 300 detections an image. A detection of a class that is neither present in
the image nor known to be absent is dropped; of a class not exhaustively boxed an unmatched one is ignored.
"""

from pathlib import Path
from typing import Any

import pytest

from clis_core.evaluation.evaluate import evaluate
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation.odd_world import as_records, odd_detections, write

Record = dict[str, Any]
ANY_SIZE = (0.0, 1e10)
SIZES = {"s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}


def overlap(a: list[float], b: list[float]) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def counted(truth: Record, records: list[Record]) -> list[Record]:
    """The detections that the protocol looks at."""
    kept = []
    for image in truth["images"]:
        here = [r for r in records if r["image_id"] == image["id"]]
        best = sorted(here, key=lambda r: -r["score"])[:300]
        present = {b["category_id"] for b in truth["annotations"] if b["image_id"] == image["id"]}
        for record in best:
            area = record["bbox"][2] * record["bbox"][3]
            judged = record["category_id"] in present or record["category_id"] in image["neg_category_ids"]
            if area > 0 and judged:
                kept.append(record)
    return kept


def matches(image: Record, boxes: list[Record], found: list[Record], threshold: float, size: Any) -> list[Any]:
    """(score, whether right, or None where it is ignored) of each detection of one class in one image."""
    low, high = size
    outside = [not low <= b["area"] <= high for b in boxes]
    taken: set[int] = set()
    outcome = []
    for record in sorted(found, key=lambda r: -r["score"]):
        right: bool | None = False
        for wanted in (False, True):  # objects of this size first; only then those that are ignored
            best, best_iou = None, min(threshold, 1 - 1e-10)
            for number, box in enumerate(boxes):
                iou = overlap(record["bbox"], box["bbox"])
                if outside[number] is wanted and number not in taken and iou >= best_iou:
                    best, best_iou = number, iou
            if best is not None:
                taken.add(best)
                right = None if wanted else True
                break
        area = record["bbox"][2] * record["bbox"][3]
        inexhaustive = record["category_id"] in image["not_exhaustive_category_ids"]
        if right is False and (inexhaustive or not low <= area <= high):
            right = None
        outcome.append((record["score"], right))
    return outcome


def of_class(truth: Record, records: list[Record], category: int, threshold: float, size: Any) -> Any:
    """(average precision, recall) of one class at one threshold; None without objects."""
    outcome, objects = [], 0
    for image in truth["images"]:
        boxes = [b for b in truth["annotations"] if b["image_id"] == image["id"] and b["category_id"] == category]
        objects += sum(size[0] <= b["area"] <= size[1] for b in boxes)
        found = [r for r in records if r["image_id"] == image["id"] and r["category_id"] == category]
        outcome += matches(image, boxes, found, threshold, size)
    if objects == 0:
        return None
    right = wrong = 0
    points = []
    for _, ok in sorted(outcome, key=lambda o: -o[0]):
        right, wrong = right + (ok is True), wrong + (ok is False)
        if right + wrong:
            points.append((right / objects, right / (right + wrong)))
    precision = [max([p for r, p in points if r >= k / 100 - 1e-15], default=0.0) for k in range(101)]
    return sum(precision) / 101, right / objects


def mean(values: list[float]) -> Any:
    return sum(values) / len(values) * 100 if values else None


def oracle(truth: Record, records: list[Record]) -> dict[str, float | None]:
    records = counted(truth, records)
    thresholds = [0.5 + 0.05 * t for t in range(10)]
    group = {c["id"]: c["frequency"] for c in truth["categories"]}

    def table(size: Any) -> dict[tuple[int, int], Any]:
        cells = {
            (c, t): of_class(truth, records, c, threshold, size)
            for c in group
            for t, threshold in enumerate(thresholds)
        }
        return {key: cell for key, cell in cells.items() if cell is not None}

    every = table(ANY_SIZE)
    values = {
        "AP": mean([ap for ap, _ in every.values()]),
        "AP50": mean([ap for (_, t), (ap, _) in every.items() if t == 0]),
        "AP75": mean([ap for (_, t), (ap, _) in every.items() if t == 5]),
        "AR@300": mean([recall for _, recall in every.values()]),
    }
    for name in "rcf":
        values[f"AP{name}"] = mean([ap for (c, _), (ap, _) in every.items() if group[c] == name])
    for name, size in SIZES.items():
        cells = table(size).values()
        values[f"AP{name}"] = mean([ap for ap, _ in cells])
        values[f"AR{name}@300"] = mean([recall for _, recall in cells])
    return values


@pytest.mark.parametrize("engine", ["hotcoco", "lvis"])
@pytest.mark.parametrize(("seed", "per_image"), [(0, 20), (1, 20), (2, 60), (3, 320)])
def test_loops(tmp_path: Path, engine: Any, seed: int, per_image: int) -> None:
    truth = synthetic_truth(3, 5, seed)
    detections = odd_detections(truth, per_image, seed)
    detections.boxes[:, 2:] = detections.boxes[:, :2] + abs(detections.boxes[:, 2:] - detections.boxes[:, :2])
    metrics = evaluate(write(tmp_path, truth), detections, engine=engine)
    expected = oracle(truth, as_records(detections))
    assert expected.keys() == metrics.values.keys()
    for name, value in expected.items():
        assert metrics.values[name] == (None if value is None else pytest.approx(value, abs=1e-9)), name
