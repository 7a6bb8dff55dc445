"""`clis doctor` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs.doctor.checks import Check, Findings

FINE = Check("disk", "fine", "9 GB free.", None, {"free": 9})
BAD = Check("fit", "error", "It does not fit.", "--batch 4")


def test_fine_ends_with_0(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.doctor.examine", "examine", Findings([FINE, Check("data", "note", "None.", "Name one")]))
    shown = clis("doctor")
    assert shown.code == 0
    assert [line.split() for line in shown.out.splitlines()] == [
        ["fine", "disk", "9", "GB", "free."],
        ["note", "data", "None."],
        ["Hint:", "Name", "one"],
    ]
    assert "2 checks: 1 fine, 1 note, 0 warning, 0 error." in shown.err


def test_what_would_stop_a_training_ends_with_4(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.doctor.examine", "examine", Findings([FINE, BAD]))
    shown = clis("doctor", "--preset", "baseline-tiny")
    assert shown.code == 4
    assert "Hint: --batch 4" in shown.out
    assert "Error: 1 of 2 checks would stop a training." in shown.err
    shown = clis("doctor", "--json")
    assert shown.code == 4
    assert json.loads(shown.out) == {"format": 1, "ok": False, "checks": [vars(FINE), vars(BAD)]}


def test_options_reach_the_config(clis: Any, fake_job: Any, tmp_path: Path) -> None:
    calls = fake_job("clis_core.jobs.doctor.examine", "examine", Findings([FINE]))
    clis("doctor")
    assert calls[-1]["fitting"] is False
    assert calls[-1]["broken"] is None
    words = ["--data", "d", "--shards", "s", "-p", "clis-tiny", "-b", "2", "--device", "cpu", "-s", "train.keep=7"]
    clis("doctor", *words, "-o", "there")
    config, runs = calls[-1]["words"]
    assert calls[-1]["fitting"] is True
    assert (config.data.root, config.pictures.shards) == (tmp_path / "d", tmp_path / "s")
    assert (config.preset, config.train.batch, config.train.keep, config.device) == ("clis-tiny", 2, 7, "cpu")
    assert runs == Path("there")


def test_the_workspace_says_where(clis: Any, fake_job: Any, tmp_path: Path) -> None:
    calls = fake_job("clis_core.jobs.doctor.examine", "examine", Findings([FINE]))
    (tmp_path / "clis.toml").write_text('[workspace]\nruns = "out"\nshards = "s"\n[data]\nroot = "d"\n')
    clis("doctor")
    config, runs = calls[-1]["words"]
    assert (config.data.root, config.pictures.shards, runs) == (tmp_path / "d", tmp_path / "s", tmp_path / "out")
    clis("doctor", "--data", "other")
    config, runs = calls[-1]["words"]
    assert (config.data.root, config.pictures.shards, runs) == (tmp_path / "other", None, tmp_path / "out")


@pytest.mark.parametrize("text", ["[workspace]\nruns = 3\n", "not toml", "[train]\nno_such = 1\n"])
def test_a_broken_workspace_is_a_finding(clis: Any, fake_job: Any, tmp_path: Path, text: str) -> None:
    calls = fake_job("clis_core.jobs.doctor.examine", "examine", Findings([BAD]))
    (tmp_path / "clis.toml").write_text(text)
    assert clis("doctor", "-p", "baseline-tiny").code == 4
    assert "clis.toml" in calls[-1]["broken"].message
    assert calls[-1]["fitting"] is False


def test_an_unknown_preset_is_a_finding(clis: Any) -> None:
    shown = clis("doctor", "-p", "baseline-tini", "--json")
    assert shown.code == 4
    (error,) = [check for check in json.loads(shown.out)["checks"] if check["level"] == "error"]
    assert error["area"] == "settings"
    assert "Did you mean baseline-tiny?" in error["hint"]


def test_here_and_now(clis: Any, drawn_lvis: Path) -> None:
    shown = clis("doctor", "--data", str(drawn_lvis), "-s", "preset=baseline-tiny")
    assert shown.code == 0, shown.out
    assert "train: 24 images, all there" in shown.out
    assert "JPEGs of 640 x 480 a second" in shown.out
