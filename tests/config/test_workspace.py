"""Where a workspace is found, what it says, and which run a command means."""

import os
from pathlib import Path

import pytest

from clis_core.config.load import command_layer, resolve, run_layers
from clis_core.config.workspace import (
    Workspace,
    find_workspace,
    new_run,
    newest_run,
    require_data,
    resolve_run,
)
from clis_core.errors import CheckpointError, ConfigError


def workspace(folder: Path, text: str = "") -> Workspace:
    (folder / "clis.toml").write_text(text)
    found = find_workspace(folder)
    assert found
    return found


def make_run(folder: Path, config_at: int, checkpoint_at: int | None = None) -> Path:
    files = {folder / "config.toml": config_at}
    if checkpoint_at is not None:
        files[folder / "checkpoints" / "step-00000100.pt"] = checkpoint_at
    for file, seconds in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (seconds, seconds))
    return folder


def test_the_nearest_one_above_counts(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    workspace(tmp_path)
    workspace(tmp_path / "a" / "b")
    assert (found := find_workspace(inner))
    assert found.file == tmp_path / "a" / "b" / "clis.toml"
    assert (found := find_workspace(tmp_path / "a"))
    assert found.file == tmp_path / "clis.toml"


def test_none_above(tmp_path: Path) -> None:
    assert find_workspace(tmp_path) is None


def test_an_empty_file_has_the_defaults(tmp_path: Path) -> None:
    found = workspace(tmp_path)
    assert (found.runs, found.preset) == (tmp_path / "runs", "baseline-r50-1x")
    assert (found.pictures, found.shards) == ((), None)


def test_its_tables_are_a_layer_and_its_paths_start_from_it(tmp_path: Path) -> None:
    text = '[workspace]\nruns = "out"\npreset = "baseline-small"\npictures = ["p.tar", "/q"]\nshards = "s"\n'
    found = workspace(tmp_path, text + '[data]\nroot = "lvis"\n[train]\nwarmup = 7')
    assert (found.runs, found.shards) == (tmp_path / "out", tmp_path / "s")
    assert found.pictures == (tmp_path / "p.tar", Path("/q"))
    config = resolve(run_layers(found.layer, None, command_layer([])))
    assert (config.data.root, config.train.warmup, config.train.batch) == (tmp_path / "lvis", 7, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[workspace]\nrun = "x"', r"run = \"x\" .*clis\.toml.*did you mean runs\?"),
        ("workspace = 3", "workspace is a table"),
        ("seed = 1\n[workspace", "line 2, column 11: Expected"),
    ],
)
def test_a_wrong_workspace_names_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        workspace(tmp_path, text)
    assert str(tmp_path / "clis.toml") in caught.value.message


def test_wrong_settings_and_presets_name_the_file(tmp_path: Path) -> None:
    for text, message in (
        ("[train]\nlrr = 1", "did you mean train.lr"),
        ('[workspace]\npreset = "x"', "no preset"),
    ):
        found = workspace(tmp_path, text)
        with pytest.raises(ConfigError, match=message) as caught:
            resolve(run_layers(found.layer, None, command_layer([])))
        assert str(tmp_path / "clis.toml") in caught.value.message


def test_the_newest_run_is_the_one_started_or_trained_last(tmp_path: Path) -> None:
    assert newest_run(tmp_path / "nothing") is None
    first = make_run(tmp_path / "first", 100, 150)
    make_run(tmp_path / "second", 120)
    (tmp_path / "no-run").mkdir()
    assert newest_run(tmp_path) == first
    (tmp_path / "second" / "metrics.json").touch()  # evaluating does not count
    assert newest_run(tmp_path) == first
    make_run(tmp_path / "third", 90, 140)
    assert newest_run(tmp_path) == first
    assert make_run(tmp_path / "fourth", 160) == newest_run(tmp_path)


def test_a_run_by_path_by_name_or_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = workspace(tmp_path)
    one, two = make_run(tmp_path / "runs" / "one", 200), make_run(tmp_path / "runs" / "two", 100)
    elsewhere = make_run(tmp_path / "elsewhere", 50)
    assert resolve_run(None, found) == one
    assert resolve_run("two", found) == two
    assert resolve_run("runs/two", found) == two
    assert resolve_run(str(two), None) == two
    assert resolve_run("elsewhere", found) == elsewhere


def test_a_missing_run_says_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="No run is named") as caught:
        resolve_run(None, None)
    assert caught.value.hint
    assert "clis eval runs/" in caught.value.hint
    assert "clis init" in caught.value.hint
    found = workspace(tmp_path)
    with pytest.raises(CheckpointError, match="no run in"):
        resolve_run(None, found)
    make_run(tmp_path / "runs" / "one", 200)
    with pytest.raises(CheckpointError, match="no run 'onee'") as caught:
        resolve_run("onee", found)
    assert caught.value.hint
    assert "one" in caught.value.hint
    with pytest.raises(CheckpointError, match="no run 'onee'"):
        resolve_run("onee", None)


def test_a_new_run_takes_the_next_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = workspace(tmp_path)
    names = []
    for _ in range(3):
        names.append(new_run(None, "baseline-small", found))
        names[-1].mkdir(parents=True)
    assert names == [tmp_path / "runs" / name for name in ("baseline-small", "baseline-small-2", "baseline-small-3")]
    assert new_run("mine", "x", found) == tmp_path / "runs" / "mine"
    assert new_run("./mine", "x", None) == new_run("mine", "x", None) == tmp_path / "mine"
    assert new_run("out/mine", "x", found) == tmp_path / "out" / "mine"
    with pytest.raises(ConfigError, match="Nothing says where the run goes") as caught:
        new_run(None, "x", None)
    assert caught.value.hint
    assert "-o runs/x" in caught.value.hint
    assert "clis init" in caught.value.hint


def test_data_are_required() -> None:
    with pytest.raises(ConfigError, match="No training data") as caught:
        require_data(resolve([]))
    assert caught.value.hint
    assert "--data" in caught.value.hint
    require_data(resolve([command_layer(["data.root=/x"])]))
    require_data(resolve([command_layer(["data.train=/x.json"])]))
