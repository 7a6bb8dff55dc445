"""Comparisons: equal budgets, failures that cost no others, shared preparations, resuming, numbers as in the files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.load import Layer, load_config, save_config
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.errors import ConfigError, DataError, Interrupted, TrainingDiverged
from clis_core.jobs import compare as job
from clis_core.jobs import compare_prepare
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.compare import compare
from clis_core.jobs.compare_plan import ComparePlan
from clis_core.jobs.compare_state import open_state
from clis_core.jobs.compare_table import cells, markdown, notes_of
from clis_core.jobs.gen_mosaics import gen_mosaics
from clis_core.jobs.mosaic_pictures import MosaicOptions
from clis_core.jobs.sweep import Outcome, read_outcome
from clis_core.report import SilentReporter
from tests.draw import draw_pictures
from tests.processes import ENVIRONMENT, ROOT, kill_when, run_module


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, drawn_lvis: Path) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    plan = plan_images([draw_pictures(folder / "pictures", each=4)], drawn_lvis / "lvis_v1_train.json")
    build_images(plan, folder / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    return folder / "shards"


class World:
    """Trainings and preparations that take no time: a step of a preset takes `seconds` of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
        self.seconds, self.runs, self.made, self.timed = seconds, list[str](), list[str](), list[str]()
        self.fails: dict[str, Exception] = {}
        monkeypatch.setattr(job, "run_or_resume", self._run)
        monkeypatch.setattr(job, "time_steps", self._time)
        monkeypatch.setattr(job, "report", lambda runs, out, reporter: out.write_text("\n".join(runs)))
        monkeypatch.setattr(compare_prepare, "apart", self._prepare)

    def _time(self, config: RunConfig, run: Path, reporter: Any) -> float:
        self.timed.append(config.preset)
        return self.seconds[config.preset]

    def _run(self, config: RunConfig, run: Path, reporter: Any) -> Outcome:
        if run.name in self.fails:
            raise self.fails[run.name]
        if not (run / "log.jsonl").is_file():
            self.runs.append(run.name)
            (run / "eval-val").mkdir(parents=True)
            (run / "checkpoints").mkdir()
            (run / "checkpoints" / "step-1.pt").touch()
            save_config(config, run / "config.toml")
            rate = config.train.batch / self.seconds[config.preset]
            line = {"kind": "train", "step": config.train.iterations, "images_per_second": rate, "memory_mb": 700.0}
            (run / "log.jsonl").write_text(json.dumps(line) + "\n")
            metrics = {"AP": 20.0 + config.seed, "APr": 10.0 + 3 * config.seed, "APc": None, "APf": 30.0}
            (run / "eval-val" / "metrics.json").write_text(json.dumps({"metrics": metrics, "step": 1}))
        return read_outcome(run, config)

    def _prepare(self, work: Callable[..., Any], *words: Any, tick: Callable[[], None], **_: Any) -> None:
        self.made.append(work.__name__)
        out = next(word for word in words if isinstance(word, Path) and word.parent.name == "prepared")
        if out.name in self.fails:
            raise self.fails[out.name]
        tick()
        out.mkdir(parents=True)
        for name in compare_prepare.FINISHED.values():
            (out / name).touch()


SECONDS = {"baseline-tiny": 0.5, "specialised-tiny": 0.6, "clis-tiny": 1.0, "self-training-small": 2.0}
SECONDS |= {"specialised-small": 1.0, "crt-small": 0.25, "baseline-small": 0.5}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, SECONDS)


def plan_of(root: Path, out: Path, *rows: str, shards: Path | None = None, **other: Any) -> ComparePlan:
    given: dict[str, Any] = {"seeds": (0, 1), "minutes": None, "iterations": 10, "regions": None, **other}
    settings = Layer("test", {"data": {"root": root}, **given.pop("settings", {})})
    return ComparePlan(rows=rows, settings=settings, shards=shards, out=out, **given)


def test_equal_minutes_by_the_time_of_a_step(drawn_lvis: Path, tmp_path: Path, world: World) -> None:
    plan = plan_of(drawn_lvis, tmp_path, "baseline-tiny", "specialised-tiny", minutes=2.0, iterations=None)
    record = compare(plan, reporter=SilentReporter())
    assert record["iterations"] == {"baseline-tiny": 240, "specialised-tiny": 200}
    assert world.timed == ["baseline-tiny", "specialised-tiny"]  # once for all seeds
    assert [row["iterations"] for row in record["rows"]] == [240, 200]
    assert [row["minutes"] for row in record["rows"]] == pytest.approx([2.0, 2.0])
    assert notes_of(record) == []
    world.seconds = {name: 9 * seconds for name, seconds in SECONDS.items()}  # the machine has got slow
    again = compare(
        plan_of(
            *(drawn_lvis, tmp_path, "baseline-tiny", "specialised-tiny"), seeds=(0, 1, 2), minutes=2.0, iterations=None
        ),
        reporter=SilentReporter(),
    )
    assert world.timed == ["baseline-tiny", "specialised-tiny"]  # the number is kept
    assert [row["iterations"] for row in again["rows"]] == [240, 200]
    assert len(notes_of(again)) == 2
    assert "seed 2: 18 minutes, not 2" in notes_of(again)[0]


def test_preparations_are_shared_and_counted(
    drawn_lvis: Path, shards: Path, tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ("self-training-small", "specialised-small", "crt-small")
    plan = plan_of(drawn_lvis, tmp_path, *rows, shards=shards)
    record = compare(plan, reporter=SilentReporter())
    assert world.made == ["gen_regions"]
    assert world.runs == [
        *("specialised-small-seed0", "self-training-small-seed0", "baseline-small-seed0", "crt-small-seed0"),
        *("self-training-small-seed1", "specialised-small-seed1", "baseline-small-seed1", "crt-small-seed1"),
    ]
    state = open_state(plan)
    assert state.record() == record
    assert state.prepared.keys() == {"regions-specialised-small"}
    clock = iter([100.0, 160.0, 190.0])
    with state.counting("regions-specialised-small", lambda: next(clock)) as tick:  # as if stopped and gone on with
        before = state.prepared["regions-specialised-small"]
        tick()
        tick()
        assert open_state(plan).prepared["regions-specialised-small"] == before + 1
    monkeypatch.setattr(job, "_pages", lambda *_: [])
    record = compare(plan, reporter=SilentReporter())
    assert world.made == ["gen_regions"]
    prepared = [row["preparation_minutes"] for row in record["rows"]]
    assert prepared == pytest.approx([10 / 60 + before + 1.5, 0, 5 / 60])


def test_a_failing_run_costs_no_others(drawn_lvis: Path, shards: Path, tmp_path: Path, world: World) -> None:
    world.fails = {
        "baseline-tiny-seed1": TrainingDiverged("Step 3: loss not finite.", hint="--lr 0.1"),
        "regions-specialised-tiny": DataError("A shard is damaged.", hint="Build it again"),
    }
    plan = plan_of(drawn_lvis, tmp_path, "baseline-tiny", "clis-tiny", "specialised-tiny", shards=shards)
    record = compare(plan, reporter=SilentReporter())
    baseline, clis, specialised = record["rows"]
    why = {"error": "TrainingDiverged", "message": "Step 3: loss not finite.", "hint": "--lr 0.1"}
    assert baseline["failed"] == {"1": why}
    assert (list(baseline["seeds"]), baseline["mean"]["AP"]) == (["0"], 20.0)
    assert list(clis["failed"]) == ["0", "1"]
    assert clis["failed"]["1"]["message"] == "regions by specialised-tiny, seed 0: A shard is damaged."
    assert world.made == ["gen_regions"]  # not tried again for the next seed
    assert (specialised["failed"], specialised["mean"]["AP"]) == ({}, 20.5)
    assert [row[-1] for row in cells(record)] == ["1 of 2", "0 of 2", "2 of 2"]
    assert (
        "Failed: baseline-tiny, seed 1: TrainingDiverged: Step 3: loss not finite. Hint: --lr 0.1"
        in (tmp_path / "compare.md").read_text()
    )
    world.fails = {}
    record = compare(plan, reporter=SilentReporter())
    assert not any(row["failed"] for row in record["rows"])
    assert world.made == ["gen_regions", "gen_regions"]


def test_a_stop_is_no_failure(drawn_lvis: Path, tmp_path: Path, world: World) -> None:
    world.fails = {"specialised-tiny-seed0": Interrupted("Stopped by SIGTERM.", hint="Run the same command again.")}
    with pytest.raises(Interrupted):
        compare(plan_of(drawn_lvis, tmp_path, "baseline-tiny", "specialised-tiny"), reporter=SilentReporter())
    assert world.runs == ["baseline-tiny-seed0"]
    (only, other) = json.loads((tmp_path / "compare.json").read_text())["rows"]
    assert (only["mean"]["AP"], other["mean"]["AP"]) == (20.0, None)


def test_the_numbers_are_those_of_the_evaluations(drawn_lvis: Path, tmp_path: Path, world: World) -> None:
    record = compare(plan_of(drawn_lvis, tmp_path, "specialised-tiny", "baseline-tiny"), reporter=SilentReporter())
    assert record == json.loads((tmp_path / "compare.json").read_text())
    assert markdown(record) == (tmp_path / "compare.md").read_text()
    row = record["rows"][0]
    assert (row["mean"]["AP"], row["spread"]["AP"], row["mean"]["APr"], row["mean"]["APc"]) == (20.5, 0.5, 11.5, None)
    assert cells(record)[0] == [
        *("specialised-tiny", "20.5 ± 0.5", "11.5 ± 1.5", "-", "30.0 ± 0.0", "10", "0.1", "0.0", "700", "2 of 2"),
    ]
    assert "not measured here" in markdown(record)
    assert [(paper["preset"], paper["AP"]) for paper in record["paper"]][:2] == [
        ("specialised-tiny", 25.2),
        ("baseline-tiny", 22.0),
    ]
    (page,) = record["reports"]
    assert Path(page).read_text().count("\n") == 3  # of all four runs


def test_pages_of_many_runs(drawn_lvis: Path, tmp_path: Path, world: World) -> None:
    rows = ["baseline-tiny", "specialised-tiny", "fcos-tiny"]
    world.seconds |= {"fcos-tiny": 1.0}
    record = compare(plan_of(drawn_lvis, tmp_path, *rows, seeds=(0, 1, 2)), reporter=SilentReporter())
    assert [Path(page).name for page in record["reports"]] == ["report-1.html", "report-2.html", "report-3.html"]
    assert Path(record["reports"][1]).read_text().split() == [str(tmp_path / "runs" / f"{row}-seed1") for row in rows]


def test_another_comparison_is_refused(drawn_lvis: Path, tmp_path: Path, world: World) -> None:
    compare(plan_of(drawn_lvis, tmp_path, "baseline-tiny", seeds=(0,)), reporter=SilentReporter())
    for other in ({"iterations": 11}, {"iterations": None, "minutes": 1.0}, {"settings": {"train": {"lr": 0.5}}}):
        with pytest.raises(ConfigError, match="another budget or other settings") as caught:
            compare(plan_of(drawn_lvis, tmp_path, "baseline-tiny", seeds=(0,), **other), reporter=SilentReporter())
        assert "-o FOLDER" in (caught.value.hint or "")
    compare(plan_of(drawn_lvis, tmp_path, "baseline-tiny", "specialised-tiny"), reporter=SilentReporter())
    assert len(world.runs) == 4
    (tmp_path / "compare.json").write_text('{"format": 1')
    with pytest.raises(DataError, match="not what clis compare writes"):
        compare(plan_of(drawn_lvis, tmp_path, "baseline-tiny"), reporter=SilentReporter())


def test_other_data_are_refused_wherever_they_lie(drawn_lvis: Path, shards: Path, tmp_path: Path, world: World) -> None:
    out = tmp_path / "out"
    compare(plan_of(drawn_lvis, out, "baseline-tiny", seeds=(0,)), reporter=SilentReporter())
    moved = Path(shutil.copytree(drawn_lvis, tmp_path / "moved"))
    # Pictures come with a preset that learns from them.
    compare(plan_of(moved, out, "baseline-tiny", "clis-tiny", seeds=(0,), shards=shards), reporter=SilentReporter())
    with pytest.raises(ConfigError, match="other data: regions"):
        compare(plan_of(moved, out, "clis-tiny", shards=shards, regions="centre"), reporter=SilentReporter())
    again = plan_images([draw_pictures(tmp_path / "pictures", each=3)], drawn_lvis / "lvis_v1_train.json")
    build_images(again, tmp_path / "others", BuildOptions(workers=1), reporter=SilentReporter())
    with pytest.raises(ConfigError, match="other data: pictures"):
        compare(plan_of(moved, out, "clis-tiny", shards=tmp_path / "others"), reporter=SilentReporter())
    runs = list(world.runs)
    file = moved / "lvis_v1_val.json"
    content = json.loads(file.read_text())
    content["annotations"] = content["annotations"][1:]
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="other data: val annotations") as caught:
        compare(plan_of(moved, out, "baseline-tiny", seeds=(0,)), reporter=SilentReporter())
    assert "-o FOLDER" in (caught.value.hint or "")
    assert world.runs == runs


def compared(folder: Path) -> list[Any]:
    """What two comparisons must have in common: all but times and places."""
    record = json.loads((folder / "compare.json").read_text())
    return [
        {name: row[name] for name in ("preset", "iterations", "mean", "spread", "failed")} for row in record["rows"]
    ]


WORDS = ("clis_cli", "compare", "specialised-tiny", "clis-tiny", "--iterations", "6", "--seeds", "0,1")
FEW = ("--set", "train.batch=2", "--set", "train.checkpoint_every=2", "--set", "train.log_every=1")


@pytest.mark.slow
def test_a_killed_comparison_goes_on_to_the_same_end(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    words = (*WORDS, *FEW, "--data", str(drawn_lvis), "--images", str(shards))
    run_module(*words, "-o", "whole", folder=tmp_path)
    runs = tmp_path / "killed" / "runs"
    moments: list[Callable[[], object]] = [
        lambda: checkpoints_of(runs / "specialised-tiny-seed0"),  # in a training
        (runs.parent / "prepared" / "regions-specialised-tiny").is_dir,  # in a preparation
        lambda: len(checkpoints_of(runs / "clis-tiny-seed0")) > 1,
        (runs / "specialised-tiny-seed1" / "config.toml").is_file,
    ]
    for moment in moments:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "-o", "killed"],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        kill_when(moment, process)
    done = run_module(*words, "-o", "killed", "--json", folder=tmp_path)
    assert compared(tmp_path / "killed") == compared(tmp_path / "whole")
    record = json.loads(done.stdout)
    assert record["rows"][0]["iterations"] == 6
    for name in ("specialised-tiny-seed0", "clis-tiny-seed1"):
        (one, other) = ((tmp_path / f / "runs" / name / "log.jsonl").read_text() for f in ("whole", "killed"))
        assert re.findall('sha256 (.*?)"', one)[-1] == re.findall('sha256 (.*?)"', other)[-1]
        metrics = json.loads((runs / name / "eval-val" / "metrics.json").read_text())["metrics"]
        row = next(row for row in record["rows"] if name.startswith(row["preset"]))
        assert row["seeds"][name[-1]]["AP"] == metrics["AP"]
    assert Path(record["reports"][0]).stat().st_size > 10_000


@pytest.mark.slow
def test_every_kind_of_preparation(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    """The mosaics lie there, since a detector of one step trusts no box."""
    mosaics = tmp_path / "out" / "prepared" / "mosaics-baseline-small"
    truth = drawn_lvis / "lvis_v1_train.json"
    gen_mosaics(shards, truth, mosaics, MosaicOptions("fixed"), checkpoint=None, reporter=SilentReporter())
    small = {"detector.backbone.init": "none", "detector.short_side": 64, "detector.long_side": 96}
    small |= {"data.short_sides": [64], "data.long_side": 96, "train.batch": 1, "data.workers": 0}
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    rows = ("mosaicos-scenes-small", "crt-small", "self-training-small", "baseline-small+pretrained")
    given = ("--data", str(drawn_lvis), "--images", str(shards), "--seeds", "0", "--set", "pictures.min_score=0")
    done = run_module(
        *("clis_cli", "compare", *rows, *given, *settings, "--iterations", "1", "-o", "out", "--json"), folder=tmp_path
    )
    record = json.loads(done.stdout)
    assert not any(row["failed"] for row in record["rows"])
    assert record["prepared_minutes"].keys() == {"regions-specialised-small", "pretrain-baseline-small"}
    assert all(row["preparation_minutes"] > 0 and row["memory_mb"] > 100 for row in record["rows"])
    runs = tmp_path / "out" / "runs"
    config = load_config(runs / "mosaicos-scenes-small-seed0" / "config.toml")
    assert config.train.start == runs / "mosaicos-mosaics-small-seed0"


@pytest.mark.slow
def test_steps_are_timed_on_the_data_and_nothing_of_it_stays(drawn_lvis: Path, tmp_path: Path) -> None:
    words = ("clis_cli", "compare", "baseline-tiny", "--data", str(drawn_lvis), "--minutes", "0.01", "--seeds", "0")
    record = json.loads(run_module(*words, "-o", "out", "--json", folder=tmp_path).stdout)
    seconds = record["step_seconds"]["baseline-tiny"]
    assert record["rows"][0]["iterations"] == max(1, int(0.6 / seconds))
    assert {path.name for path in (tmp_path / "out" / "runs").iterdir()} == {".cache", "baseline-tiny-seed0"}
