"""`clis presets`, `clis init` and `clis bench`."""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.load import preset_layer, resolve
from clis_core.config.presets import PRESETS, summary
from clis_core.config.run import RunConfig
from clis_core.config.workspace import find_workspace
from clis_core.errors import ConfigError
from clis_core.jobs.bench_suite import Suite, environment, read_suite


def dataset(folder: Path) -> Path:
    """An annotation file that `clis init` can describe: one class seen twice, one 11 times."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 64} for i in range(13)]
    boxes = [
        {
            "id": i,
            "image_id": i,
            "category_id": 1 if i < 2 else 7,
            "bbox": [1, 1, 8, 8],
            "area": 64,
            "iscrowd": 0,
        }
        for i in range(13)
    ]
    content = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "cup"}, {"id": 7, "name": "pen"}],
    }
    folder.mkdir()
    (folder / "instances_train.json").write_text(json.dumps(content))
    return folder


def test_presets_lists_names_with_their_first_line(clis: Any) -> None:
    lines = clis("presets").out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)
    assert all(line.endswith(summary(name)) for line, name in zip(lines, PRESETS, strict=True))
    assert json.loads(clis("presets", "--json").out) == {name: summary(name) for name in PRESETS}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_prints_one_as_toml_or_json(clis: Any, name: str) -> None:
    config = resolve([preset_layer(name)])
    assert RunConfig.model_validate(tomllib.loads(clis("presets", name).out)) == config
    assert RunConfig.model_validate(json.loads(clis("presets", name, "--json").out)) == config


def test_an_unknown_preset(clis: Any) -> None:
    result = clis("presets", "baseline-smal")
    assert result.code == 3
    assert "Did you mean baseline-small?" in result.err


def test_init_writes_a_workspace_and_tells_what_the_data_hold(clis: Any, tmp_path: Path) -> None:
    dataset(tmp_path / "pictures")
    result = clis("init", "--data", "pictures", "--preset", "baseline-small", "--runs", "out")
    assert result.code == 0, result.err
    assert "2 classes: 1 rare, 1 common, 0 frequent" in result.err
    assert "13 images, 13 boxes" in result.err
    assert "val: none found" in result.err
    assert result.err.endswith("clis.toml. Next: clis train\n")
    workspace = find_workspace(tmp_path)
    assert workspace
    assert (workspace.runs, workspace.preset) == (tmp_path / "out", "baseline-small")
    assert resolve([workspace.layer]).data.root == tmp_path / "pictures"


def test_init_names_pictures_and_shards(clis: Any, tmp_path: Path) -> None:
    dataset(tmp_path / "data")
    (tmp_path / "fall11").mkdir()
    assert clis("init", "--data", "data", "--pictures", "fall11", "--pictures", "more").code == 4
    assert not (tmp_path / "clis.toml").exists()
    result = clis("init", "--data", "data", "--pictures", "fall11")
    assert result.code == 0
    assert "clis.toml. Next: clis build-images\n  then: clis train\n  then: clis gen-regions" in result.err
    workspace = find_workspace(tmp_path)
    assert workspace
    assert (workspace.pictures, workspace.shards) == ((tmp_path / "fall11",), tmp_path / "shards")


def test_init_never_writes_over(clis: Any, tmp_path: Path) -> None:
    dataset(tmp_path / "pictures")
    (tmp_path / "clis.toml").write_text("seed = 7")
    result = clis("init", "--data", "pictures")
    assert result.code == 3
    assert "--force" in result.err
    assert (tmp_path / "clis.toml").read_text() == "seed = 7"
    assert clis("init", "--data", "pictures", "--force").code == 0
    assert 'root = "pictures"' in (tmp_path / "clis.toml").read_text()


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 3), (("--data", "nowhere"), 4), (("--data", "."), 4), (("--data", "pictures", "--preset", "x"), 3)],
)
def test_init_refuses_what_cannot_work(clis: Any, tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    dataset(tmp_path / "pictures")
    assert clis("init", *words).code == code
    assert not (tmp_path / "clis.toml").exists()


def test_init_asks_at_a_terminal(clis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(tmp_path / "pictures")
    answers = iter(["pictures", "out", "baseline-tiny"])
    monkeypatch.setattr("typer.prompt", lambda *words, **options: next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert clis("init").code == 0
    workspace = find_workspace(tmp_path)
    assert workspace
    assert (workspace.runs, workspace.preset) == (tmp_path / "out", "baseline-tiny")


@pytest.mark.parametrize("name", ["postprocess", "lvis-eval", "annotations", "train-step", "loading"])
def test_bench_prints_what_the_job_saw(clis: Any, fake_job: Any, name: str) -> None:
    module = f"clis_core.jobs.bench.{name.replace('-', '_')}"
    calls = fake_job(module, "run", {"ours": 0.123456, "peer": {"seconds": 2, "equal": True}})
    assert json.loads(clis("bench", name, "--scale", "0.5", "--json").out)["peer"] == {
        "seconds": 2,
        "equal": True,
    }
    shown = clis("bench", name).out
    assert ["ours", "0.1235"] in [line.split() for line in shown.splitlines()]
    assert ["peer.equal", "True"] in [line.split() for line in shown.splitlines()]
    assert [call["scale"] for call in calls] == [0.5, 1.0]


@pytest.mark.parametrize("words", [("queue", "--scale", "0.5"), ("annotations",)])
def test_what_cannot_be_compared_is_not_measured(
    clis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("clis_core.jobs.bench_suite.apart", lambda job, name, scale: calls.append(name) or {})
    done = clis("bench", *words, "--compare", str(bench_file(tmp_path / "old.json", 2.0)))
    assert done.code == ConfigError.exit_code
    assert calls == []


def bench_file(path: Path, ratio: float) -> Path:
    results = {"queue": {"ours": 1.0, "peer": 2.0, "ratio": ratio, "equal": True}}
    path.write_text(json.dumps(Suite(1.0, environment(), results).to_record()))
    return path


def test_bench_compares_with_an_earlier_run(clis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"ours": 1.0, "peer": 2.0, "ratio": 2.0, "equal": True}
    monkeypatch.setattr("clis_core.jobs.bench_suite.apart", lambda job, name, scale: seen)
    good = clis("bench", "queue", "-o", str(tmp_path / "new.json"), "--compare", str(bench_file(tmp_path / "a", 2.2)))
    assert good.code == 0
    assert ["queue", "ratio", "2.2", "2", "0.91"] in [line.split() for line in good.out.splitlines()]
    assert read_suite(tmp_path / "new.json").results["queue"]["ratio"] == 2.0
    bad = clis("bench", "queue", "--compare", str(bench_file(tmp_path / "b", 4.0)), "--json")
    assert bad.code == 1
    assert "queue ratio: 2, was 4" in bad.err
    assert [change["worse"] for change in json.loads(bad.out)["changes"]] == [True, False]


@pytest.mark.parametrize("words", [(), ("queue", "--all")])
def test_bench_wants_a_name_or_all(clis: Any, words: tuple[str, ...]) -> None:
    shown = clis("bench", *words)
    assert shown.code == 2
    assert "name one benchmark, or --all" in shown.err
