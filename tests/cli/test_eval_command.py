"""`clis eval`: a run or a file of detections, as a table or as JSON."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clis_core.config.load import command_layer, load_config, preset_layer, resolve, save_config

VALUES = {"AP": 12.34, "AP50": 20.0, "APr": None, "AR@100": 30.0, "AR@300": 33.3}


def row(number: int, group: str | None, ap: float | None) -> dict[str, Any]:
    best = {"score": 0.1234, "f1": 0.5, "precision": 0.25, "recall": 1.0} if ap else None
    counts = {"train_images": number, "images": 1, "objects": 7, "detections": 50, "judged": 9}
    return {"id": number, "name": f"c{number}", "group": group, **counts, "AP": ap, "AP50": ap, "best_f1": best}


def lost(number: int, group: str | None, found: int) -> dict[str, Any]:
    objects = {"all": 9, "found": found, "Cls": 1, "Loc": 2, "Miss": 6 - found}
    taken = [{"id": 2, "name": "a lot", "group": "f", "objects": 4}, {"id": 3, "name": "b", "group": "f", "objects": 1}]
    return {"id": number, "name": f"c{number}", "group": group, "objects": objects, "taken_for": taken}


COSTS = dict.fromkeys(["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss", "FalsePos", "FalseNeg"], 1.5)
GROUP = {"AP50": 10.0, "objects": {"all": 5}, "dAP50": COSTS}
RECORDS = {
    "per_class": {
        "classes": [row(1, "f", 3.0), row(2, "r", None), row(3, "r", 9.0), row(4, "r", 2.0), row(5, None, 1.0)]
    },
    "mistakes": {
        "score_cut": 0.05,
        "groups": {"all": GROUP, "r": GROUP | {"AP50": None}, "c": GROUP | {"objects": {"all": 0}}, "f": GROUP},
        "classes": [lost(1, "f", 0), lost(2, "r", 5), lost(3, "r", 4), lost(4, "c", 9)],
    },
}
METRICS = SimpleNamespace(values=VALUES, records=RECORDS)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    config = resolve([preset_layer("baseline-tiny"), command_layer(["data.root=/data"])])
    for name in ("one", "two"):
        save_config(config, tmp_path / "runs" / name / "config.toml")
    (tmp_path / "clis.toml").touch()
    return tmp_path / "runs"


@pytest.fixture
def calls(fake_job: Any) -> Any:
    return fake_job("clis_core.jobs.evaluate", "evaluate_run", METRICS)


@pytest.fixture
def file_calls(fake_job: Any) -> Any:
    return fake_job("clis_core.jobs.evaluate_file", "evaluate_file", METRICS)


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
    words += " --fixed --score-cut 0.3"
    assert clis("eval", "one", *words.split()).code == 0
    (call,) = calls
    folder, config = call["words"]
    assert folder == runs / "one"
    assert (config.eval.engine, config.eval.batch, config.device) == ("lvis", 2, "cpu")
    assert config.preset == "baseline-tiny"
    assert (call["split"], call["checkpoint"], call["save_json"]) == ("train", "best", True)
    assert (call["fixed"], call["score_cut"]) == (True, 0.3)
    assert clis("eval", "one").code == 0
    assert (calls[1]["fixed"], "score_cut" in calls[1]) == (False, False)


def test_json_is_alone_on_stdout(clis: Any, calls: Any, runs: Path) -> None:
    assert json.loads(clis("eval", "--json").out) == VALUES


def test_json_stays_one_object_with_what_was_asked_for(clis: Any, calls: Any, runs: Path) -> None:
    answer = json.loads(clis("eval", "--json", "--per-class", "--mistakes").out)
    assert answer == {**VALUES, **RECORDS}
    assert json.loads(clis("eval", "--json", "--mistakes").out) == {**VALUES, "mistakes": RECORDS["mistakes"]}


def test_class_table_rare_and_low_first(clis: Any, calls: Any, runs: Path) -> None:
    lines = [line.split() for line in clis("eval", "--per-class").out.splitlines()]
    rows = [line for line in lines if line and line[0] in {f"c{k}" for k in range(1, 6)}]
    assert [line[0] for line in rows] == ["c4", "c3", "c2", "c1", "c5"]
    assert rows[0] == ["c4", "r", "4", "7", "50", "2.0", "2.0", "50.0", "0.123", "25.0", "100.0"]
    assert rows[2] == ["c2", "r", "2", "7", "50", "-", "-", "-", "-", "-", "-"]
    assert "c4" not in clis("eval").out


def test_mistakes_as_tables(clis: Any, calls: Any, runs: Path) -> None:
    lines = [line.split() for line in clis("eval", "--mistakes").out.splitlines() if line.strip()]
    by_name = {line[0]: line[1:] for line in lines}
    assert by_name["all"] == ["10.0", *["1.5"] * 8]
    assert by_name["rare"][0] == "-"
    assert "common" not in by_name, "there are no objects of it"
    assert [line[0] for line in lines if line[0] in ("c1", "c2", "c3", "c4")] == ["c3", "c2", "c1"]
    assert by_name["c3"] == ["r", "9", "4", "1", "2", "2", "a", "lot", "(4),", "b", "(1)"]


def test_fixed_metrics_have_a_table_of_their_own(clis: Any, fake_job: Any, runs: Path) -> None:
    values = {**VALUES, "AP_fixed": 11.5, "APr_fixed": None, "AP_pool": 7.5}
    fake_job("clis_core.jobs.evaluate", "evaluate_run", SimpleNamespace(values=values, records={}))
    lines = [line.split() for line in clis("eval", "--fixed").out.splitlines()]
    assert ["AP_fixed", "APr_fixed", "AP_pool"] in lines
    assert ["11.5", "-", "7.5"] in lines


def test_one_process_of_torchrun_prints(clis: Any, fake_job: Any, runs: Path) -> None:
    fake_job("clis_core.jobs.evaluate", "evaluate_run", None)
    result = clis("eval", "--json")
    assert (result.code, result.out) == (0, "")


TRUTH = {
    "images": [{"id": 7, "neg_category_ids": [2], "not_exhaustive_category_ids": []}],
    "categories": [{"id": 1, "name": "cat", "frequency": "r"}, {"id": 2, "name": "dog", "frequency": "f"}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "area": 100}],
}
GOOD = {"image_id": 7, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5}
HOSTILE = {
    "NaN": ({"score": float("nan")}, 4, "record 1, score: NaN is not a number"),
    "an image that is not there": ({"image_id": 8}, 4, "Detection 1 of results.json (image 8, category 1)"),
    "a text for an id": ({"image_id": "7"}, 4, "record 1, image_id"),
    "a text for a score": ({"score": "0.5"}, 4, "record 1, score"),
    "a text in a box": ({"bbox": ["0", 0, 10, 10]}, 4, "record 1, bbox[0]"),
    "a category that is not there": (
        {"category_id": 3},
        0,
        "has no such category; 1 such detections count for nothing",
    ),
    "a percentage": ({"score": 50.0}, 0, "no probabilities"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_from_elsewhere(clis: Any, tmp_path: Path, name: str) -> None:
    change, code, words = HOSTILE[name]
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    (tmp_path / "results.json").write_text(json.dumps([GOOD, {**GOOD, **change}]))
    result = clis("eval", "--detections", "results.json", "--gt", "gt.json", "--json", "--out", "there")
    assert (result.code, words in result.err) == (code, True), result.err
    assert ("Hint: " in result.err) == (code == 4)
    assert (tmp_path / "there").exists() == (code == 0)
    if code == 0:
        assert json.loads(result.out)["AP"] == pytest.approx(100)


def test_a_thousand_detections_an_image(clis: Any, tmp_path: Path) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    records = [{**GOOD, "bbox": [50, 0, 10, 10], "score": 0.9}] * 1000 + [GOOD]
    (tmp_path / "results.json").write_text(json.dumps(records))
    result = clis("eval", "--detections", "results.json", "--gt", "gt.json", "--json")
    assert "1 images have more than 300 detections (at most 1,001); the best 300 of each count." in result.err
    assert json.loads(result.out)["AP"] == 0


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
    words = "--detections d.json --gt gt.json --train-gt train.json --engine lvis --json --fixed --out there"
    result = clis("eval", *words.split())
    assert json.loads(result.out) == VALUES
    (call,) = file_calls
    assert call["words"] == (Path("d.json"), Path("gt.json"))
    assert (call["train_gt"], call["engine"]) == (Path("train.json"), "lvis")
    assert (call["fixed"], call["out"]) == (True, Path("there"))


@pytest.mark.parametrize(
    "words",
    [
        "--detections d.json",
        "--gt g.json",
        "--out there",
        "--score-cut 1.5",
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
