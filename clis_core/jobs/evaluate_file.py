"""A results file and an annotation file, anybody's, in; metrics out, without a model."""

from __future__ import annotations

from pathlib import Path

from clis_core.evaluation.evaluate import evaluate
from clis_core.evaluation.groups import groups_of_training_set
from clis_core.evaluation.metrics import Engine, Metrics
from clis_core.evaluation.results_json import read_detections
from clis_core.report import Reporter


def evaluate_file(
    detections: Path,
    gt: Path,
    *,
    engine: Engine | None = None,
    train_gt: Path | None = None,
    reporter: Reporter,
) -> Metrics:
    """Judge a file of detections.

    Args:
        detections: a COCO results json, or the ``.npz`` that clis writes.
        gt: annotation json, LVIS or COCO; it decides the protocol (`clis_core.evaluation.evaluate`).
        engine: None takes the default of the protocol.
        train_gt: annotation json of the training images; its image counts make the groups rare, common and
            frequent, which COCO files lack.
        reporter: gets the notes as warnings, and the metrics as one record "eval".

    Raises:
        ConfigError: the engine does not know the file's protocol.
        DataError: a file is missing, malformed or misleading.
    """
    groups = groups_of_training_set(train_gt) if train_gt else None
    metrics = evaluate(gt, read_detections(detections), engine=engine, groups=groups)
    for note in metrics.notes:
        reporter.warn(note)
    reporter.record("eval", {"protocol": metrics.protocol, "engine": metrics.engine, **metrics.values})
    return metrics
