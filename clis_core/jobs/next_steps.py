"""A workspace goes in; the commands that lead from what is there to a trained detector come out."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

from clis_core.config.load import command_layer, resolve, run_layers
from clis_core.config.methods import learns_from_pictures, takes_whole_pictures
from clis_core.config.pictures import REGION_RULES
from clis_core.config.stages import counterpart
from clis_core.config.workspace import Workspace
from clis_core.data.regions import REGIONS, regions_beside
from clis_core.data.shards.manifest import MANIFEST

_LISTS = (".csv", ".tsv", ".json", ".jsonl")
_BY_WNID = re.compile(r"n\d{8}(\.tar)?|imagenet21k_\w+")
_LOOKED_AT = 1000  # entries of a folder: class folders of ImageNet stand among the first


def next_steps(workspace: Workspace) -> list[str]:
    """What to type next in a workspace, first things first; the last command trains.

    Pictures become shards, a detector that was trained on the boxes alone finds their regions, and both train CLIS.
    What lies there already is not asked for again.

    Raises:
        ConfigError: the workspace's settings do not fit together.
    """
    config = resolve(run_layers(workspace.layer, None, command_layer([])))
    shards, regions = config.pictures.shards, config.pictures.regions
    learns = learns_from_pictures(config.method)
    if shards is None:
        return ["clis init --force --data DIR --pictures PATH", "clis train"] if learns else ["clis train"]
    steps = [] if (shards / MANIFEST).is_file() else [_build(workspace, shards)]
    needed = regions not in REGION_RULES and not takes_whole_pictures(config.method)
    if needed and not (Path(regions or regions_beside(shards)) / REGIONS).is_file():
        detector = counterpart(workspace.preset, "specialised") if learns else workspace.preset
        where = f" -o {shlex.quote(regions)}" if regions else ""
        steps.append(f"clis train --preset {detector}" if learns else "clis train")
        steps.append(f"clis gen-regions --detector {detector}{where}")
    return [*steps, "clis train" if learns else f"clis train --preset {counterpart(workspace.preset, 'clis')}"]


def _build(workspace: Workspace, shards: Path) -> str:
    """The command that makes shards of the workspace's pictures."""
    if not workspace.pictures:
        return f"clis crawl-google -o {shlex.quote(str(shards))} --urls addresses.csv"
    by_wnid = all(_is_imagenet(path) for path in workspace.pictures)
    return "clis build-imagenet-subset" if by_wnid else "clis build-images"


def _is_imagenet(path: Path) -> bool:
    """Whether the classes of a source of pictures seem to be WordNet ids; the build itself looks closer."""
    if not path.is_dir():
        return path.suffix.lower() not in _LISTS
    names = [entry.name for entry in itertools.islice(path.iterdir(), _LOOKED_AT)]
    if {"train", "val"} & set(names):
        names += [entry.name for entry in itertools.islice((path / "train").glob("*"), _LOOKED_AT)]
    return any(_BY_WNID.fullmatch(name) for name in names)
