"""`clis inspect`: settings or a run in, sheets and counts of what training sees out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clis_cli import console, options
from clis_core.categories import GROUP_NAMES

if TYPE_CHECKING:
    from clis_core.data.epoch_counts import EpochCounts

Format = Literal["jpg", "png"]


def inspect(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's folder or name: what its training sees.")
    ] = None,
    *,
    data: options.Data = None,
    images: options.Images = None,
    regions: options.Regions = None,
    preset: options.Preset = None,
    config: options.Config = None,
    settings: options.Settings = None,
    batch: options.Batch = None,
    seed: options.Seed = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for the sheets; RUN/inspect or inspect if left out."),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="PARTS", help="Of samples,mosaics,pairs,counts; else all.")
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, max=256, help="Samples, mosaics and pairs on a sheet.")
    ] = 16,
    from_step: Annotated[
        int, typer.Option("--from-step", metavar="K", min=0, help="Show the batches of training from step K on.")
    ] = 0,
    side: Annotated[
        int, typer.Option("--side", metavar="PX", min=64, max=2048, help="Long side of a picture on a sheet.")
    ] = 384,
    image_format: Annotated[Format, typer.Option("--format", help="Of the sheets.")] = "jpg",
    as_json: options.Json = False,
) -> None:
    """Show what training sees: samples, mosaics and pasted pairs of exactly these steps, and an epoch's class counts.

    In a workspace, what clis train would see:

        clis inspect

    With the words of clis train:

        clis inspect --data data/tinylvis --preset clis-small --images shards -o look

    What step 500 of a run saw:

        clis inspect runs/clis --from-step 500

    How often an epoch shows each class, with and without repeat-factor sampling:

        clis inspect --only counts --data data/lvis --set data.sampler.threshold=0.01

    Nothing is trained, and no model is needed.
    """
    from clis_core.config.load import command_layer, read_layer, resolve, run_layers
    from clis_core.config.workspace import find_workspace, require_data, resolve_run
    from clis_core.jobs.inspect import PARTS, InspectOptions

    parts = [part.strip() for part in (only or "").split(",") if part.strip()]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise typer.BadParameter(f"--only takes {', '.join(PARTS)}, not {', '.join(unknown)}")
    if run is not None and preset is not None:
        raise typer.BadParameter("a run has its settings: no --preset beside it")
    flags = {
        "--data": ("data.root", data),
        "--images": ("pictures.shards", images),
        "--regions": ("pictures.regions", regions),
        "--preset": ("preset", preset),
        "--batch": ("train.batch", batch),
        "--seed": ("seed", seed),
    }
    workspace, command = find_workspace(Path.cwd()), command_layer(settings or [], flags)
    folder = resolve_run(run, workspace) if run is not None else None
    if folder is not None:
        layers = [read_layer(folder / "config.toml"), *([read_layer(config)] if config else []), command]
    else:
        layers = run_layers(workspace.layer if workspace else None, config, command)
    resolved = resolve(layers)
    require_data(resolved)
    target = out or (folder / "inspect" if folder else Path("inspect"))
    runs = folder.parent if folder else workspace.runs if workspace else target.absolute().parent
    from clis_core.jobs.inspect import inspect as job

    how = InspectOptions(parts, count, from_step, side, f".{image_format}")  # type: ignore[arg-type]  # checked above
    with console.reporter() as report:
        result = job(resolved, target, how, cache=runs / ".cache", run=folder, reporter=report)
    if as_json:
        console.print_json({"files": result.files, **result.record})
        return
    if result.counts is not None:
        _tell(result.counts, by_class=parts == ["counts"])
    for file in result.files:
        console.note(f"Wrote {file}")


def _tell(counts: EpochCounts, *, by_class: bool) -> None:
    """Counts by group, and by class where nothing else was asked for."""
    names = list(counts.by_class)
    head = [name.replace("_", " ") for name in names]
    title = f"Epoch {counts.epoch}: {counts.images_drawn} images, of {counts.images} in the data set"
    groups = [(word, str(of["classes"]), *(str(of[name]) for name in names)) for word, of in counts.groups().items()]
    console.print_table(title, ("group", "classes", *head), groups)
    if by_class:
        rows = [
            (c.name, GROUP_NAMES.get(c.group or "", ""), *(str(int(counts.by_class[name][k])) for name in names))
            for k, c in enumerate(counts.categories)
        ]
        console.print_table("", ("class", "group", *head), rows)
