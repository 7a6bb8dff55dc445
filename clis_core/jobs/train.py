"""`clis train`: a config in, a run folder with checkpoints, log and metrics out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from clis_core.config.detector import finds_masks
from clis_core.config.load import save_config
from clis_core.config.resume import check_new_run
from clis_core.config.run import RunConfig
from clis_core.config.train import TrainConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.data.annotations import AnnotationTable
from clis_core.data.companions import PictureSet
from clis_core.data.layout import Split, check_splits, open_split
from clis_core.data.sampling import Portion
from clis_core.data.workers import naming_dead_workers
from clis_core.detectors.build import Detector, build_detector
from clis_core.detectors.checkpoint import fingerprint, without_first_weights
from clis_core.errors import JSON_DAMAGE, CheckpointError, ConfigError, Interrupted
from clis_core.evaluation.evaluate import prepare
from clis_core.evaluation.metrics import Metrics
from clis_core.files import write_text
from clis_core.jobs.device import naming_full_memory, open_device
from clis_core.jobs.evaluate import evaluation_groups, measure
from clis_core.jobs.find_batch import find_batch
from clis_core.jobs.training_data import (
    PICTURES,
    class_counts,
    open_companions,
    open_training_split,
    pictures_record,
    training_loader,
)
from clis_core.jobs.training_run import TrainingRun, say, start_file
from clis_core.jobs.training_state import training_state
from clis_core.report import JsonLinesReporter, Reporter, SilentReporter
from clis_core.training.checkpoint import TrainState, restore
from clis_core.training.joining import ranks
from clis_core.training.lock import run_lock
from clis_core.training.loop import Evaluate, train_loop
from clis_core.training.ranks import Ranks
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


def train(config: RunConfig, out: Path, *, resume: bool = False, find: bool = False, reporter: Reporter) -> TrainResult:
    """Train a detector; under torchrun the processes share each batch.

    Args:
        config: the whole run; that of the first process counts.
        out: run folder; gets config.toml, log.jsonl, checkpoints/, best.pt and eval-val/.
        resume: go on from the newest checkpoint in ``out``, if there is one.
        find: take the largest batch that fits, see `find_batch`.
        reporter: gets messages, progress and records.

    Raises:
        ConfigError: settings that do not fit together, this machine or the number of processes.
        DataError: the data set cannot be used.
        CheckpointError: ``out`` holds a run already, weights cannot be read, or a checkpoint cannot be written.
        TrainingDiverged: a loss that is not finite.
        Interrupted: SIGINT or SIGTERM came to any process; the state was saved.
        LostProcessError: another process has ended.
    """
    with ranks(config.device) as all_ranks, all_ranks.naming_the_lost(), ExitStack() as held:
        config, out = all_ranks.on_first(lambda: (config, out.absolute()))
        if not resume:
            all_ranks.on_first(lambda: check_new_run(out))
        reporter = reporter if all_ranks.first else SilentReporter()
        device = open_device(all_ranks.device(config.device))
        _check(config, device)
        cache = out.parent / ".cache"
        data = all_ranks.first_before_others(lambda: open_training_split(config, cache))
        val = all_ranks.first_before_others(lambda: _open_val(config, data, cache))
        categories = data.table.categories
        pictures = open_companions(config, categories)
        many = len(pictures.numbers) if pictures else 0
        if find:
            config = find_batch(config, len(categories), len(data.table), many, device, all_ranks, reporter)
        _check_shares(config.train, all_ranks.world)
        begun = resume and bool(checkpoints_of(out))
        # The first one fetches weights that the others then find.
        state = all_ranks.first_before_others(lambda: _build(config, data.table, many, device, resume=begun))
        all_ranks.on_first(lambda: _hold(out, held, resume))
        run = TrainingRun(config, out, data, val, pictures, state, all_ranks)
        return _run(run, resume=resume, reporter=reporter)


def _check(config: RunConfig, device: torch.device) -> None:
    if config.train.amp == "fp16" and device.type != "cuda":
        raise ConfigError("train.amp = 'fp16' needs a GPU.", hint="--set train.amp=bf16, or off")
    if config.train.reset_classifier and config.train.start is None:
        raise ConfigError(
            "train.reset_classifier = true, but no class layer is taken over from another run.",
            hint="Name a run of the first stage: --set train.start=runs/baseline",
        )
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


def _check_shares(config: TrainConfig, world: int) -> None:
    """Check that all processes get equally many images."""
    shares = world * config.accumulate
    if config.batch % shares:
        parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
        near = max(1, round(config.batch / shares)) * shares
        raise ConfigError(
            f"A batch of {config.batch} images cannot be shared out equally among {world} processes{parts}.",
            hint=f"--batch {near}, which changes the learning rate with it; or another --nproc_per_node",
        )


def _hold(out: Path, held: ExitStack, resume: bool) -> None:
    """Make the run folder, and hold it until ``held`` ends."""
    out.mkdir(parents=True, exist_ok=True)
    held.enter_context(run_lock(out))
    if not resume:
        check_new_run(out)  # again: another process may have begun it since


def _run(run: TrainingRun, *, resume: bool, reporter: Reporter) -> TrainResult:
    """Everything that writes into the run folder."""
    config, out, state, all_ranks = run.config, run.out, run.state, run.all_ranks
    device = next(state.method.parameters()).device
    categories = run.data.table.categories
    path = restore(out, state, categories, reporter) if resume else None
    _check_equal(state, all_ranks)
    all_ranks.on_first(lambda: _begin(run, begun=path is not None))
    log: Reporter = reporter
    if all_ranks.first:
        if config.train.tensorboard:
            reporter = TensorBoardReporter(out / "tensorboard", reporter, first_step=state.step + 1)
        log = JsonLinesReporter(out / "log.jsonl", reporter)
        log.drop_after(state.step, evaluated=not state.pending)
    say(log, run, device, resume=resume)
    if resume:
        log.info(f"Resumed from {path}." if path else f"{out} has no checkpoint yet; starting at step 0.")
    portion = Portion(all_ranks.rank, all_ranks.world, config.train.accumulate)
    steps, pin = (state.step, config.train.iterations), device.type == "cuda"
    loader = training_loader(config, run.data, run.pictures, *steps, pin=pin, portion=portion)
    with naming_dead_workers(), naming_full_memory(MEMORY_HINT):
        metrics = train_loop(
            state,
            loader,
            config.train,
            seed=config.seed,
            run=out,
            categories=categories,
            reporter=log,
            evaluate=_evaluator(run, run.val, log) if run.val else None,
            all_ranks=all_ranks,
        )
    log.info(f"Weights after step {state.step}: sha256 {fingerprint(state.method.detector.state_dict())}")
    return TrainResult(out, metrics, state.step)


def _begin(run: TrainingRun, *, begun: bool) -> None:
    """Write what a run folder says of its training."""
    if run.pictures:
        _check_pictures(run.out / PICTURES, run.pictures, begun=begun)
    save_config(run.config, run.out / "config.toml")


def _check_equal(state: TrainState, all_ranks: Ranks) -> None:
    """Check that all processes begin with the same: they would train apart without a word."""
    if all_ranks.world == 1:
        return
    begins = all_ranks.gathered((state.step, fingerprint(state.method.state_dict())))
    other = [rank for rank, begin in enumerate(begins) if begin != begins[0]]
    if other:
        steps = ", ".join(sorted({str(step) for step, _ in begins}))
        raise all_ranks.of_all(
            CheckpointError(
                f"Processes {', '.join(map(str, other))} begin with other weights than the first one (steps {steps}).",
                hint="All machines must see the same run folder, first weights and versions of clis and torch.",
            )
        )


def _open_val(config: RunConfig, data: Split, cache: Path) -> Split | None:
    if not (config.train.eval_at_end or config.train.eval_every):
        return None
    val = open_split(config.data, "val", cache)
    check_splits(data, val)
    # What would stop the evaluation shall stop the training before it begins.
    groups = evaluation_groups(data.table.categories, val)
    prepare(val.table.path, config.eval.engine, groups, masks=finds_masks(config.detector))
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
        file = start_file(config.train.start)
        start_from(detector, table.categories, file, reset_classifier=config.train.reset_classifier)
    return training_state(config, detector, pictures, device)


def _evaluator(run: TrainingRun, val: Split, log: Reporter) -> Evaluate:
    said: set[str] = set()
    config, all_ranks = run.config, run.all_ranks

    def evaluate(
        detector: Detector, step: int, stopping: Callable[[], str | None]
    ) -> Mapping[str, float | None] | None:
        found: list[Metrics] = []
        try:
            metrics = measure(
                detector,
                run.data.table.categories,
                val,
                config.eval,
                config.data.workers,
                config.data.exif,
                run.out / "eval-val",
                step=step,
                save_json=False,
                all_ranks=all_ranks,
                reporter=log,
                stopping=stopping,
            )
        except Interrupted:
            return None
        found += [metrics] if metrics else []
        values, notes = all_ranks.on_first(lambda: (dict(found[0].values), list(found[0].notes)))
        for note in notes:
            if note not in said:
                log.warn(note)
                said.add(note)
        return values

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
