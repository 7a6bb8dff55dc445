"""Metrics in, the files of an evaluation out; a metrics.json is there only where all files beside it belong to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from clis_core.evaluation.metrics import Metrics
from clis_core.files import sync_folder, write_text

METRICS = "metrics.json"
RECORDS = ("per_class.json", "mistakes.json", "calibration.json")


def write_records(folder: Path, metrics: Metrics, about: Mapping[str, Any]) -> None:
    """Write metrics.json and the records of an evaluation in full.

    Args:
        folder: where to.
        metrics: of `clis_core.evaluation.evaluate.evaluate_in_full`.
        about: json-able, put first into each file.
    """
    record = {
        **about,
        "protocol": metrics.protocol,
        "engine": metrics.engine,
        "metrics": metrics.values,
        "per_class": {str(k): v for k, v in metrics.per_class.items()},
        "notes": metrics.notes,
    }
    for name, content in {"metrics": record, **metrics.records}.items():
        full = content if name == "metrics" else {**about, **content}
        write_text(folder / f"{name}.json", json.dumps(full, indent=1, allow_nan=False) + "\n")


def publish(staging: Path, out: Path, names: Iterable[str]) -> None:
    """Move the files of an evaluation to where they belong, and throw the staging folder away.

    Args:
        staging: holds `METRICS` and whatever of ``names`` was made; a folder on the same disk.
        out: the folder of an earlier evaluation, or none yet. Those of ``names`` that were not made now go.
        names: of files that an evaluation may make, beside `METRICS`.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / METRICS).unlink(missing_ok=True)
    for name in names:
        if (staging / name).is_file():
            (staging / name).replace(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    sync_folder(out)
    (staging / METRICS).replace(out / METRICS)
    sync_folder(out)
    shutil.rmtree(staging, ignore_errors=True)
