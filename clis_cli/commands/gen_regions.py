"""`clis gen-regions`: a trained detector and shards in, a region for each picture out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clis_cli import console, options

Rule = Literal["rank-first", "max-score", "max-size", "full-image", "centre"]


def gen_regions(
    shards: Annotated[
        Path | None, typer.Argument(metavar="SHARDS", help="Folder of shards; the workspace's if left out.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option("--detector", metavar="RUN", help="Run folder, its name, or a checkpoint file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the regions; else SHARDS-regions."),
    ] = None,
    rule: Annotated[
        Rule, typer.Option("--rule", help="rank-first is the paper's: the best region of the picture's own class.")
    ] = "rank-first",
    from_file: Annotated[
        Path | None,
        typer.Option("--from-file", metavar="FILE", help="Take regions from a list: key and box, relative."),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option("--short-side", metavar="PX", min=32, max=8192, help="The detector's picture size; else its own."),
    ] = None,
    max_enlarge: Annotated[
        float,
        typer.Option(
            "--max-enlarge", metavar="X", min=0.1, max=100, help="Enlarge no picture to more than X times its size."
        ),
    ] = 1.5,
    batch: Annotated[int, typer.Option("--batch", "-b", metavar="N", min=1, help="Pictures at a time.")] = 8,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=0, help="Processes that decode.")] = 1,
    preview: Annotated[
        int,
        typer.Option("--preview", metavar="N", min=0, max=1000, help="Draw N pictures with their regions on a sheet."),
    ] = 0,
    device: options.Device = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Find in each labelled picture the region that its class is most likely in.

    With a detector that was trained on the boxes alone:

        clis gen-regions --detector runs/base shards

        clis gen-regions --detector baseline-small --preview 64

    Pictures are resized as the detector resizes images, but small ones are not enlarged beyond --max-enlarge; a smaller
    size is faster:

        clis gen-regions --detector runs/base --short-side 400 shards

    Without a detector:

        clis gen-regions shards --rule full-image -o shards-whole

    On many GPUs:

        torchrun --nproc_per_node 8 -m clis_cli gen-regions --detector runs/base shards
    """
    from clis_core.config.workspace import find_workspace

    if from_file is not None and rule != "rank-first":
        raise typer.BadParameter("--from-file takes regions as they are: no --rule beside it")
    by_detector = from_file is None and rule not in ("full-image", "centre")
    if not by_detector and (detector is not None or short_side is not None):
        raise typer.BadParameter("these regions need no detector: no --detector and no --short-side")
    if by_detector and detector is None:
        raise typer.BadParameter(f"--rule {rule} needs a detector: --detector RUN; or --rule full-image")
    folder = options.shards_of(shards, find_workspace(Path.cwd()))
    target = out or folder.with_name(f"{folder.name}-regions")
    file = options.checkpoint_of(detector) if detector is not None else None
    if dry_run:
        console.would_read(folder, file, from_file)
        console.note(f"would write  {target}")
        return
    from clis_core.jobs.gen_regions import RegionOptions
    from clis_core.jobs.gen_regions import gen_regions as job

    how = RegionOptions(rule, from_file, short_side, max_enlarge, batch, workers, device or "", preview)
    with console.reporter() as report:
        result = job(file, folder, target, how, reporter=report)
    if not console.speaks():
        return
    if as_json:
        console.print_json(
            {
                "folder": str(result.folder),
                "pictures": result.pictures,
                "fallbacks": result.fallbacks,
                "mean_score": result.mean_score,
            }
        )
    else:
        console.note(f"{result.folder}: regions of {result.pictures} pictures.")
