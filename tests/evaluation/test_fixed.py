"""AP_fixed against the package lvis without its cap; AP_pool against loops over the matches of lvis."""

import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.evaluation import evaluate as module
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate
from clis_core.evaluation.fixed import short_classes, top_per_class
from clis_core.evaluation.groundtruth import read_ground_truth
from clis_core.evaluation.lvis import numpy_with_float
from clis_core.evaluation.metrics import Engine
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation import plain
from tests.evaluation.odd_world import as_records, coco_truth, in_full, odd_detections, write

FIXED = ["AP_fixed", "APr_fixed", "APc_fixed", "APf_fixed"]
POOL = ["AP_pool", "APr_pool", "APc_pool", "APf_pool"]


def best_of_classes(found: Detections, most: int) -> plain.Records:
    kept: plain.Records = []
    records = as_records(found)
    for category in sorted({r["category_id"] for r in records}):
        here = [r for r in records if r["category_id"] == category]
        kept += sorted(here, key=lambda r: -r["score"])[:most]
    return kept


def uncapped_lvis(gt: Path, records: plain.Records) -> Any:
    import lvis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        truth = lvis.LVIS(str(gt))
        engine = lvis.LVISEval(truth, lvis.LVISResults(truth, records, max_dets=-1), "bbox")
    with numpy_with_float():
        engine.run()
    return engine


@pytest.mark.parametrize("engine", ["hotcoco", "lvis"])
@pytest.mark.parametrize("most", [10, 60, 10_000])
def test_lvis_without_its_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, most: int) -> None:
    monkeypatch.setattr(module, "PER_CLASS", most)
    truth = synthetic_truth(8, 15, 3)
    found = plain.confused(truth, odd_detections(truth, 420, 3), 3)
    gt = write(tmp_path, truth)
    official = uncapped_lvis(gt, best_of_classes(found, most))
    metrics = in_full(gt, found, engine=engine, every=found)
    for name in FIXED:
        assert metrics.values[name] == pytest.approx(100 * official.results[name.removesuffix("_fixed")], abs=1e-10)
    for name, groups in zip(POOL, ["rcf", "r", "c", "f"], strict=True):
        assert metrics.values[name] == pytest.approx(pooled(truth, official, groups), abs=1e-9)
    capped = evaluate(gt, found, engine=engine)
    assert {name: metrics.values[name] for name in capped.values} == capped.values
    assert abs(metrics.values["AP_fixed"] - capped.values["AP"]) > 1e-3  # type: ignore[operator]


def pooled(truth: dict[str, Any], engine: Any, groups: str) -> float:
    """One ranking of what lvis has matched, at each threshold."""
    chosen = {c["id"] for c in truth["categories"] if c["frequency"] in groups}
    everywhere = engine.params.area_rng[0]
    images = [e for e in engine.eval_imgs if e and e["area_rng"] == everywhere and e["category_id"] in chosen]
    images.sort(key=lambda e: (e["image_id"], e["category_id"]))
    objects = sum(len(e["gt_ids"]) for e in images)
    values = []
    for t in range(10):
        marks = [
            (score, bool(e["dt_matches"][t, d]))
            for e in images
            for d, score in enumerate(e["dt_scores"])
            if not e["dt_ignore"][t, d]
        ]
        values.append(plain.average_precision(marks, objects))
    return sum(values) / len(values)


def test_coco_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a COCO file likewise: the best of each class, and as many of them in an image as there are."""
    monkeypatch.setattr(module, "PER_CLASS", 150)
    truth = coco_truth(1, 3, 4)  # hundreds of a class in one image
    found = odd_detections(truth, 900, 4)
    gt = write(tmp_path, truth)
    groups = {c["id"]: "r" for c in truth["categories"]}
    metrics = in_full(gt, found, every=found, groups=groups)  # type: ignore[arg-type]
    engine = in_full(gt, found, every=found, groups=groups, engine="hotcoco")  # type: ignore[arg-type]
    values = []
    for threshold in np.linspace(0.5, 0.95, 10):
        judged = plain.matched(truth, best_of_classes(found, 150), threshold, coco_cap=None)
        values.append(plain.mean_ap(truth, judged, list(groups)))
    assert metrics.values["AP_fixed"] == pytest.approx(np.mean(values), abs=1e-9)  # type: ignore[arg-type]
    assert engine.values == pytest.approx(metrics.values)
    assert metrics.values["APr_pool"] == metrics.values["AP_pool"] is not None
    assert metrics.values["APc_fixed"] is metrics.values["APf_pool"] is None
    assert abs(metrics.values["AP_fixed"] - metrics.values["AP"]) > 1e-3  # type: ignore[operator]


def test_best_of_each_class_with_ties(tmp_path: Path) -> None:
    truth = synthetic_truth(6, 9, 5)
    found = odd_detections(truth, 80, 5)
    kept = found.only(top_per_class(found, 7))
    assert Counter(kept.category_ids.tolist()) == {
        c: min(7, n) for c, n in Counter(found.category_ids.tolist()).items()
    }
    expected = best_of_classes(found, 7)
    by_class = sorted(as_records(kept), key=lambda r: (r["category_id"], -r["score"]))
    assert by_class == expected


def test_classes_with_too_few_detections_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = synthetic_truth(6, 9, 5)
    found = odd_detections(truth, 80, 5)
    gt = write(tmp_path, truth)
    counts = Counter(found.category_ids.tolist())
    short = sum(counts[c["id"]] < 50 for c in truth["categories"])
    assert 0 < short < 9
    assert short_classes(read_ground_truth(gt), found, 50) == (short, min(counts[c["id"]] for c in truth["categories"]))
    monkeypatch.setattr(module, "PER_CLASS", 50)
    notes = in_full(gt, found, every=found).notes
    assert any(note.startswith(f"{short} of 9 classes have fewer than 50 detections") for note in notes)
    monkeypatch.setattr(module, "PER_CLASS", 1)
    assert not any("fewer than" in note for note in in_full(gt, found, every=found).notes)
