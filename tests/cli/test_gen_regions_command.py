"""`clis gen-regions`: how its words become a job, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs import gen_regions as module
from clis_core.jobs.gen_regions import RegionOptions, RegionResult
from clis_core.jobs.region_finders import RegionRule
from tests.data.painted import painted_shards
from tests.jobs.region_world import checkpoint

Calls = list[tuple[Any, ...]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What the job was asked; it makes nothing."""
    asked: Calls = []

    def job(*words: Any, reporter: Any) -> RegionResult:
        asked.append(words)
        return RegionResult(words[2], 40, 3, 0.25)

    monkeypatch.setattr(module, "gen_regions", job)
    return asked


def run_folder(folder: Path) -> Path:
    """A run with two checkpoints; the newest."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.toml").touch()
    for step in (100, 200):
        (folder / "checkpoints" / f"step-{step:08d}.pt").touch()
    return folder / "checkpoints" / "step-00000200.pt"


def test_words_reach_the_job(clis: Any, calls: Calls, tmp_path: Path) -> None:
    newest = run_folder(tmp_path / "runs" / "base")
    result = clis("gen-regions", "--detector", "runs/base", "shards")
    assert result.code == 0, result.err
    words = "--detector runs/base shards -o out/r --rule max-size --short-side 400 --batch 3 --workers 5 --preview 64"
    words += " --max-enlarge 2.5"
    assert clis("gen-regions", *words.split(), "--device", "cpu").code == 0
    (first, second) = calls
    assert [p.resolve() for p in first[:3]] == [newest, tmp_path / "shards", tmp_path / "shards-regions"]
    assert first[3] == RegionOptions()
    assert second[2].resolve() == tmp_path / "out" / "r"
    assert second[3] == RegionOptions("max-size", None, 400, 2.5, 3, 5, "cpu", 64)
    assert "regions of 40 pictures" in result.err
    assert result.out == ""


def test_a_checkpoint_file_is_a_detector(clis: Any, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    assert clis("gen-regions", "--detector", "best.pt", "shards").code == 0
    assert calls[0][0] == Path("best.pt")


def test_rules_and_lists_without_a_detector(clis: Any, calls: Calls) -> None:
    assert clis("gen-regions", "shards", "--rule", "full-image").code == 0
    assert clis("gen-regions", "shards", "--rule", "centre").code == 0
    assert clis("gen-regions", "shards", "--from-file", "list.csv").code == 0
    assert [c[0] for c in calls] == [None, None, None]
    assert [(c[3].rule, c[3].file) for c in calls] == [
        ("full-image", None),
        ("centre", None),
        ("rank-first", Path("list.csv")),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shards --rule full-image --detector base", "no --detector and no --short-side"),
        ("shards --rule centre --short-side 400", "no --detector and no --short-side"),
        ("shards --from-file l.csv --detector base", "no --detector and no --short-side"),
        ("shards --from-file l.csv --rule max-size", "no --rule beside it"),
        ("shards --rule best", "'best' is not one of"),
        ("shards --detector base --batch 0", "'--batch' / '-b': Input should be greater"),
        ("shards --detector base --short-side 8", "'--short-side': Input should be greater"),
        ("shards --detector base --preview 9999", "'--preview': Input should be less"),
        ("shards", "--rule rank-first needs a detector: --detector RUN"),
        ("--detector base", "name the folder of the shards"),
    ],
)
def test_words_that_do_not_fit_together(clis: Any, calls: Calls, words: str, said: str) -> None:
    result = clis("gen-regions", *words.split())
    assert result.code == 2
    assert said in " ".join(result.err.replace("│", " ").split())
    assert calls == []


def test_a_run_without_checkpoints(clis: Any, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "runs" / "new").mkdir(parents=True)
    (tmp_path / "runs" / "new" / "config.toml").touch()
    result = clis("gen-regions", "--detector", "runs/new", "shards")
    assert result.code == 5
    assert "no checkpoint yet" in result.err
    assert "clis train --resume" in result.err


def test_a_workspace_names_the_shards_and_the_run(clis: Any, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "clis.toml").write_text('[workspace]\nshards = "pictures/shards"\n')
    newest = run_folder(tmp_path / "runs" / "base")
    assert clis("gen-regions", "--detector", "base").code == 0
    assert [p.resolve() for p in calls[0][:3]] == [
        newest,
        tmp_path / "pictures" / "shards",
        tmp_path / "pictures" / "shards-regions",
    ]


def test_json(clis: Any, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    result = clis("gen-regions", "shards", "--rule", "centre", "--json")
    assert json.loads(result.out) == {"folder": "shards-regions", "pictures": 40, "fallbacks": 3, "mean_score": 0.25}
    monkeypatch.setenv("RANK", "1")  # of torchrun's processes the first alone prints
    assert clis("gen-regions", "shards", "--rule", "centre", "--json").out == ""


def test_a_dry_run_writes_nothing(clis: Any, calls: Calls, tmp_path: Path) -> None:
    run_folder(tmp_path / "runs" / "base")
    result = clis("gen-regions", "--detector", "runs/base", "shards", "-o", "r", "--dry-run")
    assert result.code == 0
    assert [line.split() for line in result.err.splitlines()] == [
        ["would", "read", "shards", "(missing)"],
        ["would", "read", str(tmp_path / "runs/base/checkpoints/step-00000200.pt")],
        ["would", "write", "r"],
    ]
    assert calls == []
    assert not (tmp_path / "r").exists()


def test_the_command_takes_every_rule_of_the_job() -> None:
    from typing import get_args

    from clis_cli.commands.gen_regions import Rule

    assert get_args(Rule) == get_args(RegionRule)


def test_from_a_checkpoint_to_files(clis: Any, tmp_path: Path) -> None:
    painted_shards(tmp_path / "shards", 12, shards=1, regions=False)
    checkpoint(tmp_path / "base.pt")
    result = clis("gen-regions", "--detector", "base.pt", "shards", "--workers", "0", "--preview", "4", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["pictures"] == 12
    assert sorted(p.name for p in (tmp_path / "shards-regions").iterdir()) == [
        "00000.regions.npy",
        "preview.jpg",
        "regions.json",
    ]
    result = clis("gen-regions", "--detector", "base.pt", "nothing", "--workers", "0")
    assert result.code == 4
    assert "nothing holds no finished shards" in result.err
