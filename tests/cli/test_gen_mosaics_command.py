"""`clis gen-mosaics`: how its words become a job, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs import gen_mosaics as module
from clis_core.jobs.gen_mosaics import MosaicResult
from clis_core.jobs.mosaic_pictures import MosaicOptions


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def job(shards: Path, data: Path, out: Path, options: MosaicOptions, **rest: Any) -> MosaicResult:
        calls.append({"shards": shards, "data": data, "out": out, "options": options, "of": rest["checkpoint"]})
        return MosaicResult(out, 7, 30, 2)

    monkeypatch.setattr(module, "gen_mosaics", job)
    return calls


def test_words_become_a_job(clis: Any, asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lvis").mkdir()
    Path("lvis/lvis_v1_train.json").touch()
    Path("best.pt").touch()
    result = clis("gen-mosaics", "--detector", "best.pt", "--data", "lvis", "shards", "--json", "--threshold", "0.3")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {"folder": "shards-mosaics", "mosaics": 7, "boxes": 30, "left_out": 2}
    (call,) = asked
    assert call["data"] == Path("lvis/lvis_v1_train.json")
    assert call["of"] == Path("best.pt")
    assert call["options"] == MosaicOptions(threshold=0.3)
    words = "gen-mosaics --boxes fixed --max-side 200 --seed 4 -d lvis/lvis_v1_train.json shards -o m"
    assert "7 mosaics with 30 boxes" in clis(*words.split()).err
    assert asked[1]["options"] == MosaicOptions(boxes="fixed", max_side=200, seed=4)
    assert asked[1]["of"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("shards -d lvis", "needs a detector"),
        ("shards -d lvis --boxes fixed --detector best.pt", "needs no detector"),
        ("-d lvis --boxes fixed", "name the folder of the shards"),
        ("shards --boxes fixed", "name the data set"),
    ],
)
def test_what_is_missing_is_said(
    clis: Any, asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: Any, words: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = clis("gen-mosaics", *words.split())
    assert result.code == 2
    assert said in " ".join(result.err.replace("│", " ").split())
    assert not asked


def test_a_dry_run_reads_and_writes_nothing(
    clis: Any, asked: list[dict[str, Any]], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.json").touch()
    result = clis("gen-mosaics", "--boxes", "fixed", "-d", "train.json", "shards", "--dry-run")
    assert "would write  shards-mosaics" in result.err
    assert not asked
