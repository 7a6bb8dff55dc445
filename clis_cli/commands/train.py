"""`clis train`: settings in, a run folder out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.config.load import Layer
    from clis_core.config.run import RunConfig


def train(
    *,
    data: options.Data = None,
    images: options.Images = None,
    regions: options.Regions = None,
    preset: options.Preset = None,
    config: options.Config = None,
    settings: options.Settings = None,
    first_weights: Annotated[
        str | None,
        typer.Option("--init", metavar="FILE|RUN|torchvision|none", help="The backbone's first weights."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="RUN", help="Run folder; a bare name lies under a workspace's runs."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run: -o RUN, else the newest.")] = False,
    or_start: Annotated[
        bool,
        typer.Option("--resume-or-start", help="Go on with -o RUN if it has begun, else start it: for schedulers."),
    ] = False,
    iterations: Annotated[int | None, typer.Option("--iterations", "-n", metavar="N", help="Optimiser steps.")] = None,
    batch: options.Batch = None,
    find: Annotated[
        bool, typer.Option("--find-batch", help="Take the largest batch that the GPUs hold; lr follows it.")
    ] = False,
    lr: Annotated[
        float | None, typer.Option("--lr", metavar="X", help="Learning rate at train.lr_batch images a step.")
    ] = None,
    seed: options.Seed = None,
    device: options.Device = None,
    alpha: Annotated[
        float | None, typer.Option("--alpha", metavar="X", help="Weight of the image loss (CLIS, eq. 2).")
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option("--beta", metavar="X", help="Weight of the contrastive loss (CLIS, eq. 2)."),
    ] = None,
    dry_run: options.DryRun = False,
) -> None:
    """Train a detector into a run folder.

    In a workspace (see clis init) nothing needs to be named:

        clis train

        clis train --preset specialised-small --iterations 2000 --set train.keep=1

    Elsewhere the data and the run folder are:

        clis train --data data/tinylvis --preset baseline-small -o runs/first

    CLIS, with shards of labelled pictures and their regions:

        clis train --preset clis-small --alpha 0.1 --beta 0.05 --images shards -d data/tinylvis -o runs/clis

    A run that was stopped goes on where it was:

        clis train --resume -o runs/first

    On the GPUs of a machine, which share each batch; a process that dies costs the steps since the last checkpoint:

        torchrun --nproc_per_node 8 --max-restarts 3 -m clis_cli train -d data/lvis -o runs/lvis --resume-or-start
    """
    if or_start and out is None:
        raise typer.BadParameter("--resume-or-start needs the run's name: -o RUN")
    if find and resume:
        raise typer.BadParameter("--find-batch is for a new run; one that has begun keeps its batch")
    from clis_core.config.load import command_layer, resolve, run_layers
    from clis_core.config.resume import check_new_run, resume_config
    from clis_core.config.workspace import find_workspace, is_run, new_run, require_data, resolve_run

    workspace = find_workspace(Path.cwd())
    flags = {
        "--data": ("data.root", data),
        "--images": ("pictures.shards", images),
        "--regions": ("pictures.regions", regions),
        "--preset": ("preset", preset),
        "--init": ("detector.backbone.init", first_weights),
        "--iterations": ("train.iterations", iterations),
        "--batch": ("train.batch", batch),
        "--lr": ("train.lr", lr),
        "--seed": ("seed", seed),
        "--device": ("device", device),
        "--alpha": ("method.alpha", alpha),
        "--beta": ("method.beta", beta),
    }
    command = command_layer(settings or [], flags)
    if or_start and is_run(new_run(out, "", workspace)):
        resume = True
        if find:  # which the run has done, and changed these
            _leave_out(command, "batch", "iterations")
    if resume:
        run = resolve_run(out, workspace)
        resolved = resume_config(run, config, command)
    else:
        resolved = resolve(run_layers(workspace.layer if workspace else None, config, command))
        run = new_run(out, resolved.preset, workspace)
        check_new_run(run)
    require_data(resolved)
    if dry_run:
        _tell(resolved, run, resume)
        return
    from clis_core.jobs.train import train as train_job

    with console.reporter() as report:
        result = train_job(resolved, run, resume=resume, find=find and not resume, reporter=report)
    if not console.speaks():
        return
    if result.metrics:
        console.print_metrics(f"{result.run.name}, val", result.metrics)
    console.note(f"Run folder: {result.run}")


def _leave_out(command: Layer, *names: str) -> None:
    for name in names:
        command.values.get("train", {}).pop(name, None)


def _tell(config: RunConfig, run: Path, resume: bool) -> None:
    from clis_core.config.load import dump_toml
    from clis_core.config.workspace import checkpoints_of

    data = config.data
    named = (data.root, data.train, data.train_images, data.val, data.val_images, config.pictures.shards)
    read = [p for p in named if p is not None] + (checkpoints_of(run)[-1:] if resume else [])
    first = config.detector.backbone.init if config.train.start is None else "none"
    if not resume and config.train.start is not None:
        read.append(config.train.start)
    if not resume and first not in ("none", "timm", "torchvision"):
        read.append(Path(first))
    console.would_read(*read)
    if not resume and first in ("timm", "torchvision"):
        console.note(f"would read   {first}'s weights of {config.detector.backbone.name} (downloaded once)")
    console.note(f"would write  {run}: config.toml, log.jsonl, checkpoints")
    typer.echo(dump_toml(config), nl=False)
