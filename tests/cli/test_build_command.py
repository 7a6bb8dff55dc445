"""`clis build-imagenet-subset` and `clis build-images`: what reaches the jobs, and what reaches the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.workspace import find_workspace
from clis_core.errors import Interrupted
from clis_core.jobs import build_imagenet_subset, build_images
from clis_core.jobs.build_options import BuildOptions
from tests.jobs.building import CATEGORIES, samples, vocabulary
from tests.pack import WNIDS, Item, class_folders, class_tars, draw_items, tar_of_folders, write

OPTIONS = (
    *("--max-per-class", "7", "--workers", "3", "--max-bad-fraction", "0.25", "--min-side", "20"),
    *("--max-side", "640", "--shards", "4", "--seed", "5"),
)
ASKED = BuildOptions(7, 3, 0.25, 20, 640, 4, 5)


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A folder with class tars, class folders and a training json; commands run in it."""
    class_tars(tmp_path / "tars", draw_items())
    class_folders(tmp_path / "folders", [Item(i.label.replace(WNIDS[1], "dog"), i.name, i.data) for i in draw_items()])
    vocabulary(tmp_path / "data" / "train.json")
    return tmp_path


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def noted(monkeypatch: pytest.MonkeyPatch, module: Any, function: str) -> list[tuple[Any, ...]]:
    """Let a job do its work, and keep what it was asked."""
    calls: list[tuple[Any, ...]] = []
    real = getattr(module, function)

    def job(*words: Any, **options: Any) -> Any:
        calls.append((*words, options))
        return real(*words, **options)

    monkeypatch.setattr(module, function, job)
    return calls


def test_options_of_the_subset_reach_the_job(clis: Any, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = noted(monkeypatch, build_imagenet_subset, "plan_subset")
    builds = noted(monkeypatch, build_imagenet_subset, "build_imagenet_subset")
    write(world / "split.txt", b"n02084071\n")
    words = ("tars", "-o", "out", "--lvis", "data/train.json", "--split-file", "split.txt", "--label-from", "tar")
    assert clis("build-imagenet-subset", *words, *OPTIONS).code == 0
    (sources, which, options) = plans[0]
    assert (sources, which) == ([Path("tars")], Path("data/train.json"))
    assert options == {"split_file": Path("split.txt"), "label_from": "tar", "class_list": None}
    assert builds[0][1:3] == (Path("out"), ASKED)


def test_options_of_own_images_reach_the_job(clis: Any, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = noted(monkeypatch, build_images, "plan_images")
    builds = noted(monkeypatch, build_images, "build_images")
    write(world / "map.csv", b"label,category\nx,5\n")
    write(world / "list.csv", b"path,label\n1.jpg,x\n")
    write(world / "elsewhere" / "1.jpg", draw_items()[0].data)
    words = ("list.csv", "-o", "out", "--data", "data", "--map", "map.csv", "--root", "elsewhere")
    assert clis("build-images", *words, *OPTIONS).code == 0
    (sources, data, options) = plans[0]
    assert (sources, data) == ([Path("list.csv")], Path("data"))
    assert (options["map_file"], options["root"]) == (Path("map.csv"), Path("elsewhere"))
    assert builds[0][1:3] == (Path("out"), ASKED)


@pytest.mark.parametrize(("typed", "meant"), [("v1", "v1"), ("v0.5", "v0.5"), ("x.json", Path("x.json"))])
def test_vocabularies(typed: str, meant: object, clis: Any, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary(world / "x.json")
    plans = noted(monkeypatch, build_imagenet_subset, "plan_subset")
    clis("build-imagenet-subset", "tars", "--dry-run", "--lvis", typed)
    assert plans[0][1] == meant


def test_what_is_told(clis: Any, world: Path) -> None:
    shown = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "data/train.json")
    assert shown.code == 0
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert "3 of 5 categories match a class of the class tars (1 of 2 rare, 1 of 1 common, 1 of 2 frequent)." in lines
    assert "  zebra: the source has no n02391049" in lines
    assert "  stop_sign: synset stop_sign.n.01 is not in WordNet 3.0" in lines
    assert any(line.startswith("out: 12 pictures of 3 categories in 1 shard, ") for line in lines)
    write(world / "tars" / "n02391049.tar", (world / "tars" / "n02084071.tar").read_bytes())
    again = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "data/train.json")
    assert again.code == 4
    assert "Error: out is finished already, and was built otherwise: classes was 3 (" in again.err


def test_a_small_part_of_imagenet_is_named(clis: Any, world: Path) -> None:
    few = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "v1", "--dry-run")
    assert "ImageNet-22k, all 21,841 of them, has 997 of these categories" in few.err
    most = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "data/train.json", "--dry-run")
    assert most.code == few.code == 0
    assert "ImageNet-22k" not in most.err


def test_refused_files_are_told(clis: Any, world: Path) -> None:
    class_tars(world / "bad", [*draw_items(WNIDS[:1]), Item(WNIDS[0], "x.JPEG", b"")])
    words = ("build-imagenet-subset", "bad", "-o", "out", "--lvis", "data/train.json")
    stopped = clis(*words)
    assert stopped.code == 4
    assert "1 of 5 files are no usable pictures: 1 empty." in stopped.err
    assert "--max-bad-fraction 0.40" in stopped.err
    shown = clis(*words, "--max-bad-fraction", "0.4")
    assert shown.code == 0
    assert f"Refused: 1 empty. Each one is in {Path('out') / 'refused.jsonl'}." in shown.err


def test_json_is_alone_on_stdout(clis: Any, world: Path) -> None:
    for words in (
        ("build-imagenet-subset", "tars", "--lvis", "data/train.json"),
        ("build-images", "folders", "--data", "data"),
    ):
        result = json.loads(clis(*words, "-o", words[0], "--json").out)
        assert (result["samples"], result["categories"], result["refused"]) == (12, 3, {})
        assert result["bytes"] == sum(path.stat().st_size for path in (world / words[0]).glob("*.tar"))
        assert json.loads(clis(*words, "-o", words[0], "--json").out) == result


def test_a_dry_run_touches_nothing(clis: Any, world: Path) -> None:
    before = everything(world)
    size = sum(path.stat().st_size for path in (world / "tars").iterdir())
    shown = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "data/train.json", "--dry-run")
    assert shown.code == 0
    assert shown.out == ""
    assert "  zebra: the source has no n02391049" in shown.err
    assert "would write  out" in shown.err
    record = json.loads(clis("build-imagenet-subset", "tars", "--lvis", "data/train.json", "--dry-run", "--json").out)
    assert (record["categories"], record["bytes"], record["folder"]) == (5, size, None)
    assert record["matched"]["n02084071"] == {"id": 5, "name": "dog"}
    assert record["coverage"]["r"] == {"matched": 1, "of": 2}
    assert {entry["name"] for entry in record["unmatched"]} == {"zebra", "stop_sign"}
    shown = clis("build-images", "folders", "--data", "data", "--dry-run")
    assert "  dog: dog (id 5) by name" in shown.err
    record = json.loads(clis("build-images", "folders", "--data", "data", "--dry-run", "--json").out)
    assert {entry["label"]: entry["how"] for entry in record["labels"]} == {
        "dog": "name",
        WNIDS[0]: "wnid",
        WNIDS[2]: "wnid",
    }
    assert everything(world) == before


def test_a_dry_run_without_a_source_is_about_all_of_imagenet(clis: Any) -> None:
    shown = clis("build-imagenet-subset", "--dry-run", "--lvis", "v0.5")
    assert shown.code == 0
    lines = shown.err.splitlines()
    assert lines[0].startswith("1024 of 1230 categories match one of ImageNet's 21,841 classes (")
    assert len(lines) == 1 + 1230 - 1024
    record = json.loads(clis("build-imagenet-subset", "--dry-run", "--json").out)
    assert len(record["matched"]) == 997
    assert len(record["unmatched"]) == 206


def test_what_only_reading_tells_is_not_claimed(clis: Any, world: Path) -> None:
    tar_of_folders(world / "whole.tar.gz", draw_items(), "w:gz")
    words = ("build-imagenet-subset", "whole.tar.gz", "--lvis", "data/train.json", "--dry-run")
    lines = clis(*words).err.splitlines()
    assert lines[0].startswith("4 of 5 categories match one of ImageNet's 21,841 classes (")
    assert "Which of them the tar of class folders has is known when all of it has been read." in lines
    assert json.loads(clis(*words, "--json").out)["classes_known"] is False


def test_long_lists_are_cut_before_a_build_and_whole_in_a_dry_run(clis: Any, world: Path) -> None:
    more = [{"id": 100 + k, "name": f"thing {k}"} for k in range(30)]
    vocabulary(world / "data" / "train.json", [*CATEGORIES, *more])
    words = ("build-imagenet-subset", "tars", "--lvis", "data/train.json")
    assert clis(*words, "--dry-run").err.count(": no synset") == 30
    shown = clis(*words, "-o", "out")
    assert shown.err.count(": no synset") == 18
    assert "  ... and 12 more without a class; the manifest has them all." in shown.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("build-imagenet-subset",), 3, "Nothing says where the pictures are"),
        (("build-imagenet-subset", "tars"), 3, "Hint: clis build-imagenet-subset tars -o shards"),
        (("build-imagenet-subset", "nope", "-o", "out"), 4, "nope does not exist"),
        (("build-imagenet-subset", "tars", "-o", "out", "--lvis", "v2"), 3, "--lvis v2: neither v1 nor v0.5"),
        (("build-imagenet-subset", "folders", "-o", "out", "--lvis", "v1", "--label-from", "x"), 3, "label_from='x'"),
        (("build-imagenet-subset", "tars", "-o", "out", "--workers", "0"), 2, "--workers"),
        (("build-imagenet-subset", "tars", "-o", "out", "--max-bad-fraction", "1.5"), 2, "--max-bad-fraction"),
        (("build-imagenet-subset", "tars", "-o", "out", "--seed", "-1"), 2, "--seed"),
        (("build-imagenet-subset", "--dry-run", "--split-file", "x"), 3, "Nothing says where the pictures are"),
        (("build-images", "folders", "-o", "out"), 3, "--data TRAIN_JSON"),
        (("build-images", "folders", "-o", "out", "--data", "nope"), 4, "--data nope does not exist"),
        (("build-images", "folders", "-o", "out", "--data", "folders"), 4, "folders is not a data set"),
        (("build-images", "tars", "-o", "out", "--data", "data", "--root", "x"), 3, "Leave --root out"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(
    words: tuple[str, ...], code: int, message: str, clis: Any, world: Path
) -> None:
    before = everything(world)
    shown = clis(*words)
    assert (shown.code, shown.out) == (code, "")
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert everything(world) == before


def test_a_stop_is_130(clis: Any, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def job(*_: Any, **__: Any) -> None:
        raise Interrupted("Stopped by SIGTERM after 3 files.", hint="Run the same command again to go on.")

    monkeypatch.setattr(build_imagenet_subset, "build_imagenet_subset", job)
    shown = clis("build-imagenet-subset", "tars", "-o", "out", "--lvis", "data/train.json")
    assert (shown.code, shown.out) == (130, "")
    assert shown.err.endswith("Stopped by SIGTERM after 3 files.\nHint: Run the same command again to go on.\n")


def test_a_workspace_needs_no_words(clis: Any, world: Path) -> None:
    (world / "data" / "train.json").rename(world / "data" / "instances_train2017.json")
    assert clis("init", "--data", "data", "--pictures", "tars").code == 0
    assert clis("build-imagenet-subset").code == 0
    workspace = find_workspace(world)
    assert workspace is not None
    assert workspace.shards is not None
    assert len(samples(workspace.shards)) == 12
    shown = clis("shards", "info")
    assert shown.code == 0
    assert "12 pictures in 1 shard" in shown.out
    own = clis("build-images", "folders", "-o", "own")
    assert own.code == 0
    assert "  dog: dog (id 5) by name" in own.err
