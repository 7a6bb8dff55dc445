"""`clis compare`: what the words mean, what is printed, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROW: dict[str, Any] = {
    "preset": "baseline-tiny",
    "iterations": 10,
    "mean": {"AP": 20.5, "APr": None, "APc": 1.0, "APf": 30.0},
    "spread": {"AP": 0.5, "APr": None, "APc": 0.0, "APf": 0.0},
    "minutes": 2.0,
    "preparation_minutes": 0.0,
    "memory_mb": 700.0,
    "seeds": {"0": {"minutes": 2.0, "iterations": 10}, "1": {"minutes": 2.0, "iterations": 10}},
    "failed": {},
}
PAPER = {"preset": "baseline-tiny", "system": "Faster R-CNN", "table": "II", "judged": "box AP, LVIS v1"}
RECORD: dict[str, Any] = {
    **{"minutes": 2.0, "fixed_iterations": None, "seeds": [0, 1], "rows": [ROW], "reports": ["/c/report.html"]},
    "paper": [{**PAPER, "AP": 22.0, "APr": 8.9, "APc": 20.8, "APf": 29.1}],
}
JOB = ("clis_core.jobs.compare", "compare")


def test_words_become_a_plan(clis: Any, fake_job: Any, tmp_path: Path) -> None:
    calls = fake_job(*JOB, RECORD)
    words = ("--data", "d", "--images", "s", "--minutes", "2", "--seeds", "0,5", "--set", "train.lr=0.5", "-o", "o")
    done = clis("compare", "baseline-tiny", "clis-tiny", *words, "--device", "cpu")
    assert done.code == 0, done.err
    (plan,) = calls[0]["words"]
    assert (plan.rows, plan.seeds, plan.minutes, plan.iterations) == (("baseline-tiny", "clis-tiny"), (0, 5), 2.0, None)
    assert (plan.shards, plan.regions, plan.out) == (tmp_path / "s", None, tmp_path / "o")
    assert plan.settings.values == {
        "data": {"root": str(tmp_path / "d")},
        "train": {"lr": 0.5},
        "device": "cpu",
        "pictures": {},
    }
    for text in ("20.5 ± 0.5", "700", "2 of 2", "22.0", "not measured here", "/c/report.html", "o/compare.md"):
        assert text in " ".join(done.out.split())  # titles are broken to the width of their table
    assert "2 minutes of training each, seeds 0, 1" in done.out


def test_a_workspace_gives_data_and_pictures(clis: Any, fake_job: Any, tmp_path: Path) -> None:
    text = '[workspace]\nshards = "s"\npreset = "clis-tiny"\n[data]\nroot = "d"\n'
    text += '[pictures]\nregions = "r"\n[train]\nlr = 9.0\n'
    (tmp_path / "clis.toml").write_text(text)
    calls = fake_job(*JOB, RECORD)
    assert clis("compare", "baseline-tiny").code == 0
    (plan,) = calls[0]["words"]
    assert (plan.shards, plan.regions) == (tmp_path / "s", str(tmp_path / "r"))
    assert plan.settings.values["data"] == {"root": str(tmp_path / "d")}
    assert not {"train", "preset"} & plan.settings.values.keys()


def test_failures_are_told_and_make_the_exit_code_1(clis: Any, fake_job: Any) -> None:
    why = {"error": "TrainingDiverged", "message": "Step 3: loss not finite.", "hint": None}
    fake_job(*JOB, {**RECORD, "rows": [{**ROW, "failed": {"1": why}}]})
    done = clis("compare", "baseline-tiny", "--data", "d")
    assert done.code == 1
    assert "Failed: baseline-tiny, seed 1: TrainingDiverged: Step 3: loss not finite." in done.err
    assert clis("compare", "baseline-tiny", "--data", "d", "--json").code == 1


def test_json(clis: Any, fake_job: Any) -> None:
    fake_job(*JOB, RECORD)
    assert json.loads(clis("compare", "baseline-tiny", "--data", "d", "--json").out) == RECORD


def test_a_dry_run_tells_what_would_be_made(clis: Any, drawn_lvis: Path, tmp_path: Path) -> None:
    done = clis("compare", "baseline-tiny", "crt-small", "--data", str(drawn_lvis), "--seeds", "4", "--dry-run")
    assert done.code == 0
    assert done.err.splitlines() == [
        "would run    baseline-tiny, seed 4",
        "would run    baseline-small, seed 4  (needed first)",
        "would run    crt-small, seed 4",
        f"would write  {tmp_path / 'compare'}",
    ]
    refused = clis("compare", "clis-tiny", "detic-small", "--data", str(drawn_lvis), "--dry-run")
    assert refused.code == 3
    assert "clis-tiny: needs pictures" in refused.err
    assert "detic-small: needs pictures" in refused.err
    assert not (tmp_path / "compare").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--minutes", "1", "--iterations", "5", "-d", "d"),
        ("--minutes", "0", "-d", "d"),
        ("--seeds", "1,1", "-d", "d"),
        ("baseline-tiny", "-d", "d"),
        (),
    ],
)
def test_words_that_do_not_fit(clis: Any, words: tuple[str, ...]) -> None:
    assert clis("compare", "baseline-tiny", *words).code == 2
