"""`clis gen-regions`: what it leaves, that it goes on exactly after any end, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clis_core import __version__
from clis_core.batch import RawImage, fit_size
from clis_core.categories import Categories, Category
from clis_core.data.regions import REGIONS, RegionFiles, shard_hashes
from clis_core.data.shards.pixels import decode_picture
from clis_core.data.shards.reader import Shards
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.label_regions import LabelRegion, label_regions
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.files import locked
from clis_core.jobs import gen_regions as job
from clis_core.jobs import region_finders
from clis_core.jobs.gen_regions import PREVIEW, STAGING, RegionOptions, RegionResult, gen_regions
from clis_core.report import SilentReporter
from tests.data.painted import CATEGORIES, painted_shards
from tests.jobs.region_world import checkpoint
from tests.processes import ENVIRONMENT, TORCHRUN, kill_when, run_module

COUNT = 40


class Killed(BaseException):
    """The end of a process."""


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.steps: list[tuple[int, int | None]] = []

    def info(self, text: str) -> None:
        self.texts.append(text)

    def warn(self, text: str) -> None:
        self.texts.append(text)

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        self.steps.append((done, total))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return painted_shards(tmp_path_factory.mktemp("pictures") / "shards", COUNT, regions=False)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("detector") / "base.pt")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "BLOCK", 5)


def make(
    detector: Path | None, shards: Shards, out: Path, reporter: SilentReporter | None = None, **options: Any
) -> RegionResult:
    how = RegionOptions(**{"workers": 0, "batch": 3, "max_enlarge": 10.0, **options})
    return gen_regions(detector, shards.folder, out, how, reporter=reporter or SilentReporter())


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def entries(out: Path, shards: Shards) -> np.ndarray:
    return RegionFiles(out, shards.folder, shards.manifest).entries()


def test_progress_ends_once(shards: Shards, base: Path, tmp_path: Path) -> None:
    heard = Heard()
    make(base, shards, tmp_path / "r", heard)
    assert heard.steps == sorted(set(heard.steps))
    assert heard.steps[-1] == (COUNT, COUNT)


@pytest.fixture(scope="module")
def whole(shards: Shards, base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of an undisturbed run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "BLOCK", 5)
        out = tmp_path_factory.mktemp("whole") / "regions"
        make(base, shards, out)
    return content(out)


def labels(shards: Shards) -> list[int]:
    return [shards.categories[int(label) - 1].id for label in shards.labels]


def seen(shards: Shards, number: int, detector: FasterRCNN) -> RawImage:
    """A picture, decoded no larger than the detector needs it."""
    size = fit_size(*shards.size(number), detector.config.short_side, detector.config.long_side)
    return RawImage(decode_picture(shards, number, min(size)), size)


@pytest.mark.parametrize("rule", ["rank-first", "max-score", "max-size"])
def test_regions_are_those_of_the_detector(shards: Shards, base: Path, tmp_path: Path, rule: Any) -> None:
    result, heard = make(base, shards, tmp_path / "r", rule=rule, batch=1), Heard()
    detector, categories, _ = detector_from_checkpoint(base)
    found = entries(tmp_path / "r", shards)
    known = 0
    for number, category in enumerate(labels(shards)):
        entry = found[number]
        if category == 9:  # the detector does not know it
            assert (entry["box"].tolist(), bool(entry["fallback"]), int(entry["rank"])) == ([0, 0, 1, 1], True, 0)
            continue
        (region,) = label_regions(detector, [seen(shards, number, detector)], [categories.label(category)], rule)
        assert float(entry["score"]) == pytest.approx(region.score, rel=1e-3)
        assert int(entry["rank"]) == region.rank
        assert bool(entry["fallback"]) == (region.box is None)
        wanted = [0, 0, 1, 1] if region.box is None else region.box.tolist()
        np.testing.assert_allclose(entry["box"], wanted, atol=1e-3)
        known += region.box is not None
    assert (result.pictures, result.fallbacks) == (COUNT, COUNT - known)
    assert known > 20
    scored = found[(found["rank"] > 0) & ~found["fallback"]]
    assert result.mean_score == pytest.approx(scored["score"].mean(), rel=1e-5)
    make(base, shards, tmp_path / "r", heard, rule=rule)
    assert f"{COUNT - known} of {COUNT} pictures: nothing sensible found, the whole picture taken." in heard.texts


def test_what_is_written_down(shards: Shards, base: Path, whole: dict[str, bytes]) -> None:
    assert sorted(whole) == ["00000.regions.npy", "00001.regions.npy", "00002.regions.npy", REGIONS]
    assert json.loads(whole[REGIONS]) == {
        "format": 1,
        "clis": __version__,
        "rule": "rank-first",
        "detector_sha256": fingerprint(detector_from_checkpoint(base).detector.state_dict()),
        "detector_step": 7,
        "short_side": 64,
        "long_side": 128,
        "max_enlarge": 10.0,
        "shards": shard_hashes(shards.manifest),
    }


@pytest.mark.parametrize("options", [{"workers": 2}, {"workers": 1, "preview": 3}])
def test_the_same_for_any_number_of_workers(
    shards: Shards, base: Path, whole: dict[str, bytes], tmp_path: Path, options: dict[str, int]
) -> None:
    make(base, shards, tmp_path / "r", **options)
    found = content(tmp_path / "r")
    assert {name: found[name] for name in whole} == whole
    assert (PREVIEW in found) == ("preview" in options)


@pytest.mark.parametrize("written", [0, 1, 4, 7, 8, 9, 10])
def test_a_killed_run_goes_on(
    shards: Shards, base: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """There are eight blocks, then three parts, then regions.json."""
    out, left = tmp_path / "r", [written]
    write = job.write_part

    def dying(path: Path, found: np.ndarray) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        write(path, found)

    monkeypatch.setattr(job, "write_part", dying)
    with pytest.raises(Killed):
        make(base, shards, out)
    assert not (out / REGIONS).exists()
    monkeypatch.setattr(job, "write_part", write)
    heard = Heard()
    make(base, shards, out, heard)
    assert content(out) == whole
    blocks = [len(block.numbers) for block in job.blocks_of(shards, out / STAGING)]
    assert len(blocks) == 8
    if written < 8:
        kept = sum(blocks[:written])
        assert kept < heard.steps[0][0] <= kept + 3  # what was there is not made again
        assert heard.steps[-1] == (COUNT, COUNT)
    else:
        assert heard.steps == []


def test_a_run_that_was_killed_at_the_very_end_is_finished(
    shards: Shards, base: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r"

    def dying(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(job.shutil, "rmtree", dying)
        with pytest.raises(Killed):
            make(base, shards, out)
    assert (out / STAGING).is_dir()
    heard = Heard()
    make(base, shards, out, heard)
    assert content(out) == whole
    assert f"{out} is finished already." in heard.texts
    assert heard.steps == []


def test_a_finished_folder_is_left_as_it_is(shards: Shards, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    first = make(base, shards, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert make(base, shards, out, batch=1, workers=1) == first
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_within_a_batch(
    shards: Shards, base: Path, whole: dict[str, bytes], tmp_path: Path, number: signal.Signals
) -> None:
    class Signalling(Heard):
        def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
            super().progress(task, done, total, figures)
            if done >= 12 and len(self.texts) == 0:
                self.texts.append("sent")
                os.kill(os.getpid(), number)

    heard = Signalling()
    with pytest.raises(Interrupted, match=rf"Stopped by {number.name} after 1\d of 40 pictures") as caught:
        make(base, shards, tmp_path / "r", heard)
    assert "again" in (caught.value.hint or "")
    assert len(list((tmp_path / "r" / STAGING).glob("*.npy"))) == 2
    make(base, shards, tmp_path / "r")
    assert content(tmp_path / "r") == whole


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"seed": 1}, "another detector_sha256"),
        ({"rule": "max-score"}, "another rule"),
        ({"short_side": 96}, "another short_side, long_side"),
        ({"max_enlarge": 1.5}, "another max_enlarge"),
        ({"rule": "centre"}, "another rule"),
    ],
)
def test_regions_that_were_made_otherwise_are_kept(
    shards: Shards,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    finished: bool,
    other: dict[str, Any],
    said: str,
) -> None:
    out, other = tmp_path / "r", dict(other)
    if finished:
        make(base, shards, out)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(job, "_join", lambda *_: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                make(base, shards, out)
    before = content(out)
    file = checkpoint(tmp_path / "other.pt", other.pop("seed")) if "seed" in other else base
    with pytest.raises(DataError, match=said) as caught:
        make(None if other.get("rule") == "centre" else file, shards, out, **other)
    assert caught.value.hint == "Choose another folder: -o FOLDER"
    assert content(out) == before


def test_regions_of_other_shards_are_kept(shards: Shards, base: Path, tmp_path: Path) -> None:
    make(base, shards, tmp_path / "r")
    other = painted_shards(tmp_path / "other", 12, regions=False)
    with pytest.raises(DataError, match="another shards"):
        make(base, other, tmp_path / "r")


def test_a_folder_in_use_is_left_alone(shards: Shards, base: Path, tmp_path: Path) -> None:
    (tmp_path / "r" / STAGING).mkdir(parents=True)
    with (
        locked(tmp_path / "r" / STAGING / "lock"),
        pytest.raises(DataError, match="another process is making regions"),
    ):
        make(base, shards, tmp_path / "r")
    assert make(base, shards, tmp_path / "r").pictures == COUNT


def test_shards_are_not_written_into(shards: Shards, base: Path) -> None:
    before = content(shards.folder)
    with pytest.raises(DataError, match="which never change"):
        make(base, shards, shards.folder / ".." / shards.folder.name)
    assert content(shards.folder) == before


@pytest.mark.parametrize("damage", ["block", "plan"])
def test_a_damaged_beginning_is_named(
    shards: Shards, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    out = tmp_path / "r"
    with monkeypatch.context() as patch:
        patch.setattr(job, "_join", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            make(base, shards, out)
    file = out / STAGING / "plan.json" if damage == "plan" else sorted((out / STAGING).glob("*.npy"))[2]
    file.write_bytes(b"{")
    with pytest.raises(DataError, match=file.name) as caught:
        make(base, shards, out)
    assert "emove" in (caught.value.hint or "")


def test_a_smaller_size_is_the_detectors(shards: Shards, base: Path, tmp_path: Path) -> None:
    make(base, shards, tmp_path / "r", short_side=48, batch=1)
    about = json.loads((tmp_path / "r" / REGIONS).read_text())
    assert (about["short_side"], about["long_side"]) == (48, 96)
    detector, categories, _ = detector_from_checkpoint(base)
    detector.config = detector.config.model_copy(update={"short_side": 48, "long_side": 96})
    found = entries(tmp_path / "r", shards)
    for number, category in enumerate(labels(shards)):
        if category != 9:
            (region,) = label_regions(detector, [seen(shards, number, detector)], [categories.label(category)])
            assert float(found[number]["score"]) == pytest.approx(region.score, rel=1e-3)


def test_small_pictures_are_not_enlarged_further(shards: Shards, base: Path, tmp_path: Path) -> None:
    """Those that are small, alone; the others have the detector's size."""
    sides = [min(shards.size(number)) for number in range(COUNT)]
    most = 64 / sorted(set(sides))[len(set(sides)) // 2] - 1e-3
    detector, categories, _ = detector_from_checkpoint(base)
    make(base, shards, tmp_path / "r", max_enlarge=most, batch=1)
    found = entries(tmp_path / "r", shards)
    kinds = set()
    for number, category in enumerate(labels(shards)):
        if category == 9:
            continue
        size = fit_size(*shards.size(number), min(64, round(most * sides[number])), 128)
        kinds.add(min(size) < 64)
        image = RawImage(decode_picture(shards, number, min(size)), size)
        (region,) = label_regions(detector, [image], [categories.label(category)])
        assert float(found[number]["score"]) == pytest.approx(region.score, rel=1e-3)
    assert kinds == {True, False}


def test_scores_of_fallbacks_are_not_in_the_mean(
    shards: Shards, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(detector: FasterRCNN, images: list[Any], classes: list[int], rule: str) -> list[LabelRegion]:
        return [LabelRegion(None if label == 1 else torch.tensor([0, 0, 0.5, 1]), 0.9 / label, 4) for label in classes]

    monkeypatch.setattr(region_finders, "label_regions", found)
    result = make(base, shards, tmp_path / "r")
    assert (result.fallbacks, result.mean_score) == (20, pytest.approx((0.45 + 0.3) / 2))
    entry = entries(tmp_path / "r", shards)[labels(shards).index(3)]
    assert (entry["box"].tolist(), float(entry["score"]), int(entry["rank"])) == ([0, 0, 1, 1], pytest.approx(0.9), 4)


@pytest.mark.parametrize(("rule", "box"), [("full-image", [0, 0, 1, 1]), ("centre", [0.1, 0.1, 0.9, 0.9])])
def test_rules_without_a_detector(shards: Shards, tmp_path: Path, rule: Any, box: list[float]) -> None:
    result = make(None, shards, tmp_path / "r", rule=rule)
    assert (result.pictures, result.fallbacks, result.mean_score) == (COUNT, 0, None)
    np.testing.assert_allclose(entries(tmp_path / "r", shards)["box"], [box] * COUNT, rtol=1e-6)
    about = json.loads((tmp_path / "r" / REGIONS).read_text())
    assert about["rule"] == rule
    assert "detector_sha256" not in about


def test_regions_from_a_list(shards: Shards, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    wanted = {}
    for number in range(0, COUNT, 2):
        low = random.uniform(0, 0.4, 2)
        wanted[shards.key(number)] = [*low.tolist(), *(low + random.uniform(0.1, 0.5, 2)).tolist()]
    file = tmp_path / "list.jsonl"
    file.write_text("".join(json.dumps({"key": k, "box": b}) + "\n" for k, b in wanted.items()))
    heard = Heard()
    result = make(None, shards, tmp_path / "r", heard, file=file)
    assert (result.pictures, result.fallbacks) == (COUNT, COUNT // 2)
    assert "20 of 40 pictures: not in the list, the whole picture taken." in heard.texts
    for number, entry in enumerate(entries(tmp_path / "r", shards)):
        np.testing.assert_allclose(entry["box"], wanted.get(shards.key(number), [0, 0, 1, 1]), rtol=1e-6)
        assert bool(entry["fallback"]) == (number % 2 == 1)
    file.write_text(file.read_text().replace("}\n", "} \n"))
    with pytest.raises(DataError, match="another file_sha256"):
        make(None, shards, tmp_path / "r", file=file)


def test_a_list_of_other_pictures_is_refused(shards: Shards, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("key,x1,y1,x2,y2\nn1/n1_5.JPEG,0,0,1,1\n")
    with pytest.raises(
        DataError, match=r"first key is 'n1/n1_5.JPEG', the key of the first picture 'n0000000"
    ) as caught:
        make(None, shards, tmp_path / "r", file=file)
    assert "tar tf" in (caught.value.hint or "")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("count", [1, 9, 1000])
def test_the_preview_shows_the_same_pictures_each_time(shards: Shards, base: Path, tmp_path: Path, count: int) -> None:
    heard = Heard()
    make(base, shards, tmp_path / "r", heard, preview=count)
    file = tmp_path / "r" / PREVIEW
    assert f"Look at them: {file}" in heard.texts
    with Image.open(file) as sheet:
        columns = max(1, round(min(count, COUNT) ** 0.5))
        assert sheet.size[0] == columns * 196 + 4
    first = file.read_bytes()
    file.unlink()
    make(base, shards, tmp_path / "r", preview=count)  # of a finished folder
    assert file.read_bytes() == first


def test_refusals(shards: Shards, base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rank-first needs a detector") as caught:
        make(None, shards, tmp_path / "r")
    assert "--detector RUN" in (caught.value.hint or "")
    strangers = Categories([Category(3, "baguette"), Category(77, "yak")])
    with pytest.raises(DataError, match="knows none of the classes"):
        make(checkpoint(tmp_path / "s.pt", categories=strangers), shards, tmp_path / "r")
    with pytest.raises(ConfigError, match="not available"):
        make(base, shards, tmp_path / "r", device="cuda:77")
    assert not (tmp_path / "r").exists()


def test_a_class_of_the_same_id_and_another_name_is_not_known(shards: Shards, tmp_path: Path) -> None:
    mixed = Categories([Category(3, "bagel"), Category(5, "lion"), Category(8, "dog")])
    make(checkpoint(tmp_path / "m.pt", categories=mixed), shards, tmp_path / "r")
    found = entries(tmp_path / "r", shards)
    ranked = {category: found["rank"][np.array(labels(shards)) == category] for category in CATEGORIES.ids}
    assert {c for c, ranks in ranked.items() if (ranks > 0).all()} == {3, 8}
    assert {c for c, ranks in ranked.items() if (ranks == 0).all()} == {5, 9}


def test_a_damaged_picture_is_named(base: Path, tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "s", 4, shards=1, regions=False)
    tar = tmp_path / "s" / "00000.tar"
    data = bytearray(tar.read_bytes())
    start = data.index(b"\xff\xda", 512)
    data[start : start + 60] = bytes(60)
    tar.write_bytes(data)
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"00000\.tar, n\d+_\d: the picture is damaged"):
            make(base, shards, tmp_path / "r", workers=workers)


def command(base: Path, shards: Shards, out: Path) -> list[str]:
    return ["clis_cli", "gen-regions", "--detector", str(base), str(shards.folder), "-o", str(out), "--batch", "3"]


@pytest.mark.slow
def test_killed_without_warning(base: Path, tmp_path: Path) -> None:
    """kill -9 at some moment; the same command ends with the same files."""
    shards = painted_shards(tmp_path / "many", 500, shards=2, regions=False)
    run_module(*command(base, shards, tmp_path / "whole"))
    out = tmp_path / "killed"
    for blocks in (1, 3):
        process = subprocess.Popen(
            [sys.executable, "-m", *command(base, shards, out)],
            env=ENVIRONMENT,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        kill_when(lambda blocks=blocks: len(list((out / STAGING).glob("[0-9]*.npy"))) >= blocks, process)
        assert not (out / REGIONS).exists()
    run_module(*command(base, shards, out))
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_of_torchrun_give_the_files_of_one(base: Path, tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "many", 300, shards=2, regions=False)
    one = run_module(*command(base, shards, tmp_path / "one"), "--json")
    two = run_module(*TORCHRUN, *command(base, shards, tmp_path / "two"), "--json")
    assert content(tmp_path / "two") == content(tmp_path / "one")
    first, second = (json.loads(done.stdout) for done in (one, two))  # one object: the first process alone prints
    assert {k: v for k, v in first.items() if k != "folder"} == {k: v for k, v in second.items() if k != "folder"}
    # What was begun by two goes on with one.
    shutil.copytree(tmp_path / "two", tmp_path / "part")
    refused = run_module(*TORCHRUN, *command(base, shards, tmp_path / "part"), "--rule", "max-size", check=False)
    assert refused.returncode != 0
    assert refused.stderr.count("another rule") == 1  # both processes end, and one says why
