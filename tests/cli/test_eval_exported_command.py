"""`clis eval` of a file that `clis export` wrote: which images, which settings, and what does not go together."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clis_core.config.load import command_layer, preset_layer, resolve, save_config

METRICS = SimpleNamespace(values={"AP": 12.34}, records={})


@pytest.fixture
def calls(fake_job: Any) -> Any:
    return fake_job("clis_core.jobs.evaluate_model", "evaluate_model", METRICS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = resolve([preset_layer("baseline-tiny"), command_layer(["data.root=/data"])])
    save_config(config, tmp_path / "runs" / "one" / "config.toml")
    return tmp_path / "runs" / "one"


def test_a_file_in_a_run_folder(clis: Any, calls: Any, run: Path) -> None:
    result = clis("eval", str(run / "model.onnx"), "--split", "train", "--save-json", "--device", "cpu", "--json")
    assert json.loads(result.out) == {"AP": 12.34}
    (call,) = calls
    path, config = call["words"]
    assert path == run / "model.onnx"
    assert (str(config.data.root), config.device) == ("/data", "cpu")
    assert (call["split"], call["save_json"], call["fixed"]) == ("train", True, False)


def test_a_file_elsewhere_takes_the_workspace(clis: Any, calls: Any, tmp_path: Path) -> None:
    (tmp_path / "clis.toml").write_text('[data]\nroot = "birds"\n')
    assert clis("eval", "m.safetensors", "--set", "eval.batch=2").code == 0
    ((_, config),) = [call["words"] for call in calls]
    assert config.data.root == tmp_path / "birds"
    assert config.eval.batch == 2


def test_settings_of_the_detector_are_in_the_file(clis: Any, calls: Any) -> None:
    result = clis("eval", "m.pt2", "--set", "detector.short_side=100")
    assert result.code == 3
    assert "detector.short_side: an exported file has its settings in it" in result.err
    assert "clis export RUN -o FILE --set detector.short_side=VALUE" in result.err
    assert clis("eval", "m.pt2", "--checkpoint", "best").code == 2
    assert calls == []


def test_a_dry_run_says_where_results_go(clis: Any, calls: Any, run: Path) -> None:
    result = clis("eval", str(run / "model.onnx"), "--dry-run")
    assert result.code == 0
    assert f"would write  {run / 'model.onnx.eval-val'}" in result.err
    assert "/data" in result.err
    assert calls == []
