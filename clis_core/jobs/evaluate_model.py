"""An exported file and a split in; metrics, records and the detections on disk out, as of a run."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from clis_core.config.model_file import output_folder
from clis_core.config.run import RunConfig
from clis_core.data.layout import open_split
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.export.model import ExportedDetector
from clis_core.detectors.load import load_model
from clis_core.errors import ConfigError
from clis_core.evaluation.analysis import SCORE_CUT
from clis_core.evaluation.metrics import Metrics
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.evaluate import hold, measure
from clis_core.report import Reporter, SilentReporter
from clis_core.training.interrupt import StopRequest
from clis_core.training.joining import ranks


def evaluate_model(
    path: Path,
    config: RunConfig,
    *,
    split: Literal["train", "val"] = "val",
    save_json: bool = False,
    fixed: bool = False,
    score_cut: float = SCORE_CUT,
    reporter: Reporter,
) -> Metrics | None:
    """Measure an exported file, with the same images, boxes and figures as `evaluate_run`.

    Writes the same files as that does, into `output_folder`.

    Args:
        path: of `clis export`, see `clis_core.detectors.load.load_model`.
        config: data, device and engine.
        split: which images.
        save_json: write the detections as COCO results json as well.
        fixed: detect without a cap on an image as well, for AP_fixed and AP_pool; for weights alone.
        score_cut: detections below it are neither mistakes nor in the calibration.
        reporter: gets progress and notes.

    Returns:
        The metrics; None in all processes of torchrun but the first.

    Raises:
        CheckpointError: the file cannot be used, or another process is evaluating it.
        ConfigError: a library is missing, or a graph was asked for what it cannot give.
        DataError: the data set cannot be used, or has other classes than the detector.
        Interrupted: SIGINT or SIGTERM came.
    """
    with (
        ranks() as all_ranks,
        StopRequest() as stop,
        naming_dead_workers(),
        naming_full_memory("--set eval.batch=1, or --device cpu"),
        ExitStack() as held,
    ):
        reporter = reporter if all_ranks.first else SilentReporter()
        on_cpu = path.suffix == ".onnx" and not config.device
        device = open_device("cpu" if on_cpu else all_ranks.device(config.device))
        model, categories, step = load_model(path, device)
        if fixed and isinstance(model, ExportedDetector):
            raise ConfigError(
                f"{path}: --fixed needs all detections of an image, and the graph has a cap.",
                hint="Evaluate the run, or its weights (--format safetensors).",
            )
        data = all_ranks.first_before_others(lambda: open_split(config.data, split, path.parent / ".cache"))
        categories.check_same(data.table.categories, str(path), str(data.table.path))
        reporter.info(f"{path}: step {step}; {len(data.table)} images of {data.table.path}, on {device}.")
        out = output_folder(path, split)
        all_ranks.on_first(lambda: hold(out, held))
        metrics = measure(
            model,
            categories,
            data,
            config.eval,
            config.data.workers,
            config.data.exif,
            out,
            step=step,
            save_json=save_json,
            fixed=fixed,
            score_cut=score_cut,
            staging=".parts",
            all_ranks=all_ranks,
            reporter=reporter,
            stopping=lambda: stop.name,
        )
        if isinstance(model, ExportedDetector):
            uncertain, images = (sum(n) for n in zip(*all_ranks.gathered((model.uncertain, model.images)), strict=True))
            if uncertain:
                reporter.warn(
                    f"In {uncertain} of {images} images the graph's {model.about.candidates} candidates may have "
                    f"been too few. Export it with more: --candidates {4 * model.about.candidates}"
                )
    for note in metrics.notes if metrics else ():
        reporter.warn(note)
    return metrics
