"""`clis train`: a config in, a run folder with checkpoints, log and metrics out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from clis_core.categories import Categories
from clis_core.config.load import save_config
from clis_core.config.method import ClisConfig
from clis_core.config.resume import check_new_run
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of, is_run
from clis_core.data.annotations import AnnotationTable
from clis_core.data.companions import PictureSet
from clis_core.data.layout import Split, check_splits, open_split
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.build import Detector, build_detector
from clis_core.detectors.checkpoint import fingerprint, without_first_weights
from clis_core.errors import JSON_DAMAGE, CheckpointError, ConfigError
from clis_core.evaluation.evaluate import prepare
from clis_core.files import write_text
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.evaluate import evaluation_groups, find_checkpoint, measure
from clis_core.jobs.training_data import (
    PICTURES,
    class_counts,
    open_companions,
    open_training_split,
    pictures_record,
    training_loader,
)
from clis_core.jobs.training_state import training_state
from clis_core.report import JsonLinesReporter, Reporter
from clis_core.training.checkpoint import TrainState, restore
from clis_core.training.lock import run_lock
from clis_core.training.loop import Evaluate, train_loop
from clis_core.training.optim import scaled_rate
from clis_core.training.start import start_from
from clis_core.training.tensorboard import TensorBoardReporter

MEMORY_HINT = "Cut the batch into parts (--set train.accumulate=4), take a smaller --batch, or --set train.amp=bf16"


@dataclass(frozen=True)
class TrainResult:
    """What a training leaves.

    Attributes:
        run: the run folder.
        metrics: percent points by name, of the last evaluation; None where nothing was evaluated.
        step: steps done.
    """

    run: Path
    metrics: Mapping[str, float | None] | None
    step: int


def train(config: RunConfig, out: Path, *, resume: bool = False, reporter: Reporter) -> TrainResult:
    """Train a detector.

    Args:
        config: the whole run.
        out: run folder; gets config.toml, log.jsonl, checkpoints/, best.pt and eval-val/.
        resume: go on from the newest checkpoint in ``out``, if there is one.
        reporter: gets messages, progress and records.

    Raises:
        ConfigError: settings that do not fit together or this machine.
        DataError: the data set cannot be used.
        CheckpointError: ``out`` holds a run already, weights cannot be read, or a checkpoint cannot be written.
        TrainingDiverged: a loss that is not finite.
        Interrupted: SIGINT or SIGTERM; the state was saved.
    """
    if not resume:
        check_new_run(out)
    device = open_device(config.device)
    if config.train.amp == "fp16" and device.type != "cuda":
        raise ConfigError("train.amp = 'fp16' needs a GPU.", hint="--set train.amp=bf16, or off")
    if config.train.reset_classifier and config.train.start is None:
        raise ConfigError(
            "train.reset_classifier = true, but no class layer is taken over from another run.",
            hint="Name a run of the first stage: --set train.start=runs/baseline",
        )
    if config.train.learn != "all" and config.train.start is None:
        raise ConfigError(
            f"train.learn = {config.train.learn!r} leaves the rest of the detector as it is, at random weights.",
            hint="Name a run of the first stage: --set train.start=runs/baseline",
        )
    cache = out.parent / ".cache"
    data = open_training_split(config, cache)
    val = _open_val(config, data, cache)
    categories = data.table.categories
    pictures = open_companions(config, categories)
    many = len(pictures.numbers) if pictures else 0
    state = _build(config, data.table, many, device, resume=resume and bool(checkpoints_of(out)))
    out.mkdir(parents=True, exist_ok=True)
    with run_lock(out):
        if not resume:
            check_new_run(out)  # again: another process may have begun it since
        return _run(config, out, data, val, pictures, state, resume=resume, reporter=reporter)


def _run(
    config: RunConfig,
    out: Path,
    data: Split,
    val: Split | None,
    pictures: PictureSet | None,
    state: TrainState,
    *,
    resume: bool,
    reporter: Reporter,
) -> TrainResult:
    """Everything that writes into the run folder."""
    device = next(state.method.parameters()).device
    categories = data.table.categories
    path = restore(out, state, categories, reporter) if resume else None
    if pictures:
        _check_pictures(out / PICTURES, pictures, begun=path is not None)
    save_config(config, out / "config.toml")
    if config.train.tensorboard:
        reporter = TensorBoardReporter(out / "tensorboard", reporter, first_step=state.step + 1)
    log = JsonLinesReporter(out / "log.jsonl", reporter)
    log.drop_after(state.step, evaluated=not state.pending)
    _say(log, config, data, val, pictures, device, resume=resume)
    if resume:
        log.info(f"Resumed from {path}." if path else f"{out} has no checkpoint yet; starting at step 0.")
    loader = training_loader(config, data, pictures, state.step, config.train.iterations, pin=device.type == "cuda")
    with naming_dead_workers(), naming_full_memory(MEMORY_HINT):
        metrics = train_loop(
            state,
            loader,
            config.train,
            seed=config.seed,
            run=out,
            categories=categories,
            reporter=log,
            evaluate=_evaluator(config, categories, val, out, log) if val else None,
        )
    log.info(f"Weights after step {state.step}: sha256 {fingerprint(state.method.detector.state_dict())}")
    return TrainResult(out, metrics, state.step)


def _open_val(config: RunConfig, data: Split, cache: Path) -> Split | None:
    if not (config.train.eval_at_end or config.train.eval_every):
        return None
    val = open_split(config.data, "val", cache)
    check_splits(data, val)
    # What would stop the evaluation shall stop the training before it begins.
    prepare(val.table.path, config.eval.engine, evaluation_groups(data.table.categories, val))
    return val


def _build(
    config: RunConfig, table: AnnotationTable, pictures: int, device: torch.device, *, resume: bool
) -> TrainState:
    """Model, method and optimiser; first weights are not read where a checkpoint follows."""
    torch.manual_seed(config.seed)
    wanted = without_first_weights(config.detector) if resume or config.train.start else config.detector
    detector = build_detector(wanted, len(table.categories), class_counts(table))
    detector.config = config.detector
    if config.train.start and not resume:
        file = _start_file(config.train.start)
        start_from(detector, table.categories, file, reset_classifier=config.train.reset_classifier)
    return training_state(config, detector, pictures, device)


def _start_file(path: Path) -> Path:
    """The checkpoint that ``train.start`` names."""
    return find_checkpoint(path, "last") if is_run(path) else path


def _evaluator(config: RunConfig, categories: Categories, val: Split, out: Path, log: Reporter) -> Evaluate:
    said: set[str] = set()

    def evaluate(
        detector: Detector, step: int, stopping: Callable[[], str | None]
    ) -> Mapping[str, float | None] | None:
        metrics = measure(
            detector,
            categories,
            val,
            config.eval,
            config.data.workers,
            config.data.exif,
            out / "eval-val",
            step=step,
            save_json=False,
            reporter=log,
            stopping=stopping,
        )
        if metrics is None:
            return None
        for note in metrics.notes:
            if note not in said:
                log.warn(note)
                said.add(note)
        return metrics.values

    return evaluate


def _check_pictures(file: Path, pictures: PictureSet, *, begun: bool) -> None:
    """Note which pictures and regions a run learns from; a resumed one must go on with the same, wherever they lie."""
    of_run = pictures_record(pictures)
    if begun and file.exists() and _read_record(file) != of_run:
        raise CheckpointError(
            f"{file.parent} was trained with other pictures or regions than those of {pictures.shards.folder}.",
            hint="Go on with the shards and regions of the run, or start a new one with another -o FOLDER.",
        )
    write_text(file, json.dumps(of_run, indent=1) + "\n")


def _read_record(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except JSON_DAMAGE:
        raise CheckpointError(
            f"{file} is damaged: it cannot be told whether the pictures are those of the run.",
            hint=f"If they are, remove it and go on: rm {shlex.quote(str(file))}",
        ) from None


def _say(
    log: Reporter,
    config: RunConfig,
    data: Split,
    val: Split | None,
    pictures: PictureSet | None,
    device: torch.device,
    *,
    resume: bool,
) -> None:
    table, train = data.table, config.train
    groups = {g: len(table.categories.labels_in_group(g)) for g in ("r", "c", "f")}
    log.info(
        f"Train on {len(table)} images with {len(table.boxes)} boxes of {len(table.categories)} classes "
        f"({groups['r']} rare, {groups['c']} common, {groups['f']} frequent): {table.path}"
    )
    if any(table.dropped):
        log.warn(
            f"Left out of training: {table.dropped.degenerate} boxes without area inside their image, "
            f"{table.dropped.crowd} crowd boxes."
        )
    if pictures:
        covered = len(set(pictures.labels.tolist()))
        log.info(
            f"Learn from {len(pictures.numbers)} pictures of {covered} classes: {pictures.shards.folder}; "
            f"{config.pictures.s} with each image, {config.pictures.t} of them pasted into it."
        )
        method = config.method
        if isinstance(method, ClisConfig) and config.pictures.t and len(pictures.numbers) < method.queue_size:
            size = 1 << (len(pictures.numbers).bit_length() - 1)
            log.info(f"The queue holds {min(size, method.queue_size)} keys: no more than there are pictures.")
    if val:
        log.info(f"Evaluate on {len(val.table)} images: {val.table.path}")
    backbone = config.detector.backbone
    random = train.start is None and backbone.init == "none"
    if random and backbone.norm != "group" and not backbone.name.startswith("timm/"):
        log.warn(
            "The backbone starts from random weights, with norms that normalise nothing and "
            f"{backbone.frozen_stages} stages that stay random. "
            "Better: --set detector.backbone.norm=group --set detector.backbone.frozen_stages=0"
        )
    if train.start and not resume:
        learn = {"all": "all of it", "classifier": "its class layer alone", "scales": "its classes' factors alone"}[
            train.learn
        ]
        log.info(f"Starts from the detector of {_start_file(train.start)}, and teaches {learn}.")
    log.info(
        f"Learning rate {scaled_rate(train):g} = {train.lr:g} x {train.batch}/{train.lr_batch} "
        f"(linear in the batch of {train.batch}); {train.iterations} steps on {device}."
    )
