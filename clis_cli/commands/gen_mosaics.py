"""`clis gen-mosaics`: shards in, a data set of mosaics with pseudo boxes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clis_cli import console, options

Boxes = Literal["fixed", "detector", "own-label", "relabelled", "regions"]


def gen_mosaics(
    shards: Annotated[
        Path | None, typer.Argument(metavar="SHARDS", help="Folder of shards; the workspace's if left out.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DIR", help="Data set whose classes the mosaics shall have.")
    ] = None,
    boxes: Annotated[Boxes, typer.Option("--boxes", help="Where the boxes of a picture come from.")] = "own-label",
    detector: Annotated[
        str | None, typer.Option("--detector", metavar="RUN", help="Run folder, its name, or a checkpoint file.")
    ] = None,
    regions: Annotated[
        Path | None,
        typer.Option("--regions", metavar="DIR", help="With --boxes regions; SHARDS-regions if left out."),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", metavar="X", min=0, max=1, help="Score of a box that is trusted.")
    ] = 0.5,
    max_side: Annotated[
        int, typer.Option("--max-side", metavar="PX", min=32, max=4096, help="Long side of a picture, at most.")
    ] = 640,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="The data set; SHARDS-mosaics if left out.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "-b", metavar="N", min=1, help="Pictures at a time.")] = 8,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=0, help="Processes that decode.")] = 1,
    seed: options.Seed = None,
    device: options.Device = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Stitch labelled pictures with pseudo boxes to scenes, as MosaicOS does.

    Boxes of the picture's own class that a detector is sure of:

        clis gen-mosaics --detector runs/base --data data/lvis shards -o mosaics

    Six boxes in fixed places, without a detector:

        clis gen-mosaics --boxes fixed --data data/lvis shards -o mosaics

    What is made is a data set: clis train --data mosaics.
    """
    from clis_core.config.data import DataConfig
    from clis_core.config.workspace import find_workspace
    from clis_core.data.layout import json_of

    by_detector = boxes not in ("fixed", "regions")
    if by_detector and detector is None:
        raise typer.BadParameter(f"--boxes {boxes} needs a detector: --detector RUN; or --boxes fixed")
    if not by_detector and detector is not None:
        raise typer.BadParameter(f"--boxes {boxes} needs no detector")
    workspace = find_workspace(Path.cwd())
    folder = options.shards_of(shards, workspace)
    named = workspace.layer.values.get("data", {}) if workspace and data is None else {"root": data}
    found = data if data is not None and data.is_file() else json_of(DataConfig.model_validate(named), "train")
    if found is None:
        raise typer.BadParameter("name the data set, or its training json: --data DIR")
    target = out or folder.with_name(f"{folder.name}-mosaics")
    file = options.checkpoint_of(detector) if detector is not None else None
    if dry_run:
        console.would_read(folder, found, file)
        console.note(f"would write  {target}")
        return
    from clis_core.jobs.gen_mosaics import gen_mosaics as job
    from clis_core.jobs.mosaic_pictures import MosaicOptions

    how = MosaicOptions(boxes, regions, threshold, max_side, seed or 0, batch, workers, device or "")
    with console.reporter() as report:
        result = job(folder, found, target, how, checkpoint=file, reporter=report)
    if as_json:
        made = {"folder": str(result.folder), "mosaics": result.mosaics, "boxes": result.boxes}
        console.print_json({**made, "left_out": result.left_out})
    else:
        console.note(f"{result.folder}: {result.mosaics} mosaics with {result.boxes} boxes.")
