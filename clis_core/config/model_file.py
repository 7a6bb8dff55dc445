"""An exported file in; the config to evaluate it with, and where its results go, out."""

from __future__ import annotations

from pathlib import Path

from clis_core.config.load import Layer, leaves, read_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.workspace import Workspace, is_run
from clis_core.errors import ConfigError


def evaluation_config(path: Path, workspace: Workspace | None, command: Layer) -> RunConfig:
    """The config to evaluate a file with: of the run that it lies in, else of the workspace; then the command line.

    Raises:
        ConfigError: a setting of the detector, which the file has fixed.
    """
    fixed = [".".join(key) for key, _ in leaves(command.values) if key[0] == "detector"]
    if fixed:
        raise ConfigError(
            f"{', '.join(fixed)}: an exported file has its settings in it.",
            hint=f"Export it again with them: clis export RUN -o FILE --set {fixed[0]}=VALUE",
        )
    if is_run(path.parent):
        return resolve([read_layer(path.parent / "config.toml"), command])
    return resolve([*([workspace.layer] if workspace else []), command])


def output_folder(path: Path, split: str) -> Path:
    """Where the results of a file go: beside it."""
    return path.with_name(f"{path.name}.eval-{split}")
