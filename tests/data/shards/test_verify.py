"""Checking shards: every kind of damage is found and named; and what info says of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.index import index_tar
from clis_core.data.shards.info import info
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sample import Sample
from clis_core.data.shards.verify import Report, verify
from clis_core.errors import DataError
from clis_core.report import SilentReporter
from tests.data.shards.world import CATEGORIES, PLAN, build, jpeg, samples


class Progress(SilentReporter):
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int | None]] = []

    def progress(self, task: str, done: int, total: int | None, figures: Any = None) -> None:
        self.told.append((task, done, total))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    build(tmp_path / "built", samples(30), shards=2)
    return tmp_path / "built"


def check(folder: Path, *, decode: bool = True) -> Report:
    return verify(folder, decode=decode, reporter=SilentReporter())


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_all_is_well(built: Path) -> None:
    reporter = Progress()
    report = verify(built, reporter=reporter)
    assert report.ok
    assert report.to_record() == {"ok": True, "samples": 30, "problems": []}
    assert reporter.told[-1] == ("samples", 30, 30)


@pytest.mark.parametrize("number", [0, 29])
def test_a_flipped_bit_in_a_picture_is_found(built: Path, number: int) -> None:
    shards = Shards(built)
    name, position = shards.shard_of(number)
    key = shards.key(number)
    entry = np.load(built / name.replace(".tar", ".index.npy"))[position]
    middle = int(entry["offset"]) + int(entry["size"]) // 2
    overwrite(built / name, middle, bytes([shards.data(number)[int(entry["size"]) // 2] ^ 4]))
    problems = check(built).problems
    assert (problems[0].shard, problems[0].key) == (name, "")
    assert "sha256 is not the manifest's" in problems[0].what
    assert (problems[1].shard, problems[1].key) == (name, key)
    assert "sha256 is not that of its record" in problems[1].what
    assert str(problems[1]).startswith(f"{name}: {key} has changed")


def test_a_damaged_header_hides_no_other_sample(built: Path) -> None:
    entry = np.load(built / "00000.index.npy")[3]
    overwrite(built / "00000.tar", int(entry["record"]) - 400, b"xxx")
    entry = np.load(built / "00000.index.npy")[5]
    overwrite(built / "00000.tar", int(entry["record"]), b"x")
    report = check(built)
    assert report.samples == 30
    what = [str(p) for p in report.problems]
    assert any("00000.tar" in w and "cannot be walked" in w for w in what)
    assert [p.key for p in report.problems if p.what == "has a damaged json"] == [Shards(built).key(5)]


def test_pictures_that_cannot_be_decoded(tmp_path: Path) -> None:
    whole = jpeg(1, 40, 40)
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:
        builder.add(Sample("cat", "a.jpg", 5, whole, 40, 40, {}))
        builder.add(Sample("cat", "b.jpg", 5, whole[: len(whole) // 2], 40, 40, {}))
        builder.add(Sample("cat", "c.jpg", 5, jpeg(2, 40, 40), 40, 41, {}))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    found = {p.key: p.what for p in check(tmp_path).problems}
    assert found.keys() == {"cat_b", "cat_c"}
    assert "cannot be decoded" in found["cat_b"]
    assert "40 x 40 pixels" in found["cat_c"]
    assert check(tmp_path, decode=False).ok


def test_an_index_that_does_not_fit(built: Path) -> None:
    path = built / "00001.index.npy"
    index = np.load(path)
    index["category"][4] = 8 if index["category"][4] != 8 else 3
    np.save(path, index)
    what = [str(p) for p in check(built).problems]
    assert what[0].startswith("00001.index.npy has changed")
    assert "00001.index.npy says something else of sample 4 than the tar" in what
    path.unlink()
    what = [str(p) for p in check(built).problems]
    assert any(w.startswith("00001.index.npy cannot be read") for w in what)


def test_files_cut_short_missing_or_too_many(built: Path) -> None:
    shutil.copy(built / "00000.tar", built / "00007.tar")
    os.truncate(built / "00000.tar", (built / "00000.tar").stat().st_size - 11_000)
    (built / "00001.tar").unlink()
    what = [str(p) for p in check(built).problems]
    assert any(w.startswith("00000.tar has ") and " bytes instead of " in w for w in what)
    assert any(w.startswith("00001.tar cannot be read") for w in what)
    assert "00007.tar is not in the manifest" in what


def rewrite(built: Path, change: Any) -> None:
    """Write the first shard anew, with its hashes, so that only its content tells."""
    path = built / "00000.tar"
    with tarfile.open(path) as tar:
        members = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in change(members):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    index = index_tar(path)
    np.save(built / "00000.index.npy", index)
    content = json.loads((built / "manifest.json").read_text())
    content["shards"][0] |= {
        "size": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "index_sha256": hashlib.sha256((built / "00000.index.npy").read_bytes()).hexdigest(),
    }
    (built / "manifest.json").write_text(json.dumps(content))


def test_contents_that_contradict_each_other(built: Path) -> None:
    rewrite(built, lambda members: members)
    assert check(built).ok
    rewrite(built, lambda m: [*m[:2], (m[2][0], b"6"), *m[3:]])
    what = [p.what for p in check(built).problems]
    assert what == [
        "has a record of another key or category",
        "is of category 6, which the manifest does not have",
    ]


def test_a_sample_that_is_there_twice_or_not_at_all(built: Path) -> None:
    rewrite(built, lambda m: [*m[:3], *m[:3], *m[6:]])
    report = check(built)
    assert [p.what for p in report.problems] == ["is there twice"]
    rewrite(built, lambda m: m[3:])
    assert any("samples instead of" in p.what for p in check(built).problems)


def test_counts_that_do_not_fit(built: Path) -> None:
    path = built / "manifest.json"
    content = json.loads(path.read_text())
    content["counts"] = {"3": 12, "5": 8, "8": 10}
    path.write_text(json.dumps(content))
    assert [p.shard for p in check(built).problems] == ["manifest.json"]


def test_an_unfinished_folder_says_so(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path / "a", CATEGORIES, PLAN, shards=1) as builder:
        builder.add(samples(30)[0])
        builder.checkpoint(1)
    report = check(tmp_path / "a")
    assert not report.ok
    assert "is not finished" in str(report.problems[0])
    with pytest.raises(DataError, match="no finished shards"):
        check(tmp_path / "b")


def test_info(built: Path) -> None:
    found = info(built)
    assert (found.samples, found.shards) == (30, 2)
    assert found.size == sum(p.stat().st_size for p in built.glob("*.tar"))
    assert [(c.name, n) for c, n in found.counts] == [("bagel", 10), ("cat", 10), ("dog", 10), ("bow_(weapon)", 0)]
    assert {g: tuple(vars(i).values()) for g, i in found.groups.items()} == {
        "r": (2, 1, 10),
        "c": (1, 1, 10),
        "f": (1, 1, 10),
    }
    assert [(c.name, why) for c, why in found.without] == [("bow_(weapon)", "no such class")]
    record = found.to_record()
    assert json.loads(json.dumps(record)) == record
    assert record["groups"]["r"] == {"categories": 2, "with_pictures": 1, "pictures": 10}
    assert record["without"] == [{"id": 9, "name": "bow_(weapon)", "why": "no such class"}]
