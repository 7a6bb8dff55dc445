"""`clis doctor`: what would stop, slow down or surprise a training on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.config.run import RunConfig
    from clis_core.errors import ClisError
    from clis_core.jobs.doctor.checks import Findings

COLOURS = {"fine": "green", "note": "blue", "warning": "yellow", "error": "red"}


def doctor(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DIR", help="Folder of a data set; else the workspace's.")
    ] = None,
    shards: Annotated[
        Path | None, typer.Option("--shards", metavar="DIR", help="Labelled pictures; the workspace's if left out.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME",
            help="Measure steps of this preset: memory, time, a batch that fits.",
            autocompletion=options.preset_names,
        ),
    ] = None,
    settings: options.Settings = None,
    batch: Annotated[
        int | None, typer.Option("--batch", "-b", metavar="N", min=1, help="Images a step, for --preset.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where runs will go; the workspace's, or runs.")
    ] = None,
    device: options.Device = None,
    as_json: options.Json = False,
) -> None:
    """Look at versions, cores, memory, GPU, disk, decoder, data set and shards; contacts nobody, changes nothing.

    In a workspace, or anywhere:

        clis doctor

        clis doctor --data data/lvis --shards shards

    Whether a training fits, how long it takes, and with which batch and learning rate; steps on drawn images:

        clis doctor --preset clis-r50-1x

        clis doctor --preset baseline-r50-1x --batch 8 --set train.amp=bf16 --device cuda:1

        clis doctor --json

    Exit code: 0 where nothing would stop a training, else 4.
    """
    from clis_core.errors import DataError

    flags = {
        "--data": ("data.root", data),
        "--shards": ("pictures.shards", shards),
        "--preset": ("preset", preset),
        "--batch": ("train.batch", batch),
        "--device": ("device", device),
    }
    config, folder, broken = _config(settings or [], flags, named=data is not None)
    from clis_core.jobs.doctor.examine import examine

    with console.reporter() as report:
        fitting = preset is not None and broken is None
        found = examine(config, runs or folder, fitting=fitting, broken=broken, reporter=report)
    if as_json:
        console.print_json(found.to_record())
    else:
        _tell(found)
    if not found.ok:
        raise DataError(
            f"{found.count('error')} of {len(found.checks)} checks would stop a training.",
            hint="The hints beside them say what to do.",
        )


def _config(
    settings: list[str], flags: Mapping[str, tuple[str, object]], *, named: bool
) -> tuple[RunConfig, Path, ClisError | None]:
    """Config, folder of the runs, and why the config is not the one that was asked for."""
    from clis_core.config.load import command_layer, resolve, run_layers
    from clis_core.config.run import RunConfig
    from clis_core.config.workspace import find_workspace
    from clis_core.errors import ConfigError

    command = command_layer(settings, flags)
    runs = Path("runs")
    try:
        workspace = find_workspace(Path.cwd())
        runs = workspace.runs if workspace else runs
        # What --data names takes the place of the workspace's data, shards included.
        layer = workspace.layer if workspace and not named else None
        return resolve(run_layers(layer, None, command)), runs, None
    except ConfigError as error:
        return RunConfig(), runs, error


def _tell(found: Findings) -> None:
    for check in found.checks:
        typer.secho(f"{check.level:<8}", fg=COLOURS[check.level], nl=False)
        typer.echo(f"{check.area:<9} {check.text}")
        if check.hint:
            typer.echo(f"{'':<17} Hint: {check.hint}")
    counts = ", ".join(f"{found.count(level)} {level}" for level in COLOURS)  # type: ignore[arg-type]
    console.note(f"{len(found.checks)} checks: {counts}.")
