"""`clis pretrain`: shards in, first weights of a backbone out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clis_cli import console, options


def pretrain(
    shards: Annotated[
        Path | None, typer.Argument(metavar="SHARDS", help="Folder of shards; the workspace's if left out.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Run folder.")] = Path("runs/pretrained"),
    backbone: Annotated[
        str, typer.Option("--backbone", metavar="NAME", help="resnet18, ..., mobilenet_v3_large.")
    ] = "resnet50",
    first_weights: Annotated[
        str, typer.Option("--init", metavar="FILE|torchvision|none", help="Its first weights.")
    ] = "none",
    epochs: Annotated[
        float, typer.Option("--epochs", metavar="X", min=0, help="Times that each picture is seen.")
    ] = 100.0,
    batch: Annotated[int, typer.Option("--batch", "-b", metavar="N", min=2, help="Pictures a step.")] = 256,
    lr: Annotated[float, typer.Option("--lr", metavar="X", min=0, help="Learning rate.")] = 0.1,
    milestones: Annotated[
        str, typer.Option("--milestones", metavar="X,X", help="Parts of the steps after which the rate falls to 0.1.")
    ] = "0.3,0.6,0.9",
    size: Annotated[int, typer.Option("--size", metavar="PX", min=32, max=1024, help="Side of a crop.")] = 224,
    held_out: Annotated[
        float, typer.Option("--held-out", metavar="X", min=0, max=0.9, help="Part that accuracy is measured on.")
    ] = 0.02,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=0, help="Processes that decode.")] = 4,
    seed: options.Seed = None,
    device: options.Device = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Teach a backbone to tell the classes of pictures, before any detector is trained.

    What CLIS, table X, compares itself with; the defaults are the paper's. The run is what clis train --init takes:

        clis pretrain shards -o runs/pretrained

        clis train --preset specialised-r50-1x --init runs/pretrained --data data/lvis -o runs/from-pretrained

    Small, from weights that there are:

        clis pretrain shards --backbone mobilenet_v2 --init weights.pth --epochs 10 -b 64 --lr 0.01 --size 96

    The same command goes on with a run that was stopped.
    """
    from clis_core.config.workspace import find_workspace

    workspace = find_workspace(Path.cwd())
    folder = shards or (workspace.shards if workspace else None)
    if folder is None:
        raise typer.BadParameter("name the folder of the shards, or shards in clis.toml's [workspace]")
    try:
        falls = tuple(float(part) for part in milestones.split(",") if part)
    except ValueError:
        raise typer.BadParameter(f"--milestones {milestones}: numbers, as in 0.3,0.6,0.9") from None
    first = first_weights if first_weights in ("none", "torchvision") else str(Path(first_weights).absolute())
    if dry_run:
        for path in (folder, *([Path(first)] if first not in ("none", "torchvision") else [])):
            console.note(f"would read   {path}{'' if path.exists() else '  (missing)'}")
        console.note(f"would write  {out}: backbone.pt, pretrain.json, log.jsonl")
        return
    from clis_core.jobs.pretrain import PretrainOptions
    from clis_core.jobs.pretrain import pretrain as job

    how = PretrainOptions(
        backbone=backbone,
        init=first,
        epochs=epochs,
        batch=batch,
        lr=lr,
        milestones=falls,
        size=size,
        held_out=held_out,
        seed=seed or 0,
        workers=workers,
        device=device or "",
    )
    with console.reporter() as report:
        result = job(folder, out, how, reporter=report)
    if as_json:
        console.print_json({"weights": str(result.weights), "steps": result.steps, "top1": result.top1})
        return
    right = "" if result.top1 is None else f", {result.top1:.1f} % of the held-out pictures are right"
    console.note(f"{result.weights}: {result.steps} steps{right}. Next: clis train --init {out}")
