"""A run and a split in, its detections as a COCO results json out: what any evaluation server takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from clis_core.config.run import RunConfig
from clis_core.data.layout import open_split
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.checkpoint import detector_from_checkpoint
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.results_json import to_coco_json
from clis_core.jobs.detect import DETECTIONS, detect
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.evaluate import find_checkpoint, with_inference_settings
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest
from clis_core.training.ranks import ALONE


def export_results(
    run: Path,
    config: RunConfig,
    out: Path,
    *,
    checkpoint: str = "last",
    split: Literal["train", "val"] = "val",
    reporter: Reporter,
) -> int:
    """Detect on a split and write what was found; no ground truth but the list of images is looked at.

    A call that is stopped leaves a hidden folder beside ``out``, from which the same call goes on.

    Args:
        run: the run folder.
        config: the run's config, with what the user has changed for inference.
        out: the file.
        checkpoint: "last", "best", or a file.
        split: which images.
        reporter: gets progress and messages.

    Returns:
        How many detections there are.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read.
        DataError: the data set cannot be used, or has other classes than the detector.
        Interrupted: SIGINT or SIGTERM came.
    """
    path = find_checkpoint(run, checkpoint)
    shipped = detector_from_checkpoint(path, open_device(config.device))
    shipped.detector.config = with_inference_settings(shipped.detector.config, config.detector)
    data = open_split(config.data, split, run.parent / ".cache")
    shipped.categories.check_same(data.table.categories, str(path), str(data.table.path))
    staging = out.with_name(f".{out.name}.parts")
    with StopRequest() as stop, naming_dead_workers(), naming_full_memory("--set eval.batch=1, or --device cpu"):
        detect(
            shipped.detector,
            shipped.categories,
            data,
            staging,
            batch=config.eval.batch,
            workers=config.data.workers,
            exif=config.data.exif,
            every=False,
            step=shipped.step,
            all_ranks=ALONE,
            reporter=reporter,
            stopping=lambda: stop.name,
        )
    found = Detections.load(staging / DETECTIONS)
    to_coco_json(found, out)
    shutil.rmtree(staging, ignore_errors=True)
    return len(found)
