"""`clis pretrain`: how its words become a job, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs import pretrain as module
from clis_core.jobs.pretrain import PretrainOptions, PretrainResult


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def job(*words: Any, reporter: Any) -> PretrainResult:
        calls.append(words)
        return PretrainResult(words[1] / "backbone.pt", 12, 34.5)

    monkeypatch.setattr(module, "pretrain", job)
    return calls


def test_the_defaults_are_the_papers(clis: Any, asked: list[tuple[Any, ...]]) -> None:
    result = clis("pretrain", "shards", "-o", "runs/p")
    assert result.code == 0, result.err
    assert asked == [(Path("shards"), Path("runs/p"), PretrainOptions())]
    options = PretrainOptions()
    assert (options.epochs, options.batch, options.lr, options.milestones) == (100, 256, 0.1, (0.3, 0.6, 0.9))
    assert (options.size, options.init) == (224, "none")
    assert "34.5 % of the held-out pictures are right" in result.err
    assert "clis train --init runs/p" in result.err


def test_words_reach_the_job(clis: Any, asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    words = "--backbone mobilenet_v2 --init w.pth --epochs 3 -b 16 --lr 0.01 --milestones 0.5 --size 96 --held-out 0"
    result = clis("pretrain", "shards", "-o", "p", *words.split(), "--seed", "4", "--json")
    assert json.loads(result.out) == {"weights": "p/backbone.pt", "steps": 12, "top1": 34.5}
    options = asked[0][2]
    assert Path(options.init).is_absolute()
    assert options == PretrainOptions(
        backbone="mobilenet_v2", init=options.init, epochs=3, batch=16, lr=0.01, milestones=(0.5,), size=96,
        held_out=0, seed=4,
    )  # fmt: skip


@pytest.mark.parametrize(("words", "said"), [("", "name the folder of the shards"), ("s --milestones a", "numbers")])
def test_what_is_wrong_is_said(clis: Any, asked: list[tuple[Any, ...]], words: str, said: str) -> None:
    result = clis("pretrain", *words.split())
    assert result.code == 2
    assert said in " ".join(result.err.replace("│", " ").split())
    assert not asked


def test_a_dry_run(clis: Any, asked: list[tuple[Any, ...]]) -> None:
    assert "would write  runs/p" in clis("pretrain", "shards", "-o", "runs/p", "--dry-run").err
    assert not asked
