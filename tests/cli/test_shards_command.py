"""`clis shards verify` and `clis shards info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.jobs.build_options import BuildOptions
from tests.jobs.building import build_subset, vocabulary
from tests.pack import WNIDS, Item, class_tars, draw_items


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Shards of twelve pictures, beside them one empty file; two categories have none."""
    source = class_tars(tmp_path / "tars", [*draw_items(), Item(WNIDS[2], "x.JPEG", b"")])
    options = BuildOptions(shards=2, max_bad_fraction=0.5)
    build_subset(source, tmp_path / "shards", vocabulary(tmp_path / "data" / "train.json"), options=options)
    return tmp_path / "shards"


def test_info_is_a_table(clis: Any, built: Path) -> None:
    shown = clis("shards", "info", str(built))
    assert shown.code == 0
    cells = [line.split() for line in shown.out.splitlines()]
    assert ["rare", "2", "1", "4"] in cells
    assert ["common", "1", "1", "4"] in cells
    assert ["frequent", "2", "1", "4"] in cells
    assert ["all", "5", "3", "12"] in cells
    assert "2 categories have no picture:" in shown.err
    assert "  zebra: the source has no n02391049" in shown.err
    assert "Refused: 1 empty." in shown.err
    assert "tench" not in shown.out


def test_info_tells_the_counts_of_each_category(clis: Any, built: Path) -> None:
    cells = [line.split() for line in clis("shards", "info", str(built), "--counts").out.splitlines()]
    for row in (["tench", "rare", "4"], ["dog", "common", "4"], ["zebra", "frequent", "0"]):
        assert row in cells


def test_info_as_json(clis: Any, built: Path) -> None:
    shown = clis("shards", "info", str(built), "--json")
    record = json.loads(shown.out)
    assert shown.err == ""
    assert record["counts"] == {"3": 4, "5": 4, "9": 4, "12": 0, "14": 0}
    assert [entry["name"] for entry in record["without"]] == ["zebra", "stop_sign"]
    assert record["refused"] == {"empty": 1}
    assert record["made"]["command"] == "build-imagenet-subset"


def test_whole_shards_are_told_so(clis: Any, built: Path) -> None:
    shown = clis("shards", "verify", str(built))
    assert (shown.code, shown.out) == (0, "")
    assert shown.err.splitlines()[-1] == f"{built}: 12 samples, all as the manifest says."
    found = json.loads(clis("shards", "verify", str(built), "--json", "--no-decode").out)
    assert found == {"ok": True, "samples": 12, "problems": []}


def damage(built: Path) -> str:
    """Change one byte within a picture; its key comes out."""
    path = sorted(built.glob("*.tar"))[0]
    data = bytearray(path.read_bytes())
    data[512 + 300] ^= 1
    path.write_bytes(data)
    return data[:100].rstrip(b"\0").decode().removesuffix(".jpg")


def test_damage_ends_with_4_and_names_the_sample(clis: Any, built: Path) -> None:
    key = damage(built)
    shown = clis("shards", "verify", str(built))
    assert (shown.code, shown.out) == (4, "")
    assert f"{key} has changed: its sha256 is not that of its record" in shown.err
    assert "Error: " in shown.err
    assert "Hint: " in shown.err
    shown = clis("shards", "verify", str(built), "--json")
    assert shown.code == 4
    found = json.loads(shown.out)
    assert found["ok"] is False
    assert key in {problem["key"] for problem in found["problems"]}


def test_decoding_can_be_left_out(clis: Any, built: Path, fake_job: Any) -> None:
    class Whole:
        samples, problems = 3, ()

    calls = fake_job("clis_core.jobs.shards", "verify_shards", Whole())
    clis("shards", "verify", "there", "--no-decode")
    clis("shards", "verify", "there")
    assert [call["decode"] for call in calls] == [False, True]
    assert calls[0]["words"] == (Path("there"),)


@pytest.mark.parametrize("command", ["verify", "info"])
def test_mistakes(command: str, clis: Any, tmp_path: Path) -> None:
    nowhere = clis("shards", command)
    assert nowhere.code == 3
    assert "Nothing says where the shards are" in nowhere.err
    missing = clis("shards", command, "nope")
    assert missing.code == 4
    assert "nope holds no finished shards" in missing.err
    assert "Traceback" not in missing.err


def test_an_unfinished_folder_is_told_so(clis: Any, tmp_path: Path) -> None:
    (tmp_path / "begun" / ".staging").mkdir(parents=True)
    shown = clis("shards", "verify", "begun")
    assert shown.code == 4
    assert "is not finished: run the command that builds it again" in shown.err
