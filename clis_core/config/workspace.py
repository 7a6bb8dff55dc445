"""A folder with a `clis.toml`: where the data lie, where runs go, and which run a command means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clis_core.config.explain import validate
from clis_core.config.frozen import Frozen
from clis_core.config.keys import Key, anchored
from clis_core.config.load import Layer, read_toml
from clis_core.config.presets import DEFAULT_PRESET
from clis_core.config.run import RunConfig
from clis_core.errors import CheckpointError, ConfigError

FILE_NAME = "clis.toml"


class WorkspaceTable(Frozen):
    """The table [workspace] of clis.toml; beside it stand the tables of a config."""

    runs: Path = Path("runs")
    """Folder that holds the run folders."""
    preset: str = DEFAULT_PRESET
    """The preset of a new run where none is named."""
    pictures: tuple[Path, ...] = ()
    """Tars, folders or lists of labelled pictures without boxes."""
    shards: Path | None = None
    """Folder of the shards that are built from them."""


@dataclass(frozen=True)
class Workspace:
    """What a clis.toml says; all paths are absolute.

    Attributes:
        file: the clis.toml.
        runs: folder that holds the run folders.
        preset: the preset of a new run where none is named.
        pictures: tars, folders or lists of labelled pictures without boxes.
        shards: folder of the shards that are built from them.
        layer: its layer of the config.
    """

    file: Path
    runs: Path
    preset: str
    pictures: tuple[Path, ...]
    shards: Path | None
    layer: Layer


def find_workspace(start: Path) -> Workspace | None:
    """The workspace that a folder lies in: the nearest clis.toml, in it or above it.

    Raises:
        ConfigError: that file cannot be read or its [workspace] table does not fit.
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return read_workspace(folder / FILE_NAME)
    return None


def read_workspace(file: Path) -> Workspace:
    """The workspace that a clis.toml describes.

    Raises:
        ConfigError: the file cannot be read or its [workspace] table does not fit.
    """
    values = read_toml(file)
    table = values.pop("workspace", {})
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: workspace is a table.", hint='Write [workspace], below it runs = "runs".')
    table = anchored({"runs": "runs", **table}, (WorkspaceTable,), file.parent)
    known = validate(
        WorkspaceTable,
        table,
        lambda key: f"{file}, [workspace]",
        hint="[workspace] holds runs, preset, pictures, shards; settings stand in [data], [train], ...",
    )
    sources: dict[Key, str] = {("preset",): f"{file}, [workspace]"} if "preset" not in values else {}
    values = {"preset": known.preset, **anchored(values, (RunConfig,), file.parent)}
    if known.shards is not None:
        values["pictures"] = {"shards": known.shards, **values.get("pictures", {})}
    layer = Layer(str(file), values, sources)
    return Workspace(file, known.runs, known.preset, known.pictures, known.shards, layer)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run folder."""
    return (folder / "config.toml").is_file()


def newest_run(runs: Path) -> Path | None:
    """The run that was started or trained last; None where there is none.

    Evaluating a run does not make it newer: its config and its checkpoints count, not its folder.
    """
    found = [folder for folder in runs.iterdir() if is_run(folder)] if runs.is_dir() else []
    return max(found, key=lambda folder: (_touched(folder), folder.name), default=None)


def _touched(folder: Path) -> int:
    return max(f.stat().st_mtime_ns for f in (folder / "config.toml", *checkpoints_of(folder)))


def checkpoints_of(run: Path) -> list[Path]:
    """The checkpoints of a run folder, oldest first."""
    return sorted((run / "checkpoints").glob("step-*.pt"))


def resolve_run(name: str | None, workspace: Workspace | None) -> Path:
    """The run folder that a command means: a path, a name under the workspace's runs, or the newest run.

    Raises:
        CheckpointError: there is no such run.
    """
    if name is None:
        if workspace is None:
            raise CheckpointError(
                "No run is named, and there is no clis.toml here or above that says where runs are.",
                hint="Name a run folder: clis eval runs/baseline-small; or make a workspace: clis init",
            )
        newest = newest_run(workspace.runs)
        if newest is None:
            raise CheckpointError(
                f"There is no run in {workspace.runs} yet.",
                hint="Train one with: clis train; or name a run folder elsewhere: clis eval path/to/run",
            )
        return newest
    places = [Path(name).expanduser()]
    if workspace is not None and not places[0].is_absolute():
        places.append(workspace.runs / name)
    for place in places:
        if is_run(place):
            return place.absolute()
    looked = " and ".join(str(place) for place in places)
    raise CheckpointError(f"There is no run {name!r}: no config.toml in {looked}.", hint=_existing(workspace))


def _existing(workspace: Workspace | None) -> str:
    if workspace is None:
        return "Name the run's folder; in a workspace (clis init) its name is enough."
    runs = sorted(f.name for f in workspace.runs.iterdir() if is_run(f)) if workspace.runs.is_dir() else []
    return f"Runs in {workspace.runs}: {', '.join(runs[:10]) or 'none yet'}; or name a run folder elsewhere."


def new_run(name: str | None, preset: str, workspace: Workspace | None) -> Path:
    """The folder of a new run: a path, a bare name under the workspace's runs, or one named after the preset.

    Raises:
        ConfigError: nothing says where the run goes.
    """
    if name is not None:
        bare = workspace is not None and Path(name).name == name and name not in (".", "..")
        return workspace.runs / name if workspace is not None and bare else Path(name).expanduser().absolute()
    if workspace is None:
        raise ConfigError(
            "Nothing says where the run goes: no -o, and no clis.toml here or above.",
            hint=f"clis train -o runs/{preset or 'run'}; or make this folder a workspace: clis init",
        )
    names = (f"{preset or 'run'}{'' if n == 1 else f'-{n}'}" for n in range(1, 1_000_000))
    return next(workspace.runs / free for free in names if not (workspace.runs / free).exists())


def require_data(config: RunConfig) -> None:
    """Check that a config names training data.

    Raises:
        ConfigError: it does not.
    """
    if config.data.root is None and config.data.train is None:
        raise ConfigError(
            "No training data is named.",
            hint="clis train --data FOLDER; or make this folder a workspace: clis init --data FOLDER",
        )
