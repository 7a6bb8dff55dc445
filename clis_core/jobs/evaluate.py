"""`clis eval`: a run and a split in, metrics and the detections on disk out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from clis_core.batch import fit_size
from clis_core.categories import Categories, Group
from clis_core.config.detector import DetectorConfig
from clis_core.config.run import EvalConfig, RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.data.layout import Split, open_split
from clis_core.data.loader import EvalLoader
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.build import Detector
from clis_core.detectors.checkpoint import load_detector
from clis_core.errors import CheckpointError, Interrupted
from clis_core.evaluation.evaluate import evaluate
from clis_core.evaluation.groups import groups_of
from clis_core.evaluation.metrics import Metrics
from clis_core.evaluation.predict import predict
from clis_core.evaluation.results_json import to_coco_json
from clis_core.files import write_text
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.report import Reporter
from clis_core.training.checkpoint import BEST
from clis_core.training.interrupt import StopRequest

SplitName = Literal["train", "val"]


def evaluate_run(
    run: Path,
    config: RunConfig,
    *,
    split: SplitName = "val",
    checkpoint: str = "last",
    save_json: bool = False,
    reporter: Reporter,
) -> Metrics:
    """Measure a trained detector.

    Writes ``eval-SPLIT/metrics.json`` and ``eval-SPLIT/detections.npz`` into the run folder.

    Args:
        run: the run folder.
        config: the run's config, with what the user has changed for this evaluation.
        split: which images.
        checkpoint: "last", "best", or a file.
        save_json: write the detections as COCO results json as well.
        reporter: gets progress and notes.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read.
        DataError: the data set cannot be used, or has other classes than the detector.
        Interrupted: SIGINT or SIGTERM came.
    """
    device = open_device(config.device)
    path = find_checkpoint(run, checkpoint)
    shipped = load_detector(path, device)
    detector = shipped.detector
    detector.config = _with_inference_settings(detector.config, config.detector)
    data = open_split(config.data, split, run.parent / ".cache")
    shipped.categories.check_same(data.table.categories, str(path), str(data.table.path))
    reporter.info(f"{path}: step {shipped.step}; {len(data.table)} images of {data.table.path}, on {device}.")
    with StopRequest() as stop, naming_dead_workers(), naming_full_memory("--set eval.batch=1, or --device cpu"):
        metrics = measure(
            detector,
            shipped.categories,
            data,
            config.eval,
            config.data.workers,
            config.data.exif,
            run / f"eval-{split}",
            step=shipped.step,
            save_json=save_json,
            reporter=reporter,
            stopping=lambda: stop.name,
        )
        if metrics is None:
            raise Interrupted(f"Stopped by {stop.name}; nothing was written.", hint="Run the command again.")
    for note in metrics.notes:
        reporter.warn(note)
    return metrics


def find_checkpoint(run: Path, name: str) -> Path:
    """The file that "last", "best" or a path means in a run folder.

    Raises:
        CheckpointError: there is none.
    """
    files = checkpoints_of(run)
    if name == "last":
        if not files:
            raise CheckpointError(f"{run}: no checkpoint yet.", hint=f"clis train --resume -o {run}")
        return files[-1]
    path = run / BEST if name == "best" else Path(name)
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint.", hint=f"There are: {', '.join(str(f) for f in files) or 'none'}"
        )
    return path


def measure(
    detector: Detector,
    categories: Categories,
    data: Split,
    config: EvalConfig,
    workers: int,
    exif: bool,
    out: Path,
    *,
    step: int,
    save_json: bool,
    reporter: Reporter,
    stopping: Callable[[], str | None],
) -> Metrics | None:
    """Detect on a split, judge, and write detections and metrics into ``out``; None if asked to stop.

    Args:
        detector: in inference mode, on its device.
        categories: its classes with training counts, which make the groups of a data set without LVIS fields.
        data: the images and their annotations.
        config: batch and engine.
        workers: decoding processes.
        exif: whether to turn images upright.
        out: folder for the results.
        step: training steps behind the detector, for the record.
        save_json: write the detections as COCO results json as well.
        reporter: gets progress.
        stopping: asked between batches whether to stop.
    """
    at_least = largest_side_needed(detector, data)
    images = EvalLoader(data, config.batch, workers, exif, at_least)
    found = predict(detector, categories, data.table, images, reporter=reporter, stopping=stopping)
    if found is None:
        return None
    out.mkdir(parents=True, exist_ok=True)
    found.save(out / "detections.npz", meta={"step": step, "ground_truth": str(data.table.path)})
    if save_json:
        to_coco_json(found, out / "detections.json")
    metrics = evaluate(data.table.path, found, engine=config.engine, groups=evaluation_groups(categories, data))
    record = {
        "step": step,
        "protocol": metrics.protocol,
        "engine": metrics.engine,
        "images": len(data.table),
        "detections": len(found),
        "metrics": metrics.values,
        "per_class": {str(k): v for k, v in metrics.per_class.items()},
        "notes": metrics.notes,
    }
    write_text(out / "metrics.json", json.dumps(record, indent=1) + "\n")
    return metrics


def evaluation_groups(categories: Categories, data: Split) -> Mapping[int, Group] | None:
    """Groups r, c, f by category id where the ground truth itself does not give all of them, else None.

    Args:
        categories: with the training image counts.
        data: the images to judge on.
    """
    given = data.table.is_lvis and all(c.group for c in data.table.categories)
    return None if given else groups_of(categories)


def largest_side_needed(detector: Detector, data: Split) -> int:
    """Short side (pixels) that an image must at least be decoded at, so that the detector only ever shrinks it."""
    config = detector.config
    sizes = (fit_size(int(h), int(w), config.short_side, config.long_side) for h, w in data.table.sizes)
    return max(min(size) for size in sizes)


def _with_inference_settings(own: DetectorConfig, wanted: DetectorConfig) -> DetectorConfig:
    """The checkpoint's detector with the settings that may be changed after training."""
    return own.model_copy(
        update={
            "postprocess": wanted.postprocess,
            "short_side": wanted.short_side,
            "long_side": wanted.long_side,
            "rpn": own.rpn.model_copy(
                update={k: getattr(wanted.rpn, k) for k in ("before_nms", "proposals", "nms_iou")}
            ),
        }
    )
