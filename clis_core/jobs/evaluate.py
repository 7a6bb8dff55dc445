"""`clis eval`: a run and a split in, metrics, records and the detections on disk out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from clis_core.categories import Categories, Group
from clis_core.config.detector import DetectorConfig, FasterRCNNConfig, finds_masks
from clis_core.config.run import EvalConfig, RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.data.layout import Split, open_split
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.checkpoint import detector_from_checkpoint
from clis_core.detectors.load import Model
from clis_core.errors import CheckpointError
from clis_core.evaluation.analysis import SCORE_CUT
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import Prepared, evaluate_in_full, prepare
from clis_core.evaluation.groups import groups_of
from clis_core.evaluation.metrics import Metrics
from clis_core.evaluation.results_json import to_coco_json
from clis_core.files import locked
from clis_core.jobs.detect import DETECTIONS, FIXED, detect
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.eval_files import RECORDS, publish, write_records
from clis_core.report import Reporter, SilentReporter
from clis_core.training.checkpoint import BEST
from clis_core.training.interrupt import StopRequest
from clis_core.training.joining import ranks
from clis_core.training.ranks import ALONE, Ranks

SplitName = Literal["train", "val"]
JSON = "detections.json"
LOCK = ".lock"


def evaluate_run(
    run: Path,
    config: RunConfig,
    *,
    split: SplitName = "val",
    checkpoint: str = "last",
    save_json: bool = False,
    fixed: bool = False,
    score_cut: float = SCORE_CUT,
    reporter: Reporter,
) -> Metrics | None:
    """Measure a trained detector; under torchrun the processes share the images.

    Writes into ``eval-SPLIT`` of the run folder: metrics.json, per_class.json, mistakes.json, calibration.json,
    detections.npz, and detections-fixed.npz and detections.json where asked for. A call that was stopped or killed
    left nothing of them; the same call goes on where it was.

    Args:
        run: the run folder.
        config: the run's config, with what the user has changed for this evaluation.
        split: which images.
        checkpoint: "last", "best", or a file.
        save_json: write the detections as COCO results json as well.
        fixed: detect without a cap on an image as well, for AP_fixed and AP_pool.
        score_cut: detections below it are neither mistakes nor in the calibration.
        reporter: gets progress and notes.

    Returns:
        The metrics; None in all processes of torchrun but the first.

    Raises:
        CheckpointError: there is no such checkpoint, it cannot be read, or another process is evaluating there.
        ConfigError: the engine does not know the ground truth's protocol.
        DataError: the data set cannot be used, or has other classes than the detector.
        Interrupted: SIGINT or SIGTERM came.
    """
    hint = "--set eval.batch=1, or --device cpu"
    with (
        ranks() as all_ranks,
        StopRequest() as stop,
        naming_dead_workers(),
        naming_full_memory(hint),
        ExitStack() as held,
    ):
        reporter = reporter if all_ranks.first else SilentReporter()
        device = open_device(all_ranks.device(config.device))
        path = find_checkpoint(run, checkpoint)
        shipped = detector_from_checkpoint(path, device)
        detector = shipped.detector
        detector.config = with_inference_settings(detector.config, config.detector)
        data = all_ranks.first_before_others(lambda: open_split(config.data, split, run.parent / ".cache"))
        shipped.categories.check_same(data.table.categories, str(path), str(data.table.path))
        reporter.info(f"{path}: step {shipped.step}; {len(data.table)} images of {data.table.path}, on {device}.")
        out = run / f"eval-{split}"
        all_ranks.on_first(lambda: hold(out, held))
        metrics = measure(
            detector,
            shipped.categories,
            data,
            config.eval,
            config.data.workers,
            config.data.exif,
            out,
            step=shipped.step,
            save_json=save_json,
            fixed=fixed,
            score_cut=score_cut,
            staging=".parts",
            all_ranks=all_ranks,
            reporter=reporter,
            stopping=lambda: stop.name,
        )
    for note in metrics.notes if metrics else ():
        reporter.warn(note)
    return metrics


def hold(out: Path, held: ExitStack) -> None:
    """Make a folder for results, and hold it until ``held`` ends."""
    out.mkdir(exist_ok=True)
    if not held.enter_context(locked(out / LOCK)):
        raise CheckpointError(
            f"{out}: another process is evaluating into this folder.", hint="Wait until it has ended."
        )


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
    detector: Model,
    categories: Categories,
    data: Split,
    config: EvalConfig,
    workers: int,
    exif: bool,
    out: Path,
    *,
    step: int,
    save_json: bool,
    fixed: bool = False,
    score_cut: float = SCORE_CUT,
    staging: str = ".parts-training",
    all_ranks: Ranks = ALONE,
    reporter: Reporter,
    stopping: Callable[[], str | None],
) -> Metrics | None:
    """Detect on a split, judge, and write detections, metrics and records into ``out``.

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
        fixed: detect without a cap on an image as well, for AP_fixed and AP_pool.
        score_cut: detections below it are neither mistakes nor in the calibration.
        staging: name of a folder in ``out`` for what is not finished; a call that is stopped leaves it.
        all_ranks: the processes that share the images.
        reporter: gets progress.
        stopping: asked between batches whether to stop; gives the name of a signal.

    Returns:
        The metrics; None in all processes but the first.

    Raises:
        Interrupted: asked to stop, in all processes.
    """
    truth: list[Prepared] = []  # of the first process, which judges; what is wrong with it is told before the work
    all_ranks.on_first(
        lambda: truth.append(
            prepare(
                data.table.path,
                config.engine,
                evaluation_groups(categories, data),
                masks=finds_masks(detector.config),
            )
        )
    )
    detect(
        detector,
        categories,
        data,
        out / staging,
        batch=config.batch,
        workers=workers,
        exif=exif,
        every=fixed,
        step=step,
        all_ranks=all_ranks,
        reporter=reporter,
        stopping=stopping,
    )
    metrics: list[Metrics] = []

    def judge() -> None:
        judged, found = _judge(truth[0], categories, out / staging, fixed, score_cut)
        if save_json:
            to_coco_json(found, out / staging / JSON)
        about = {"step": step, "images": len(data.table), "detections": len(found)}
        write_records(out / staging, judged, about)
        publish(out / staging, out, [*RECORDS, DETECTIONS, FIXED, JSON])
        metrics.append(judged)

    all_ranks.on_first(judge)
    return metrics[0] if metrics else None


def _judge(
    prepared: Prepared, categories: Categories, folder: Path, fixed: bool, score_cut: float
) -> tuple[Metrics, Detections]:
    found = replace(Detections.load(folder / DETECTIONS), source="the detector")
    images = {c.id: c.images for c in categories if c.images is not None}
    every = Detections.load(folder / FIXED) if fixed else None
    return evaluate_in_full(prepared, found, images=images or None, every=every, score_cut=score_cut), found


def evaluation_groups(categories: Categories, data: Split) -> Mapping[int, Group] | None:
    """Groups r, c, f by category id where the ground truth itself does not give all of them, else None.

    Args:
        categories: with the training image counts.
        data: the images to judge on.
    """
    given = data.table.is_lvis and all(c.group for c in data.table.categories)
    return None if given else groups_of(categories)


def with_inference_settings(own: DetectorConfig, wanted: DetectorConfig) -> DetectorConfig:
    """The checkpoint's detector with the settings that may be changed after training."""
    changed: dict[str, Any] = {k: getattr(wanted, k) for k in ("postprocess", "short_side", "long_side")}
    if isinstance(own, FasterRCNNConfig) and isinstance(wanted, FasterRCNNConfig):
        kept = {k: getattr(wanted.rpn, k) for k in ("before_nms", "proposals", "nms_iou")}
        changed["rpn"] = own.rpn.model_copy(update=kept)
    return own.model_copy(update=changed)
