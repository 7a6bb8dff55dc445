"""A results file and an annotation file, anybody's, in; metrics and records out, without a model."""

from __future__ import annotations

from pathlib import Path

from clis_core.evaluation.analysis import SCORE_CUT
from clis_core.evaluation.evaluate import evaluate_in_full, prepare
from clis_core.evaluation.groups import categories_of_training_set, groups_of
from clis_core.evaluation.metrics import Engine, Metrics
from clis_core.evaluation.results_json import read_detections
from clis_core.jobs.eval_files import RECORDS, publish, write_records
from clis_core.report import Reporter

STAGING = ".new"


def evaluate_file(
    detections: Path,
    gt: Path,
    *,
    engine: Engine | None = None,
    train_gt: Path | None = None,
    fixed: bool = False,
    score_cut: float = SCORE_CUT,
    out: Path | None = None,
    reporter: Reporter,
) -> Metrics:
    """Judge a file of detections.

    Args:
        detections: a COCO results json, or the ``.npz`` that clis writes.
        gt: annotation json, LVIS or COCO; it decides the protocol (`clis_core.evaluation.evaluate`).
        engine: None takes the default of the protocol.
        train_gt: annotation json of the training images; its image counts make the groups rare, common and
            frequent, which COCO files lack, and stand in the class table.
        fixed: compute AP_fixed and AP_pool as well, from the best 10,000 detections of each class in the file.
        score_cut: detections below it are neither mistakes nor in the calibration.
        out: folder for metrics.json, per_class.json, mistakes.json and calibration.json; None writes nothing.
        reporter: gets the notes as warnings, and the metrics as one record "eval".

    Raises:
        ConfigError: the engine does not know the file's protocol.
        DataError: a file is missing, malformed or misleading.
    """
    groups, images = None, None
    if train_gt:
        categories = categories_of_training_set(train_gt)
        groups, images = groups_of(categories), {c.id: c.images or 0 for c in categories}
    found = read_detections(detections)
    metrics = evaluate_in_full(
        prepare(gt, engine, groups, masks=found.masks is not None),
        found,
        images=images,
        every=found if fixed else None,
        score_cut=score_cut,
    )
    if out is not None:
        write_records(out / STAGING, metrics, {"source": str(detections), "detections": len(found)})
        publish(out / STAGING, out, RECORDS)
    for note in metrics.notes:
        reporter.warn(note)
    reporter.record("eval", {"protocol": metrics.protocol, "engine": metrics.engine, **metrics.values})
    return metrics
