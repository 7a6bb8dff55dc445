"""What a training is made of goes in; what a person should know of it at its start comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from clis_core.config.method import ClisConfig
from clis_core.config.run import RunConfig
from clis_core.config.workspace import is_run
from clis_core.data.companions import PictureSet
from clis_core.data.layout import Split
from clis_core.jobs.evaluate import find_checkpoint
from clis_core.report import Reporter
from clis_core.training.checkpoint import TrainState
from clis_core.training.optim import scaled_rate
from clis_core.training.ranks import Ranks


@dataclass(frozen=True)
class TrainingRun:
    """What a training is made of.

    Attributes:
        config: the whole of it.
        out: run folder.
        data: the training images and their boxes.
        val: those of the evaluations; None where there are none.
        pictures: with a class label; None where the method needs none.
        state: what is trained.
        all_ranks: the processes.
    """

    config: RunConfig
    out: Path
    data: Split
    val: Split | None
    pictures: PictureSet | None
    state: TrainState
    all_ranks: Ranks


def start_file(path: Path) -> Path:
    """The checkpoint that ``train.start`` names."""
    return find_checkpoint(path, "last") if is_run(path) else path


def say(log: Reporter, run: TrainingRun, device: torch.device, *, resume: bool) -> None:
    """Tell what a training begins with, and what may surprise."""
    config, val, pictures = run.config, run.val, run.pictures
    table, train = run.data.table, config.train
    groups = {g: len(table.categories.labels_in_group(g)) for g in ("r", "c", "f")}
    log.info(
        f"Train on {len(table)} images with {len(table.boxes)} boxes of {len(table.categories)} classes "
        f"({groups['r']} rare, {groups['c']} common, {groups['f']} frequent): {table.path}"
    )
    if any(table.dropped):
        log.warn(
            f"Left out of training: {table.dropped.degenerate} boxes without area inside their image, "
            f"{table.dropped.crowd} crowd or difficult boxes."
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
        log.info(f"Starts from the detector of {start_file(train.start)}, and teaches {learn}.")
    world, at_a_time = run.all_ranks.world, train.batch // (run.all_ranks.world * train.accumulate)
    place = device.type if world > 1 else device
    shared = f", {at_a_time} at a time in each of {world} processes" if world > 1 else ""
    log.info(
        f"Learning rate {scaled_rate(train):g} = {train.lr:g} x {train.batch}/{train.lr_batch} "
        f"(linear in the batch of {train.batch}{shared}); {train.iterations} steps on {place}."
    )
