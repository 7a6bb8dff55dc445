"""Options that several commands share, and what they mean for the config."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer


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
