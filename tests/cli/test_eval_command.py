"""`clis eval`: a run or a file of detections, as a table or as JSON."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clis_core.config.load import command_layer, load_config, preset_layer, resolve, save_config

VALUES = {"AP": 12.34, "AP50": 20.0, "APr": None, "AR@100": 30.0, "AR@300": 33.3}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    config = resolve([preset_layer("baseline-tiny"), command_layer(["data.root=/data"])])
    for name in ("one", "two"):
        save_config(config, tmp_path / "runs" / name / "config.toml")
    (tmp_path / "clis.toml").touch()
    return tmp_path / "runs"


@pytest.fixture
def calls(fake_job: Any) -> Any:
    return fake_job("clis_core.jobs.evaluate", "evaluate_run", SimpleNamespace(values=VALUES))


@pytest.fixture
def file_calls(fake_job: Any) -> Any:
    return fake_job("clis_core.jobs.evaluate_file", "evaluate_file", SimpleNamespace(values=VALUES))


def test_the_newest_run_as_a_table(clis: Any, calls: Any, runs: Path) -> None:
    result = clis("eval")
    assert result.code == 0
    names, numbers = [line.split() for line in result.out.splitlines() if "AP50" in line or "12.3" in line]
    assert names == ["AP", "AP50", "APr", "AR@300"]
    assert numbers == ["12.3", "20.0", "-", "33.3"]
    (call,) = calls
    assert call["words"] == (runs / "two", load_config(runs / "two" / "config.toml"))
    assert (call["split"], call["checkpoint"], call["save_json"]) == ("val", "last", False)


def test_options_reach_the_job(clis: Any, calls: Any, runs: Path) -> None:
    words = "--split train --engine lvis --checkpoint best --save-json --device cpu --set eval.batch=2"
    assert clis("eval", "one", *words.split()).code == 0
    (call,) = calls
    folder, config = call["words"]
    assert folder == runs / "one"
    assert (config.eval.engine, config.eval.batch, config.device) == ("lvis", 2, "cpu")
    assert config.preset == "baseline-tiny"
    assert (call["split"], call["checkpoint"], call["save_json"]) == ("train", "best", True)


def test_json_is_alone_on_stdout(clis: Any, calls: Any, runs: Path) -> None:
    assert json.loads(clis("eval", "--json").out) == VALUES


def test_a_misspelt_setting_is_found_before_the_job_starts(clis: Any, calls: Any, runs: Path) -> None:
    result = clis("eval", "--set", "eval.bach=2")
    assert result.code == 3
    assert "did you mean eval.batch?" in result.err
    assert calls == []


def test_a_missing_run(clis: Any, calls: Any) -> None:
    for words in ((), ("nope",)):
        result = clis("eval", *words)
        assert result.code == 5
        assert "clis init" in result.err


def test_a_file_of_detections(clis: Any, file_calls: Any) -> None:
    words = "--detections d.json --gt gt.json --train-gt train.json --engine lvis --json"
    result = clis("eval", *words.split())
    assert json.loads(result.out) == VALUES
    (call,) = file_calls
    assert call["words"] == (Path("d.json"), Path("gt.json"))
    assert (call["train_gt"], call["engine"]) == (Path("train.json"), "lvis")


@pytest.mark.parametrize(
    "words",
    [
        "--detections d.json",
        "--gt g.json",
        "one --detections d.json --gt g.json",
        "--detections d.json --gt g.json --save-json",
        "--detections d.json --gt g.json --set eval.batch=2",
    ],
)
def test_options_that_do_not_go_together(clis: Any, file_calls: Any, words: str) -> None:
    assert clis("eval", *words.split()).code == 2
    assert file_calls == []


def test_dry_runs_touch_nothing(clis: Any, calls: Any, file_calls: Any, runs: Path, tmp_path: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    result = clis("eval", "one", "--dry-run", "--checkpoint", "best")
    assert result.code == 0
    assert 'preset = "baseline-tiny"' in result.out
    assert str(runs / "one" / "best.pt") in result.err
    result = clis("eval", "--detections", "d.json", "--gt", "g.json", "--dry-run")
    assert result.code == 0
    assert "d.json  (missing)" in result.err
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    assert calls == file_calls == []
