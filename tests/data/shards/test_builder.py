"""Building shards: what is in them, that they are the same after any end of the process, and what is refused."""

from __future__ import annotations

import errno
import gc
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clis_core import files
from clis_core.data.shards import builder as module
from clis_core.data.shards import staging
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.manifest import INDEX, read_manifest
from clis_core.data.shards.members import header
from clis_core.data.shards.out_folder import is_finished
from clis_core.data.shards.sample import Sample
from clis_core.errors import DataError
from clis_core.files import locked
from clis_core.report import SilentReporter
from tests.data.shards.world import CATEGORIES, PLAN, build, content, jpeg, numbers, samples


class Killed(BaseException):
    """The end of a process."""


def test_headers_are_those_of_the_standard_library() -> None:
    for name, size in (("a.jpg", 0), ("x" * 100, 8**11 - 1), ("n01440764_10026.json", 12345)):
        member = tarfile.TarInfo(name)
        member.size = size
        assert header(name, size) == member.tobuf(tarfile.USTAR_FORMAT)


def test_what_goes_in_comes_out_once(tmp_path: Path) -> None:
    chosen = samples(60)
    manifest = build(tmp_path / "a", chosen)
    assert read_manifest(tmp_path / "a") == manifest
    assert sorted(key for _, key in numbers(tmp_path / "a")) == sorted(s.name.removesuffix(".JPEG") for s in chosen)
    assert manifest.counts == {3: 20, 5: 20, 8: 20}
    assert manifest.unmatched == {9: "no such class"}
    assert manifest.refused == {"cut short": 6, "empty": 6}
    assert manifest.made == {"seed": 0, **PLAN}
    assert is_finished(tmp_path / "a")
    assert sorted(content(tmp_path / "a")) == sorted(
        [f"0000{n}{end}" for n in range(3) for end in (".tar", ".index.npy")] + ["manifest.json", "refused.jsonl"]
    )
    by_name = {s.name: s for s in chosen}
    for shard in manifest.shards:
        path = tmp_path / "a" / shard.name
        index = np.load(path.with_name(shard.index_name), allow_pickle=False)
        assert index.dtype == INDEX
        assert len(index) == shard.samples
        assert path.stat().st_size == shard.size
        assert shard.size % tarfile.RECORDSIZE == 0
        data = path.read_bytes()
        with tarfile.open(path) as tar:
            found = tar.getmembers()
        assert [Path(m.name).suffix for m in found] == [".jpg", ".json", ".cls"] * shard.samples
        for entry, picture, record, label in zip(index, found[::3], found[1::3], found[2::3], strict=True):
            assert len({Path(m.name).stem for m in (picture, record, label)}) == 1
            assert (entry["offset"], entry["size"]) == (picture.offset_data, picture.size)
            assert (entry["record"], entry["record_size"]) == (record.offset_data, record.size)
            fields = json.loads(data[record.offset_data :][: record.size])
            sample = by_name[fields["filename"]]
            assert data[picture.offset_data :][: picture.size] == sample.jpeg
            assert data[label.offset_data :][: label.size] == str(sample.category).encode()
            assert (entry["category"], entry["height"], entry["width"]) == (
                sample.category,
                sample.height,
                sample.width,
            )
            assert fields == {
                "key": Path(picture.name).stem,
                "class_name": CATEGORIES[CATEGORIES.label(sample.category) - 1].name,
                "category_id": sample.category,
                "width": sample.width,
                "height": sample.height,
                "sha256": fields["sha256"],
                "filename": sample.name,
                "wnid": sample.prefix,
            }
            assert fields["sha256"] == hashlib.sha256(sample.jpeg).hexdigest()
    lines = (tmp_path / "a/refused.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "label": "n0",
        "name": "bad_0.JPEG",
        "reason": "cut short",
        "detail": "as drawn",
    }
    assert len(lines) == 12


def test_each_shard_is_a_random_mix(tmp_path: Path) -> None:
    build(tmp_path, samples(300), shards=4)
    found: dict[str, list[str]] = {}
    for shard, key in numbers(tmp_path):
        found.setdefault(shard, []).append(key.partition("_")[0])
    assert len(found) == 4
    for classes in found.values():
        counts = Counter(classes)
        assert len(counts) == 3
        assert min(counts.values()) >= 10  # of about 25
        changes = sum(a != b for a, b in itertools.pairwise(classes))
        assert changes > len(classes) / 2  # of 2/3; sorted, there are two


def test_the_seed_makes_the_order(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build(tmp_path / name, samples(40), seed=seed)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    a, c = (list(numbers(tmp_path / n)) for n in "ac")
    assert a != c
    assert sorted(key for _, key in a) == sorted(key for _, key in c)


def test_empty_shards_are_left_out(tmp_path: Path) -> None:
    manifest = build(tmp_path, samples(3), shards=40)
    assert [s.name for s in manifest.shards] == [f"{n:05d}.tar" for n in range(len(manifest.shards))]
    assert len(manifest.shards) <= 3
    assert manifest.samples == 3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What 40 samples give."""
    folder = tmp_path_factory.mktemp("undisturbed")
    build(folder, samples(40))
    return content(folder)


class Ending(SilentReporter):
    """Ends the process after some shards."""

    def __init__(self, after: int) -> None:
        self.left = after

    def progress(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 39), st.booleans(), st.integers(0, 39)), max_size=4), st.integers(0, 4))
def test_abandoned_at_any_sample(
    undisturbed: dict[str, str], ends: list[tuple[int, bool, int]], shards_done: int
) -> None:
    out = Path(tempfile.mkdtemp())
    fsync, os.fsync = os.fsync, lambda _: None  # a killed process leaves no trace of it
    try:
        for end, saves, save in ends:

            def each(builder: ShardBuilder, number: int, end: int = end, saves: bool = saves, save: int = save) -> None:
                if saves and number == save:
                    builder.checkpoint(number + 1)
                if number == end:
                    raise Killed

            try:
                build(out, samples(40), each=each, reporter=Ending(0))
            except Killed:
                assert not is_finished(out)
        if not is_finished(out):
            try:
                build(out, samples(40), reporter=Ending(shards_done))
            except Killed:
                assert shards_done < 3
                build(out, samples(40))
        assert content(out) == undisturbed
    finally:
        os.fsync = fsync
        shutil.rmtree(out)


def test_ended_at_any_step_that_touches_the_disk(
    tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sync, rename and removal of a build is its end once; nothing is tidied up, as when it is killed."""
    steps, last = [0], [0]

    def counted(real: Any) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            steps[0] += 1
            if steps[0] == last[0]:
                raise Killed
            if last[0] and steps[0] > last[0]:  # the process is gone
                return None
            return real(*args, **kwargs)

        return step

    def checkpoints(builder: ShardBuilder, number: int) -> None:
        if number == 20:
            builder.checkpoint(number + 1)

    def whole() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(staging, "_SYNCING", 1)
            for name in ("fsync", "truncate"):
                patch.setattr(os, name, counted(getattr(os, name)))
            for name in ("replace", "unlink"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
            build(tmp_path / str(last[0]), samples(40), each=checkpoints)

    monkeypatch.setattr(os, "fsync", lambda _: None)  # a killed process leaves no trace of it
    whole()
    total = steps[0]
    assert total > 40
    for last[0] in range(1, total + 1):
        steps[0] = 0
        with pytest.raises(Killed):
            whole()
        out = tmp_path / str(last[0])
        if is_finished(out):
            with pytest.raises(DataError, match="already finished"):
                build(out, samples(40))
        else:
            build(out, samples(40))
        assert content(out) == undisturbed, last[0]
        shutil.rmtree(out)


PROGRAM = """
import sys, time
from pathlib import Path
from clis_core.data.shards import builder
from clis_core.report import SilentReporter
from tests.data.shards.world import build, samples

class Tells(SilentReporter):
    def progress(self, *_, **__):
        tell("shard")

def tell(what):
    print(what, flush=True)
    time.sleep(0.001)

builder.CHECKPOINT_BYTES = 20_000
build(Path(sys.argv[1]), samples(400), shards=6, each=lambda *_: tell("sample"), reporter=Tells())
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Eight processes are killed, each a little further on; the last three while shards are written."""
    build(tmp_path / "a", samples(400), shards=6)
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "b")]
    root = Path(__file__).parents[3]
    dice = random.Random(0)
    for what, many in [("sample", n) for n in (1, 120, 60, 90, 30)] + [("shard", n) for n in (1, 2, 4)]:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
        assert child.stdout is not None
        for _ in range(many):
            while (line := child.stdout.readline()) != f"{what}\n".encode():
                assert line
        time.sleep(dice.random() * 0.002)
        child.kill()
        child.stdout.close()
        assert child.wait() == -signal.SIGKILL
        assert not is_finished(tmp_path / "b")
    subprocess.run(command, check=True, cwd=root, stdout=subprocess.DEVNULL)
    assert content(tmp_path / "b") == content(tmp_path / "a")


def test_an_ending_process_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    chosen = samples(40)
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2) as builder:
        assert builder.cursor is None
        for sample in chosen[:10]:
            builder.add(sample)
        builder.refuse("n1", "x", "empty")
        builder.checkpoint({"at": 10})
        for sample in chosen[10:20]:
            builder.add(sample)
        assert sum(builder.counts.values()) == 20
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2) as builder:
        assert builder.cursor == {"at": 10}
        assert sum(builder.counts.values()) == 10
        assert builder.refused == {"empty": 1}
        assert not builder.complete


def test_checkpoints_come_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2) as builder:
        builder.add(samples(40)[0])
        builder.passed(1)
        assert builder.cursor is None
        monkeypatch.setattr(module, "CHECKPOINT_BYTES", 1000)
        builder.add(samples(40)[1])
        builder.passed(2)
        assert builder.cursor == 2
        monkeypatch.undo()
        monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
        builder.passed(3)
        assert builder.cursor == 3


def test_a_complete_source_is_not_added_again(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """A caller that never said where it stood comes with everything again after a kill in the second pass."""

    def run(reporter: Any) -> None:
        with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=3) as builder:
            for number, sample in enumerate(samples(40)):
                builder.add(sample)
                if number % 5 == 0:
                    builder.refuse("n0", f"bad_{number}.JPEG", "empty" if number % 2 else "cut short", "as drawn")
            builder.finish(unmatched={9: "no such class"}, made=PLAN, reporter=reporter)

    with pytest.raises(Killed):
        run(Ending(1))
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=3) as builder:
        assert builder.complete
    run(SilentReporter())
    assert content(tmp_path) == undisturbed


def test_duplicates_and_equal_names(tmp_path: Path) -> None:
    def sample(name: str, number: int, category: int = 5) -> Sample:
        return Sample("cat", name, category, jpeg(number), 8, 12, {})

    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:
        assert builder.add(sample("a.jpg", 1))
        assert not builder.add(sample("a.jpg", 1))
        assert not builder.add(sample("sub/a.png", 1))
        assert builder.add(sample("a.jpg", 2))  # another picture of the same name
        assert not builder.add(sample("a.jpg", 2))
        assert builder.add(sample("A.jpg", 3))
        assert builder.add(sample("a.jpg", 1, category=8))  # another class is no duplicate
        assert builder.counts == {5: 3, 8: 1}
        assert builder.refused == {"duplicate": 3}
        builder.checkpoint(None)
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:  # the same after a restart
        assert not builder.add(sample("a.jpg", 2))
        assert builder.add(sample("a.jpg", 4))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    keys = [key for _, key in numbers(tmp_path)]
    assert len({key.lower() for key in keys}) == len(keys) == 5
    assert sum(key == "cat_a" for key in keys) == 1
    refused = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert refused[0] == {"label": "cat", "name": "a.jpg", "reason": "duplicate", "detail": "cat_a"}


def test_hostile_names_and_records(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:
        builder.add(Sample("../..", "../../\udcff\n.jpg", 5, jpeg(1), 8, 12, {"page": "\udc80 ü"}))
        builder.refuse("\udcff", "\ud800", "empty")
        with pytest.raises(ValueError, match="sha256"):
            builder.add(Sample("cat", "b.jpg", 5, jpeg(2), 8, 12, {"sha256": "0"}))
        with pytest.raises(DataError, match="category 4 is none of"):
            builder.add(Sample("cat", "c.jpg", 4, jpeg(3), 8, 12, {}))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    ((_, key),) = numbers(tmp_path)
    assert "/" not in key
    with tarfile.open(tmp_path / "00000.tar") as tar:
        member = tar.extractfile(f"{key}.json")
        assert member is not None
        fields = json.load(member)
    assert fields["filename"] == "../../?\n.jpg"
    assert fields["page"] == "? ü"
    json.loads((tmp_path / "refused.jsonl").read_text())


def test_another_plan_does_not_go_on(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, {"source": "a", "min_side": 16, "x": None}, shards=2):
        pass
    with (
        pytest.raises(DataError) as caught,
        ShardBuilder(tmp_path, CATEGORIES, {"source": "b", "min_side": 16}, shards=4),
    ):
        pass
    assert 'source was "a", is "b"' in caught.value.message
    assert "shards was 2, is 4" in caught.value.message
    assert "min_side" not in caught.value.message
    assert "-o FOLDER" in (caught.value.hint or "")
    with pytest.raises(DataError, match="categories was"):
        ShardBuilder(
            tmp_path, CATEGORIES.with_counts([1, 2, 3, 4]), {"source": "a", "min_side": 16}, shards=2
        ).__enter__()


def test_finished_folders_never_change(tmp_path: Path) -> None:
    build(tmp_path, samples(10))
    before = content(tmp_path)
    (tmp_path / ".staging").mkdir()  # its process was killed while it tidied up
    (tmp_path / ".staging/progress.json").write_text("{}")
    with pytest.raises(DataError, match="already finished") as caught:
        build(tmp_path, samples(20))
    assert "-o FOLDER" in (caught.value.hint or "")
    assert content(tmp_path) == before


def test_two_builds_in_one_folder(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2):
        with pytest.raises(DataError, match="another process"), ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2):
            pass
        with locked(tmp_path / ".staging/.lock") as held:
            assert not held
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2):
        pass


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".crawl").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "n01440764.tar").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"n01440764\.tar"):
        build(tmp_path, samples(10))
    (tmp_path / "n01440764.tar").unlink()
    build(tmp_path, samples(10))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_a_kill_left_is_tidied_up(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=2):
        pass
    for name in (".00000.tar.123-0a1b2c3d.tmp", ".manifest.json.7-00ff00ff.tmp", ".staging/.progress.json.1-2.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / ".mine.tmp").write_bytes(b"whole")
    build(tmp_path, samples(10), shards=2)
    assert [p.name for p in tmp_path.rglob("*") if p.name.endswith(".tmp")] == [".mine.tmp"]


@pytest.mark.parametrize("name", ["00000.part", "rows", "refused.jsonl", "progress.json", "plan.json"])
def test_damaged_staging(tmp_path: Path, name: str) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:
        builder.add(samples(10)[0])
        builder.refuse("a", "b", "empty")
        builder.checkpoint(1)
    path = tmp_path / ".staging" / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match=name) as caught:
        build(tmp_path, samples(10), shards=1)
    assert f"rm -r {tmp_path}/.staging" in (caught.value.hint or "")


def test_a_part_that_is_damaged_after_the_first_pass(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build(tmp_path, samples(10), shards=3, reporter=Ending(0))
    part = max((tmp_path / ".staging").glob("*.part"))
    os.truncate(part, 700)
    with pytest.raises(DataError, match=part.name):
        build(tmp_path, samples(10), shards=3)


def test_a_finished_shard_that_goes_away_before_the_end(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        build(tmp_path, samples(40), reporter=Ending(1))
    (tmp_path / "00000.tar").unlink()
    with pytest.raises(DataError, match=r"00000\.tar was finished, but has been removed"):
        build(tmp_path, samples(40))


@pytest.mark.parametrize("fails", ["writev", "fsync", "replace"])
def test_a_full_disk(tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def each(builder: ShardBuilder, number: int) -> None:
        if number == 9:
            builder.checkpoint(10)
        if number == 15:
            monkeypatch.setattr(Path if fails == "replace" else os, fails, full)

    with pytest.raises(DataError) as caught:
        build(tmp_path, samples(40), each=each)
    monkeypatch.undo()
    assert "is full" in caught.value.message
    assert "10 pictures" in caught.value.message
    assert "same command again" in (caught.value.hint or "")
    build(tmp_path, samples(40))
    assert content(tmp_path) == undisturbed


def test_writes_that_are_cut_short_go_on(
    tmp_path: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, pieces: real(fd, [bytes(pieces[0])[:100]]))
    build(tmp_path, samples(40))
    assert content(tmp_path) == undisturbed


def test_not_one_picture(tmp_path: Path) -> None:
    with ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1) as builder:
        builder.refuse("a", "b", "empty")
        with pytest.raises(DataError, match=r"not one picture.*1 empty"):
            builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    assert not is_finished(tmp_path)


def test_used_only_where_it_holds_the_folder(tmp_path: Path) -> None:
    builder = ShardBuilder(tmp_path, CATEGORIES, PLAN, shards=1)
    with pytest.raises(RuntimeError, match="with block"):
        builder.add(samples(10)[0])
    with builder:
        builder.add(samples(10)[0])
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
        with pytest.raises(RuntimeError, match="with block"):
            builder.add(samples(10)[1])


def test_more_shards_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = staging.OpenFiles
    monkeypatch.setattr(staging, "OpenFiles", lambda flags: opened.append(real(flags, 2)) or opened[-1])
    build(tmp_path / "a", samples(40), shards=9)
    assert len(opened) == 1
    monkeypatch.undo()
    build(tmp_path / "b", samples(40), shards=9)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_lock_file_of_a_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", none)
    with files.locked(tmp_path / "lock") as held:
        assert held


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(tmp_path: Path) -> None:
    import webdataset

    build(tmp_path, samples(30), shards=2)
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    found = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil"))
    gc.collect()  # it leaves its files open
    assert len(found) == 30
    by_name = {s.name: s for s in samples(30)}
    for item in found:
        sample = by_name[item["json"]["filename"]]
        assert item["cls"] == sample.category
        assert item["jpg"].size == (sample.width, sample.height)
        assert item["__key__"] == item["json"]["key"]
