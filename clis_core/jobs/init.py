"""`clis init`: a data set's folder in, a `clis.toml` out that makes a folder a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from clis_core.config.presets import preset as preset_table
from clis_core.config.workspace import FILE_NAME
from clis_core.errors import ConfigError, DataError
from clis_core.files import write_text
from clis_core.report import Reporter

CHEAP_BYTES = 200_000_000
"""An annotation file up to this size is read to tell its classes: some seconds."""


def init_workspace(
    folder: Path,
    *,
    data: Path | None,
    runs: Path,
    preset: str,
    force: bool,
    reporter: Reporter,
    pictures: Sequence[Path] = (),
    shards: Path | None = None,
) -> Path:
    """Make a folder a workspace.

    Args:
        folder: gets the clis.toml.
        data: folder of a data set in a known layout; a relative one starts from ``folder``.
        runs: folder for the runs; a relative one starts from ``folder``.
        preset: starting point of new runs.
        force: write over a clis.toml that is there.
        reporter: hears what the data set holds.
        pictures: tars, folders or lists of labelled pictures without boxes.
        shards: folder of the shards that are built from them; ``shards`` where there are pictures.

    Returns:
        The clis.toml.

    Raises:
        ConfigError: there is a clis.toml already, the preset is unknown, or no data set is named.
        DataError: the data set is in no known layout, or pictures are not there.
    """
    check_free(folder, force=force)
    preset_table(preset)
    if data is None:
        raise ConfigError("Nothing says where the data set is.", hint="For example: clis init --data data/lvis")
    _describe(folder / data.expanduser(), reporter)
    for path in pictures:
        if not (folder / path.expanduser()).exists():
            raise DataError(f"{path} does not exist.", hint="Name tars, folders or lists of pictures: --pictures PATH")
    workspace: dict[str, Any] = {"runs": str(runs), "preset": preset}
    if pictures:
        workspace["pictures"] = [str(path) for path in pictures]
    if pictures or shards:
        workspace["shards"] = str(shards or "shards")
    tables: dict[str, Any] = {"workspace": workspace, "data": {"root": str(data)}}
    head = "# A workspace of clis: commands run in this folder, or below it, start from these settings.\n\n"
    write_text(folder / FILE_NAME, head + tomli_w.dumps(tables))
    return folder / FILE_NAME


def check_free(folder: Path, *, force: bool) -> None:
    """Check that no clis.toml would be lost.

    Raises:
        ConfigError: there is one, and ``force`` is not set.
    """
    if (folder / FILE_NAME).exists() and not force:
        raise ConfigError(
            f"There is a {FILE_NAME} in {folder} already.",
            hint=f"Edit {folder / FILE_NAME}, or write it anew with: clis init --force",
        )


def _describe(root: Path, reporter: Reporter) -> None:
    from clis_core.data.annotations import load_annotations
    from clis_core.data.layout import find_dataset

    layout = find_dataset(root)
    for split, path in (("train", layout.train), ("val", layout.val)):
        if path is None:
            reporter.warn(f"{split}: none found in {root}")
            continue
        if path.stat().st_size > CHEAP_BYTES:
            reporter.info(f"{split}: {path}")
            continue
        table = load_annotations(path, None)
        reporter.info(f"{split}: {path}, {len(table)} images, {len(table.boxes)} boxes")
        if split == "train":
            classes = table.categories.with_counts(table.image_counts().tolist())
            counts = [len(classes.labels_in_group(group)) for group in ("r", "c", "f")]
            reporter.info(f"{len(classes)} classes: {counts[0]} rare, {counts[1]} common, {counts[2]} frequent")
