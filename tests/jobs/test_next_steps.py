"""What to type next in a workspace: what is there already is not asked for again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from clis_core.config.load import preset_layer, resolve
from clis_core.config.methods import learns_from_pictures, takes_whole_pictures
from clis_core.config.presets import PRESETS
from clis_core.config.workspace import read_workspace
from clis_core.data.regions import REGIONS
from clis_core.data.shards.manifest import MANIFEST
from clis_core.jobs.next_steps import next_steps


def steps(folder: Path, preset: str, **tables: Any) -> list[str]:
    workspace = {"preset": preset, **tables.pop("workspace", {})}
    file = folder / "clis.toml"
    file.write_text(tomli_w.dumps({"workspace": workspace, "data": {"root": "data"}, **tables}))
    return next_steps(read_workspace(file))


def with_pictures(folder: Path, *names: str) -> dict[str, Any]:
    for name in names:
        (folder / "pictures" / name).mkdir(parents=True)
    return {"pictures": ["pictures"], "shards": "shards"}


def touch(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()


def test_boxes_alone_are_trained_on_at_once(tmp_path: Path) -> None:
    assert steps(tmp_path, "baseline-small") == ["clis train"]


def test_pictures_become_shards_then_regions_then_clis(tmp_path: Path) -> None:
    named = with_pictures(tmp_path, "n02084071", "n01440764")
    train, find = "clis train --preset specialised-small", "clis gen-regions --detector specialised-small"
    whole = ["clis build-imagenet-subset", train, find, "clis train"]
    assert steps(tmp_path, "clis-small", workspace=named) == whole
    touch(tmp_path / "shards" / MANIFEST)
    assert steps(tmp_path, "clis-small", workspace=named) == whole[1:]
    touch(tmp_path / "shards-regions" / REGIONS)
    assert steps(tmp_path, "clis-small", workspace=named) == whole[3:]


def test_a_detector_of_boxes_finds_the_regions_itself(tmp_path: Path) -> None:
    named = with_pictures(tmp_path, "dog", "fire truck")
    assert steps(tmp_path, "baseline-small", workspace=named) == [
        "clis build-images",
        "clis train",
        "clis gen-regions --detector baseline-small",
        "clis train --preset clis-small",
    ]


def test_regions_elsewhere_or_by_rule(tmp_path: Path) -> None:
    named = with_pictures(tmp_path, "dog")
    shown = steps(tmp_path, "clis-small", workspace=named, pictures={"regions": "mine"})
    assert f"clis gen-regions --detector specialised-small -o {tmp_path / 'mine'}" in shown
    shown = steps(tmp_path, "clis-small", workspace=named, pictures={"regions": "full-image"})
    assert shown == ["clis build-images", "clis train"]


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        ("pictures/train/n02084071", "build-imagenet-subset"),
        ("pictures/imagenet21k_train", "build-imagenet-subset"),
        ("pictures/train/dog", "build-images"),
        ("pictures", "build-images"),
    ],
)
def test_the_build_by_the_look_of_the_source(tmp_path: Path, entry: str, command: str) -> None:
    (tmp_path / entry).mkdir(parents=True)
    named = {"pictures": ["pictures"], "shards": "shards"}
    assert steps(tmp_path, "clis-small", workspace=named)[0] == f"clis {command}"


@pytest.mark.parametrize(("name", "command"), [("a.tar.gz", "build-imagenet-subset"), ("a.csv", "build-images")])
def test_files_of_pictures(tmp_path: Path, name: str, command: str) -> None:
    (tmp_path / name).touch()
    named = {"pictures": [name], "shards": "shards"}
    assert steps(tmp_path, "clis-small", workspace=named)[0] == f"clis {command}"


def test_clis_without_pictures_asks_for_them(tmp_path: Path) -> None:
    assert steps(tmp_path, "clis-small")[0] == "clis init --force --data DIR --pictures PATH"
    assert steps(tmp_path, "clis-small", workspace={"shards": "shards"})[0].startswith("clis crawl-google -o ")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_counterparts(tmp_path: Path, preset: str) -> None:
    shown = steps(tmp_path, preset, workspace=with_pictures(tmp_path, "dog"))
    named = [match[1] for step in shown if (match := re.search(r"--preset (\S+)", step))]
    if takes_whole_pictures(resolve([preset_layer(preset)]).method):
        assert named == []  # there are no regions to be found first
        return
    assert len(named) == 1
    assert named[0] in PRESETS
    clis = named[0].removeprefix("mask-").startswith("clis-")
    assert clis != learns_from_pictures(resolve([preset_layer(preset)]).method)
