"""VOC's average precision: by hand, and against plain loops over detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clis_core.errors import ConfigError
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate, evaluate_in_full, prepare
from clis_core.evaluation.voc import area_under, eleven_points
from tests.voc import write_list, write_xml

NAMES = ("a", "b", "c")


def write_truth(folder: Path, images: list[list[tuple[str, tuple[float, float, float, float], bool]]]) -> Path:
    """Of images of 100 x 100 pixels; boxes are left, top, right, bottom in continuous pixels."""
    stems = []
    for number, objects in enumerate(images):
        stems.append(f"{number:03d}")
        counted = [(name, (x0 + 1, y0 + 1, x1, y1), difficult) for name, (x0, y0, x1, y1), difficult in objects]
        write_xml(folder / "year", stems[-1], (100, 100), counted)
    return write_list(folder / "year", "test", stems)


def detections(rows: list[tuple[int, int, tuple[float, float, float, float], float]]) -> Detections:
    boxes = np.array([row[2] for row in rows], np.float32).reshape(-1, 4)
    return Detections(
        image_ids=np.array([row[0] for row in rows], np.int64),
        category_ids=np.array([row[1] for row in rows], np.int64),
        boxes=boxes,
        scores=np.array([row[3] for row in rows], np.float32),
    )


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def plain(truth, rows, number: int, threshold: float) -> tuple[float, float] | None:
    """Area and eleven-point mean of a class, one detection after the other."""
    objects = {
        (image, place): (box, difficult)
        for image, of_image in enumerate(truth, start=1)
        for place, (name, box, difficult) in enumerate(of_image)
        if name == NAMES[number - 1]
    }
    count = sum(not difficult for _, difficult in objects.values())
    if not count:
        return None
    found, rights, wrongs, curve = set(), 0, 0, []
    for image, _, box, _ in sorted((r for r in rows if r[1] == number), key=lambda r: -r[3]):
        near = {key: iou(box, other) for key, (other, _) in objects.items() if key[0] == image}
        best = max(near, key=lambda key: near[key], default=None)
        if best is not None and near[best] >= threshold:
            if objects[best][1]:
                continue
            rights, wrongs = (rights, wrongs + 1) if best in found else (rights + 1, wrongs)
            found.add(best)
        else:
            wrongs += 1
        curve.append((rights / count, rights / (rights + wrongs)))
    area, last = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - last) * max(p for _, p in curve[place:])
        last = recall
    eleven = sum(max((p for r, p in curve if r >= i / 10), default=0.0) for i in range(11)) / 11
    return area, eleven


@pytest.mark.parametrize("seed", range(5))
def test_against_loops(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)

    def box() -> tuple[float, float, float, float]:
        x, y = rng.integers(0, 60, 2).tolist()
        w, h = rng.integers(10, 40, 2).tolist()
        return (x, y, x + w, y + h)

    truth = [
        [(NAMES[int(rng.integers(2))], box(), bool(rng.random() < 0.25)) for _ in range(int(rng.integers(0, 5)))]
        for _ in range(8)
    ]
    truth[0] += [("c", box(), True), ("a", box(), False)]  # of c there are difficult objects alone
    rows = []
    for image, objects in enumerate(truth, start=1):
        for name, (x0, y0, x1, y1), _ in objects:
            for _ in range(int(rng.integers(0, 3))):
                dx, dy = rng.integers(-4, 5, 2).tolist()
                rows.append((image, NAMES.index(name) + 1, (x0 + dx, y0 + dy, x1 + dx, y1), float(rng.random())))
        rows += [(image, int(rng.integers(1, 4)), box(), float(rng.random())) for _ in range(2)]
    got = evaluate(write_truth(tmp_path, truth), detections(rows))
    assert (got.protocol, got.engine) == ("voc", "voc")
    thresholds = np.linspace(0.5, 0.95, 10)
    table = [[plain(truth, rows, number, t) for t in thresholds] for number in (1, 2, 3)]
    assert table[2][0] is None
    assert got.per_class[3] is None
    there = [row for row in table if row[0] is not None]
    assert len(there) == 2
    assert got.values["AP50"] == pytest.approx(100 * np.mean([row[0][0] for row in there]))
    assert got.values["AP50_11"] == pytest.approx(100 * np.mean([row[0][1] for row in there]))
    assert got.values["AP75"] == pytest.approx(100 * np.mean([row[5][0] for row in there]))
    assert got.values["AP"] == pytest.approx(100 * np.mean([[cell[0] for cell in row] for row in there]))
    assert got.per_class[1] == pytest.approx(100 * np.mean([cell[0] for cell in table[0]]))


def test_by_hand(tmp_path: Path) -> None:
    one, two = (0, 0, 10, 10), (50, 50, 70, 70)
    truth = [[("a", one, False), ("a", two, False), ("a", (80, 80, 90, 90), True)]]
    path = write_truth(tmp_path, truth)
    rows = [
        (1, 1, one, 0.9),
        (1, 1, (80, 80, 90, 90), 0.8),  # difficult: does not count
        (1, 1, one, 0.7),  # found before: wrong
        (1, 1, two, 0.6),
    ]
    # Precision 1 up to a recall of 1/2, then 2/3.
    values = evaluate(path, detections(rows), groups={1: "r"}).values
    assert values["AP50"] == values["APr"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))
    assert values["AP50_11"] == pytest.approx(100 * (6 + 5 * 2 / 3) / 11)
    assert values["APf"] is None
    assert evaluate(path, detections([])).values["AP50"] == 0


def test_one_detection_belongs_to_what_it_overlaps_most(tmp_path: Path) -> None:
    # By COCO's rule the second would take the object that is still free.
    first, second = (0, 0, 20, 20), (0, 6, 20, 26)
    path = write_truth(tmp_path, [[("a", first, False), ("a", second, False)]])
    rows = [(1, 1, first, 0.9), (1, 1, (0, 1, 20, 21), 0.8)]
    assert evaluate(path, detections(rows)).values["AP50"] == pytest.approx(50)


def test_an_overlap_of_just_a_half_is_enough(tmp_path: Path) -> None:
    path = write_truth(tmp_path, [[("a", (0, 0, 20, 10), False)]])
    assert evaluate(path, detections([(1, 1, (0, 0, 10, 10), 0.9)])).values["AP50"] == pytest.approx(100)


def test_curves() -> None:
    recall, precision = np.array([0.25, 0.25, 0.5]), np.array([1.0, 0.5, 2 / 3])
    assert area_under(recall, precision) == pytest.approx(0.25 + 0.25 * 2 / 3)
    assert eleven_points(recall, precision) == pytest.approx((3 + 3 * 2 / 3) / 11)
    nothing = np.zeros(0)
    assert (area_under(nothing, nothing), eleven_points(nothing, nothing)) == (0, 0)


def test_the_rest_of_an_evaluation(tmp_path: Path) -> None:
    truth = [[("a", (0, 0, 10, 10), False), ("b", (50, 50, 70, 70), True)], [("b", (5, 5, 30, 30), False)]]
    path = write_truth(tmp_path, truth)
    rows = [(1, 1, (0, 0, 10, 10), 0.9), (1, 2, (50, 50, 70, 70), 0.8), (2, 2, (60, 60, 90, 90), 0.7)]
    found = detections(rows)
    metrics = evaluate_in_full(prepare(path), found, every=found)
    assert metrics.values["AP_fixed"] == metrics.values["AP"] == pytest.approx(50)
    classes = metrics.records["per_class"]["classes"]
    assert [c["objects"] for c in classes] == [1, 1]  # without the difficult one
    assert [c["AP50"] for c in classes] == pytest.approx([100, 0])
    with pytest.raises(ConfigError, match="of the VOC protocol"):
        prepare(path, "pycocotools")
