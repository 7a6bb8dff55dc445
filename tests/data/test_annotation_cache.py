"""The cache of annotation tables: used when it is good, made again when it is not, safe with many writers."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from clis_core.data import annotation_cache, annotations
from clis_core.data.annotations import AnnotationTable, load_annotations


@pytest.fixture
def path(tmp_path: Path, drawn_lvis: Path) -> Path:
    """A copy of a json file, last changed an hour ago."""
    copy = tmp_path / "train.json"
    copy.write_bytes((drawn_lvis / "lvis_v1_train.json").read_bytes())
    os.utime(copy, (time.time() - 3600,) * 2)
    return copy


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The json files that are parsed."""
    seen: list[Path] = []
    real = annotations.read_json

    def read(path: Path) -> annotations.Annotations:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(annotations, "read_json", read)
    return seen


def same(a: AnnotationTable, b: AnnotationTable) -> bool:
    arrays = ("image_ids", "sizes", "boxes", "labels", "offsets")
    return (
        all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays)
        and a.categories == b.categories
        and a.file_names() == b.file_names()
        and (a.is_lvis, a.dropped) == (b.is_lvis, b.dropped)
    )


def is_mapped(values: np.ndarray) -> bool:
    while values is not None:
        if isinstance(values, np.memmap):
            return True
        values = values.base  # type: ignore[assignment]
    return False


def test_second_load_maps_and_neither_parses_nor_hashes(
    path: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_annotations(path, tmp_path / "cache")
    assert len(reads) == 1
    monkeypatch.setattr(annotation_cache.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    second = load_annotations(path, tmp_path / "cache")
    assert len(reads) == 1
    assert same(first, second)
    assert same(second, load_annotations(path, None))
    assert is_mapped(second.boxes)
    assert type(second.boxes) is np.ndarray


def test_changed_content_is_read_again(path: Path, tmp_path: Path, reads: list[Path]) -> None:
    load_annotations(path, tmp_path / "cache")
    content = json.loads(path.read_text())
    content["annotations"] = content["annotations"][1:]
    path.write_text(json.dumps(content))
    table = load_annotations(path, tmp_path / "cache")
    assert len(reads) == 2
    assert len(table.boxes) == len(content["annotations"])


def test_change_within_one_tick_of_the_clock_is_seen(path: Path, tmp_path: Path) -> None:
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    load_annotations(path, tmp_path / "cache")
    text = path.read_text()
    path.write_text(text.replace("red_disc", "RED_disc"))
    os.utime(path, ns=(now, now))
    assert load_annotations(path, tmp_path / "cache").categories[0].name == "RED_disc"


def test_moved_file_finds_its_cache(path: Path, tmp_path: Path, reads: list[Path]) -> None:
    load_annotations(path, tmp_path / "cache")
    moved = path.rename(tmp_path / "moved.json")
    table = load_annotations(moved, tmp_path / "cache")
    assert len(reads) == 1
    assert table.path == moved


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "boxes.npy").write_bytes((folder / "boxes.npy").read_bytes()[:-40]),
        lambda folder: (folder / "labels.npy").unlink(),
        lambda folder: (folder / "offsets.npy").write_bytes(b""),
        lambda folder: (folder / "sizes.npy").write_bytes(b"no numpy file"),
        lambda folder: np.save(folder / "boxes.npy", np.zeros((3, 4), np.float32)),
        lambda folder: np.save(folder / "boxes.npy", np.load(folder / "boxes.npy").astype(np.float64)),
        lambda folder: (folder / "facts.json").write_text("{"),
        lambda folder: (folder / "facts.json").write_text("[]"),
        lambda folder: (folder / "facts.json").unlink(),
        lambda folder: [f.unlink() for f in folder.iterdir()],
    ],
)
def test_damage_is_repaired(path: Path, tmp_path: Path, reads: list[Path], damage: object) -> None:
    good = load_annotations(path, None)
    folder = load_annotations(path, tmp_path / "cache").folder
    reads.clear()
    assert callable(damage)
    damage(folder)
    repaired = load_annotations(path, tmp_path / "cache")
    assert len(reads) == 1
    assert same(repaired, good)
    assert repaired.folder == folder
    load_annotations(path, tmp_path / "cache")
    assert len(reads) == 1
    assert [p for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")] == []


def test_other_version_is_made_again(
    path: Path, tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_annotations(path, tmp_path / "cache")
    monkeypatch.setattr(annotation_cache, "VERSION", annotation_cache.VERSION + 1)
    load_annotations(path, tmp_path / "cache")
    load_annotations(path, tmp_path / "cache")
    assert len(reads) == 2


def test_many_writers_leave_one_good_folder(path: Path, tmp_path: Path) -> None:
    good = load_annotations(path, None)
    gate = threading.Barrier(6)
    tables: list[AnnotationTable] = []

    def load() -> None:
        gate.wait()
        tables.append(load_annotations(path, tmp_path / "cache"))

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tables) == 6
    assert all(same(table, good) for table in tables)
    assert len([p for p in (tmp_path / "cache").iterdir() if p.is_dir()]) == 1


def test_loser_of_the_race_uses_the_winners_folder(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = annotation_cache._rename

    def late(part: Path, folder: Path) -> None:
        monkeypatch.setattr(annotation_cache, "_rename", real)
        assert load_annotations(path, tmp_path / "cache").folder == folder  # another process was faster
        stamp.append((folder / "boxes.npy").stat().st_ino)
        real(part, folder)

    stamp: list[int] = []
    monkeypatch.setattr(annotation_cache, "_rename", late)
    table = load_annotations(path, tmp_path / "cache")
    assert table.folder is not None
    assert (table.folder / "boxes.npy").stat().st_ino == stamp[0]


def test_what_a_killed_writer_left_is_swept(path: Path, tmp_path: Path) -> None:
    folder = load_annotations(path, tmp_path / "cache").folder
    assert folder is not None
    old, young = (folder.with_name(f".{folder.name}.{n}.tmp") for n in ("old", "young"))
    for part in (old, young):
        part.mkdir()
        (part / "boxes.npy").write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    (folder / "boxes.npy").unlink()
    load_annotations(path, tmp_path / "cache")
    assert not old.exists()
    assert young.exists()  # may belong to a writer at work


def test_cache_that_cannot_be_written_is_done_without(path: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    table = load_annotations(path, tmp_path / "cache")
    assert table.folder is None
    assert same(table, load_annotations(path, None))
