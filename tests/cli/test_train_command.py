"""`clis train`: how flags become a config and a run folder."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clis_core.config.load import command_layer, preset_layer, resolve, save_config
from clis_core.config.run import RunConfig

TINY = ("--preset", "baseline-tiny")


@pytest.fixture
def calls(fake_job: Any, tmp_path: Path) -> Any:
    return fake_job("clis_core.jobs.train", "train", SimpleNamespace(run=tmp_path / "run", metrics={"AP": 12.345}))


def snapshot(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


def stored_run(folder: Path, *settings: str, checkpoint: bool = True) -> None:
    (folder / "checkpoints").mkdir(parents=True)
    save_config(resolve([preset_layer("baseline-tiny"), command_layer(settings)]), folder / "config.toml")
    if checkpoint:
        (folder / "checkpoints" / "step-00000100.pt").touch()


def test_flags_reach_the_job(clis: Any, calls: Any, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[train]\nkeep = 3\nlog_every = 3")
    flags = "--data d --iterations 7 --batch 2 --lr 0.25 --seed 5 --device cpu --init w.pth"
    result = clis("train", *TINY, *flags.split(), "-c", "my.toml", "-s", "train.log_every=4", "-o", "out/run")
    assert result.code == 0, result.err
    (call,) = calls
    config: RunConfig = call["words"][0]
    assert call["words"][1] == tmp_path / "out" / "run"
    assert call["resume"] is False
    assert config.data.root == tmp_path / "d"
    assert (config.train.iterations, config.train.batch, config.train.lr) == (7, 2, 0.25)
    assert (config.train.keep, config.train.log_every) == (3, 4)
    assert (config.seed, config.device, config.preset) == (5, "cpu", "baseline-tiny")
    assert config.detector.backbone.init == str(tmp_path / "w.pth")
    assert "12.3" in result.out
    assert str(tmp_path / "run") in result.err


def test_alpha_and_beta_need_a_method_that_has_them(clis: Any, calls: Any) -> None:
    for flag in ("--alpha", "--beta"):
        result = clis("train", *TINY, "--data", "d", "-o", "run", flag, "0.1")
        assert result.code == 3
        key = flag.removeprefix("--")
        assert f"method.{key} = 0.1 ({flag}): method of kind 'supervised' has no {key}" in result.err
    assert calls == []


def test_a_workspace_needs_no_flags(clis: Any, calls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clis.toml").write_text('[workspace]\npreset = "baseline-tiny"\n[data]\nroot = "lvis"')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert clis("train").code == 0
    (tmp_path / "runs" / "baseline-tiny").mkdir(parents=True)
    assert clis("train").code == 0
    assert clis("train", "-o", "mine").code == 0
    assert [c["words"][1].relative_to(tmp_path / "runs").name for c in calls] == [
        "baseline-tiny",
        "baseline-tiny-2",
        "mine",
    ]
    assert {c["words"][0].data.root for c in calls} == {tmp_path / "lvis"}


def test_without_a_workspace_paths_are_required_and_both_ways_are_shown(clis: Any, calls: Any) -> None:
    for words in ((), ("--data", "d"), ("-o", "run")):
        result = clis("train", *TINY, *words)
        assert result.code == 3
        assert "clis init" in result.err
        assert "clis train" in result.err
    assert calls == []


def test_dry_run_prints_the_config_and_touches_nothing(clis: Any, calls: Any, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    result = clis("train", *TINY, "--data", "d", "-o", "out/run", "--seed", "9", "--dry-run")
    assert result.code == 0
    config = RunConfig.model_validate(tomllib.loads(result.out))
    assert (config.seed, config.data.root) == (9, tmp_path / "d")
    assert f"would read   {tmp_path / 'd'}  (missing)" in result.err
    assert f"would write  {tmp_path / 'out' / 'run'}" in result.err
    assert calls == []
    assert snapshot(tmp_path) == before


def test_a_run_with_a_checkpoint_is_not_written_over(clis: Any, calls: Any, tmp_path: Path) -> None:
    stored_run(tmp_path / "run")
    for extra in ((), ("--dry-run",)):
        result = clis("train", *TINY, "--data", "d", "-o", "run", *extra)
        assert result.code == 5
        assert "--resume" in result.err
        assert "-o NAME" in result.err
    assert calls == []


def test_resume_goes_on_with_the_runs_own_config(clis: Any, calls: Any, tmp_path: Path) -> None:
    stored_run(tmp_path / "run", "data.root=/data", "train.iterations=50")
    assert clis("train", "--resume", "-o", "run", "--device", "cpu").code == 0
    (call,) = calls
    assert call["resume"] is True
    assert call["words"][1] == tmp_path / "run"
    assert call["words"][0].train.iterations == 50
    assert call["words"][0].device == "cpu"


def test_resume_takes_the_newest_run_of_a_workspace(clis: Any, calls: Any, tmp_path: Path) -> None:
    (tmp_path / "clis.toml").write_text("[train]\nlr = 9.0")  # the run was started before this was written
    assert clis("train", "--resume").code == 5
    stored_run(tmp_path / "runs" / "one", "data.root=/data")
    assert clis("train", "--resume").code == 0
    assert calls[0]["words"][1] == tmp_path / "runs" / "one"
    assert calls[0]["words"][0].train.lr != 9.0


def test_resume_with_other_settings_names_them(clis: Any, calls: Any, tmp_path: Path) -> None:
    stored_run(tmp_path / "run", "data.root=/data")
    result = clis("train", "--resume", "-o", "run", "--lr", "0.5")
    assert result.code == 3
    assert "train.lr: 0.0005 in the run, 0.5 now" in result.err
    assert clis("train", "--resume", "-o", "nowhere").code == 5
    assert calls == []


def test_dry_run_of_a_resume(clis: Any, calls: Any, tmp_path: Path) -> None:
    stored_run(tmp_path / "run", "data.root=/data")
    before = snapshot(tmp_path)
    result = clis("train", "--resume", "-o", "run", "--dry-run")
    assert result.code == 0
    assert "step-00000100.pt" in result.err
    assert snapshot(tmp_path) == before
    assert calls == []
