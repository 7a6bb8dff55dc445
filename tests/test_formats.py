"""docs/formats.md says what the code writes: each field, each type, and nothing that is not there."""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.workspace import checkpoints_of
from clis_core.data.annotations import load_annotations
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.record import Record
from clis_core.data.regions import REGION
from clis_core.data.shards.manifest import INDEX
from clis_core.data.shards.reader import Shards
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.fetch_shards import fetch_shards
from clis_core.jobs.gen_regions import RegionOptions, gen_regions
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.data.shards.server import serving
from tests.draw import draw_lvis, draw_pictures

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"
QUIET = SilentReporter()


@cache
def sections() -> dict[str, list[list[str]]]:
    """The rows of the tables below each heading, cell by cell."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| `"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            found.setdefault(heading, []).append([cell.strip().replace(r"\|", "|") for cell in cells])
    return found


def documented(heading: str) -> set[str]:
    return {name for row in sections()[heading] for name in re.findall(r"`([^`]+)`", row[0])}


def types(heading: str) -> dict[str, str]:
    return {row[0].strip("`"): row[1] for row in sections()[heading]}


def named_within(heading: str, field: str) -> set[str]:
    """What the explanation of a field names."""
    row = next(row for row in sections()[heading] if f"`{field}`" in row[0])
    return set(re.findall(r"`([^`]+)`", row[-1]))


def keys(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {key for record in records for key in record}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_lvis(tmp_path_factory.mktemp("formats") / "data", train=12, val=6)


@pytest.fixture(scope="module")
def shards(data: Path) -> Path:
    pictures, out = draw_pictures(data.parent / "pictures", each=4), data.parent / "shards"
    (next(pictures.iterdir()) / "empty.jpg").write_bytes(b"")
    (pictures / "nothing").mkdir()
    (pictures / "nothing" / "a.jpg").write_bytes(b"")
    build_images(plan_images([pictures], data), out, BuildOptions(), reporter=QUIET)
    return out


class World(NamedTuple):
    """A run folder, and the regions that its detector gave."""

    run: Path
    regions: Path


@pytest.fixture(scope="module")
def world(data: Path, shards: Path) -> World:
    regions, run = data.parent / "regions", data.parent / "runs" / "clis"
    loop = {"iterations": 2, "batch": 2, "log_every": 1, "ema": 0.9, "checkpoint_every": 1}
    settings = {
        "data": {"root": data, "workers": 0},
        "pictures": {"shards": shards, "regions": "centre"},
        "train": loop,
    }
    config = resolve([preset_layer("mask-clis-tiny"), Layer("test", settings)])
    train(config, run, reporter=QUIET)
    evaluate_run(run, config, fixed=True, save_json=True, reporter=QUIET)
    gen_regions(run / "best.pt", shards, regions, RegionOptions(), reporter=QUIET)
    return World(run, regions)


def test_shards(shards: Path, tmp_path: Path) -> None:
    names = {path.name for path in shards.iterdir()}
    assert names == documented("Shards") - {"00001.tar", "origin.json"}
    with serving(shards) as site:
        fetch_shards(site.address, tmp_path / "left", leave_tars=True, reporter=QUIET)
    assert {path.name for path in (tmp_path / "left").iterdir()} - names == {"origin.json"}
    assert (
        set(re.findall(r"`(\w+)`", next(r for r in sections()["Shards"] if "origin" in r[0])[1]))
        == read(tmp_path / "left" / "origin.json").keys()
    )
    manifest = read(shards / "manifest.json")
    heading = "Shards: manifest.json"
    assert manifest.keys() == documented(heading)
    assert keys(manifest["shards"]) == named_within(heading, "shards")
    assert keys(manifest["categories"]) == named_within(heading, "categories") - {"r", "c", "f"}
    refused = lines(shards / "refused.jsonl")
    assert refused
    assert {"label", "name", "reason"} <= keys(refused) <= documented("Shards: refused.jsonl")
    matching, heading = read(shards / "matching.json"), "Shards: matching.json"
    assert matching.keys() == documented(heading)
    for name in ("matched", "unmatched"):
        assert keys(matching[name]) == named_within(heading, name)
    assert matching["ambiguous"] == []


def test_members_of_a_shard(shards: Path) -> None:
    data = (shards / "00000.tar").read_bytes()
    assert len(data) % 10_240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [f"KEY{Path(member.name).suffix}" for member in members[:3]] == [
        row[0].strip("`") for row in sections()["Shards: members of a tar"]
    ]
    assert {(m.mode, m.uid, m.gid, m.mtime, m.type) for m in members} == {(0o644, 0, 0, 0, tarfile.REGTYPE)}
    record = json.loads(data[members[1].offset_data : members[1].offset_data + members[1].size])
    of_names = {"label"}
    assert record.keys() == documented("Shards: KEY.json") - {"WordNet id", "name", "the web", "any"} | of_names


def test_arrays(shards: Path, data: Path) -> None:
    assert types("Shards: index") == {name: f"`{INDEX[name].str}`" for name in INDEX.names or ()}
    assert np.load(shards / "00000.index.npy").dtype == INDEX
    assert f"one entry of {INDEX.itemsize} bytes a sample" in PAGE.read_text(encoding="utf-8")
    base = {name: REGION[name].base.str for name in REGION.names or ()}
    assert types("Regions: 00000.regions.npy") == {
        name: f"`{kind}`" + (" × 4" if name == "box" else "") for name, kind in base.items()
    }
    assert f"One entry of {REGION.itemsize} bytes for each sample" in PAGE.read_text(encoding="utf-8")

    cache_folder = data.parent / "cache"
    annotations = next(data.glob("*train.json"))
    folder = load_annotations(annotations, cache_folder).folder
    assert folder is not None
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    assert {name: f"`{array.dtype.str}`" for name, array in arrays.items()} == types("Annotation cache: arrays")
    shapes = {row[0].strip("`"): row[2].count(",") + 1 for row in sections()["Annotation cache: arrays"]}
    assert {name: array.ndim for name, array in arrays.items()} == shapes
    facts, heading = read(folder / "facts.json"), "Annotation cache: facts.json"
    assert facts.keys() == documented(heading)
    assert facts["facts"].keys() == named_within(heading, "facts") - {"neg_category_ids"}


def test_a_file_that_was_seen(data: Path) -> None:
    annotations, cache_folder = data / "lvis_v1_val.json", data.parent / "seen"
    os.utime(annotations, (1, 1))  # of a file as young as this one, nothing is remembered
    load_annotations(annotations, cache_folder)
    (seen,) = cache_folder.glob("*.seen.json")
    assert read(seen).keys() == documented("Annotation cache: seen.json")


def test_records_of_a_crawl(tmp_path: Path) -> None:
    whole = {
        "category": 1,
        "rank": 2,
        **dict.fromkeys(("address", "query", "backend", "time", "outcome", "page", "licence", "creator"), "x"),
        **dict.fromkeys(("title", "detail", "sha256", "hash"), "x"),
        **dict.fromkeys(("status", "size", "height", "width"), 3),
        "passing": True,
    }
    record = Record(**whole)
    assert asdict(record).keys() == {field.name for field in fields(Record)} == whole.keys()
    bare = Record(1, 3, "x", None, query="", backend="x", licence=None, creator=None, title=None, time="x", outcome="x")
    with CrawlFolder(tmp_path, {"command": "test"}) as folder:
        folder.add(record)
        folder.add(bare)
    first, second = lines(tmp_path / ".crawl" / "records.jsonl")
    assert first.keys() == documented("Crawls: records.jsonl")
    assert {"licence", "query"} == {key for key, value in second.items() if not value}


@pytest.mark.slow
def test_regions(world: World, shards: Path, tmp_path: Path) -> None:
    heading = "Regions: regions.json"
    assert {path.name for path in world.regions.iterdir()} == {"00000.regions.npy", "regions.json"}
    assert np.load(world.regions / "00000.regions.npy").dtype == REGION
    assert read(world.regions / "regions.json").keys() == documented(heading)
    given = tmp_path / "list.jsonl"
    (line,) = re.findall(r'`(\{"key": .*?\})`', PAGE.read_text(encoding="utf-8"))
    given.write_text(line.replace("n02084071_1", Shards(shards).key(0)) + "\n", encoding="utf-8")
    gen_regions(None, shards, tmp_path / "out", RegionOptions(rule="from-file", file=given), reporter=QUIET)
    of_detector = {"detector_sha256", "detector_step", "short_side", "long_side", "max_enlarge"}
    assert read(tmp_path / "out" / "regions.json").keys() == documented(heading) - of_detector | {"file_sha256"}


@pytest.mark.slow
def test_a_run_folder(world: World) -> None:
    names = {path.name + "/" * path.is_dir() for path in world.run.iterdir()}
    names |= {f"checkpoints/{path.name}" for path in checkpoints_of(world.run)[:1]}
    expected = documented("Run folder") - {"tensorboard/", "eval-train/", "train.best"}
    assert {re.sub(r"step-\d+", "step-00001000", name) for name in names} - {"checkpoints/"} == expected
    log = lines(world.run / "log.jsonl")
    assert all(documented("Run folder: lines of log.jsonl") <= line.keys() for line in log)
    steps = [line for line in log if line["kind"] == "train"]
    assert keys(steps) == documented("Run folder: lines of kind train") | {"kind", "time"}
    for line in steps:
        terms = [row for row in sections()["Run folder: lines of kind train"] if row[1].startswith(("weighted", "of "))]
        losses = [name for row in terms for name in re.findall(r"`(\w+)`", row[0]) if name != "images_per_second"]
        assert sum(line[name] for name in losses) == pytest.approx(line["loss"])
    assert {line["kind"] for line in log} <= {"train", "eval", "info", "warning"}
    assert read(world.run / "pictures.json").keys() == documented("Run folder: pictures.json")


@pytest.mark.slow
def test_checkpoints(world: World) -> None:
    heading = "Run folder: checkpoints"
    content = torch.load(checkpoints_of(world.run)[-1], weights_only=True)
    assert set(content) == documented(heading)
    best = [name for row in sections()[heading][:5] for name in re.findall(r"`(\w+)`", row[0])]
    assert list(torch.load(world.run / "best.pt", weights_only=True)) == [*best, "sha256"]


@pytest.mark.slow
def test_an_evaluation(world: World) -> None:
    folder = world.run / "eval-val"
    assert read(folder / "metrics.json").keys() == documented("Evaluation: metrics.json")
    for name in ("detections.npz", "detections-fixed.npz"):
        with np.load(folder / name, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        masks = types("Evaluation: masks in detections.npz") if name == "detections.npz" else {}
        wanted = types("Evaluation: detections.npz") | masks
        assert {key: f"`{array.dtype.str}`" for key, array in arrays.items()} == wanted
        header, heading = json.loads(arrays["header"].tobytes()), "Evaluation: header of detections.npz"
        assert header.keys() == documented(heading)
        assert header["meta"].keys() == named_within(heading, "meta")
        assert f"`{header['format']}`, {header['version']}" in PAGE.read_text(encoding="utf-8")
    others = {"calibration.json", "detections.json", "mistakes.json", "per_class.json"}
    text = PAGE.read_text(encoding="utf-8")
    for name in others:
        assert (folder / name).is_file()
        assert f"`{name}`" in text
