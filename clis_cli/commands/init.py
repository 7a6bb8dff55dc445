"""`clis init`: make a folder a workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from clis_cli import console, options


def init(
    data: options.Data = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", metavar="DIR", help="Folder for the runs; runs if left out.")
    ] = None,
    preset: options.Preset = None,
    pictures: Annotated[
        list[Path] | None,
        typer.Option("--pictures", metavar="PATH", help="Labelled pictures without boxes; may be repeated."),
    ] = None,
    shards: Annotated[
        Path | None, typer.Option("--shards", metavar="DIR", help="Folder of the shards that are built from them.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a clis.toml that is there.")] = False,
) -> None:
    """Write clis.toml, which makes this folder a workspace: other commands then need no paths.

        clis init --data data/lvis --preset specialised-r50-1x

    With labelled pictures, of which clis build-imagenet-subset makes shards:

        clis init --data data/lvis --pictures data/fall11

    Without flags it asks:

        clis init
    """
    from clis_core.config.presets import DEFAULT_PRESET
    from clis_core.jobs.init import check_free, init_workspace

    folder = Path.cwd()
    check_free(folder, force=force)
    if data is None and sys.stdin.isatty():
        data = Path(typer.prompt("Folder of the data set", err=True))
        runs = runs or Path(typer.prompt("Folder for the runs", default="runs", err=True))
        preset = preset or typer.prompt("Preset", default=DEFAULT_PRESET, err=True)
    with console.reporter() as report:
        file = init_workspace(
            folder,
            data=data,
            runs=runs or Path("runs"),
            preset=preset or DEFAULT_PRESET,
            force=force,
            reporter=report,
            pictures=pictures or (),
            shards=shards,
        )
    from clis_core.config.workspace import read_workspace
    from clis_core.jobs.next_steps import next_steps

    first, *then = next_steps(read_workspace(file))
    console.note(f"Wrote {file}. Next: {first}")
    for step in then:
        console.note(f"  then: {step}")
