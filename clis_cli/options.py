"""Options that several commands share, and what they mean for the config."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from clis_core.config.load import Layer
    from clis_core.config.workspace import Workspace


def preset_names(incomplete: str) -> Iterable[str]:
    """Presets that begin like this, for a shell that completes."""
    from clis_core.config.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


Data = Annotated[Path | None, typer.Option("--data", "-d", metavar="DIR", help="Folder of the data set.")]
Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="SHARDS", help="Pictures with a class label; the workspace's if left out."),
]
Regions = Annotated[
    str | None,
    typer.Option("--regions", metavar="DIR|full-image|centre", help="Their regions; SHARDS-regions if left out."),
]
Batch = Annotated[int | None, typer.Option("--batch", "-b", metavar="N", help="Images a step.")]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME",
        help="Starting point; see clis presets.",
        autocompletion=preset_names,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="TOML file of settings over the preset.", dir_okay=False),
]
Seeds = Annotated[str, typer.Option("--seeds", metavar="N,N", help="Seeds of each row.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="K=V", help="One setting, as in train.lr=0.01; may be repeated."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1 or mps; cuda where there is one."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of everything random.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the settings and what would be read and written; do nothing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def shards_of(named: Path | None, workspace: Workspace | None) -> Path:
    """The folder of shards that a command means: the one that is named, else the workspace's."""
    folder = named or (workspace.shards if workspace else None)
    if folder is None:
        raise typer.BadParameter("name the folder of the shards, or shards in clis.toml's [workspace]")
    return folder


def checkpoint_of(detector: str) -> Path:
    """The checkpoint file that a run or a path means."""
    from clis_core.config.workspace import checkpoints_of, find_workspace, resolve_run
    from clis_core.errors import CheckpointError

    if Path(detector).is_file():
        return Path(detector)
    run = resolve_run(detector, find_workspace(Path.cwd()))
    files = checkpoints_of(run)
    if not files:
        raise CheckpointError(f"{run}: no checkpoint yet.", hint=f"clis train --resume -o {run}")
    return files[-1]


def seeds_of(text: str) -> tuple[int, ...]:
    """The seeds that ``--seeds`` names."""
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--seeds {text}: whole numbers, as in 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise typer.BadParameter(f"--seeds {text}: different numbers from 0 on")
    return seeds


def over_workspace_data(command: Layer, data: Path | None, workspace: Workspace | None) -> Layer:
    """The command's settings over the workspace's data set, unless ``--data`` names another; nothing else of it."""
    if data is not None:
        return command
    if workspace is None:
        raise typer.BadParameter("name the data set: --data DIR; or make a workspace with clis init")
    tables: dict[str, Any] = {"data": workspace.layer.values.get("data", {})}
    for key, values in command.values.items():
        tables[key] = {**tables.get(key, {}), **values} if isinstance(values, dict) else values
    return type(command)(command.source, tables, command.sources)
