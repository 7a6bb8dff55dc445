"""Files of regions: what is written comes back, and nothing else is taken for it."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clis_core.data.regions import (
    REGION,
    REGIONS,
    RegionFiles,
    name_of,
    open_regions,
    read_part,
    regions_beside,
    write_part,
)
from clis_core.data.shards.reader import Shards
from clis_core.errors import DataError
from tests.data.painted import painted_shards, write_regions


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return painted_shards(tmp_path_factory.mktemp("world") / "shards", 20)


@pytest.fixture
def folder(shards: Shards, tmp_path: Path) -> Path:
    """A copy of the regions that may be damaged."""
    return shutil.copytree(regions_beside(shards.folder), tmp_path / "regions")


def opened(folder: Path, shards: Shards) -> RegionFiles:
    found = open_regions(str(folder), shards)
    assert isinstance(found, RegionFiles)
    return found


def test_round_trip(shards: Shards, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    low = random.uniform(0, 0.5, (len(shards), 2))
    boxes = np.concatenate([low, low + random.uniform(0.01, 0.5, (len(shards), 2))], axis=1).astype(np.float32)
    found = opened(write_regions(shards, boxes.tolist(), tmp_path / "mine"), shards)
    assert len(shards.manifest.shards) == 3
    assert np.array_equal(np.stack([found.box(n) for n in range(len(shards))]), boxes)
    assert found.boxes.dtype == np.float32
    entries = found.entries()
    assert entries.dtype == REGION
    assert np.array_equal(entries["box"], boxes)
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.boxes, boxes)
    with pytest.raises(ValueError, match="read-only"):
        found.boxes[0] = 0


def test_a_copy_for_another_process_needs_no_working_folder(
    shards: Shards, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(opened(Path(folder.name), shards))
    monkeypatch.chdir("/")
    assert len(pickle.loads(sent).boxes) == len(shards)


def test_parts_keep_every_field(tmp_path: Path) -> None:
    entries = np.zeros(3, REGION)
    entries["box"] = [[0, 0, 1, 1], [0.25, 0.5, 0.75, 1], [0, 0, 0.125, 0.5]]
    entries["score"], entries["rank"], entries["fallback"] = [0.5, 0, 1], [1, 0, 1203], [False, True, False]
    write_part(tmp_path / "0.npy", entries)
    assert np.array_equal(read_part(tmp_path / "0.npy", 3), entries)


def test_the_folder_beside_the_shards_is_the_default(shards: Shards) -> None:
    beside = open_regions(None, shards)
    assert beside.fingerprint() == opened(shards.folder.with_name("shards-regions"), shards).fingerprint()


def test_regions_that_need_no_detector(shards: Shards) -> None:
    whole, centre = open_regions("full-image", shards), open_regions("centre", shards)
    assert whole.box(5).tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(centre.box(0), [0.1, 0.1, 0.9, 0.9])
    assert whole.box(0).dtype == centre.box(0).dtype == np.float32


def test_fingerprints_tell_regions_apart_wherever_they_lie(shards: Shards, folder: Path, tmp_path: Path) -> None:
    boxes = opened(folder, shards).boxes.copy()
    boxes[7, 0] = np.nextafter(boxes[7, 0], np.float32(0))
    boxes[7, 0] = max(boxes[7, 0], 0)
    boxes[7, 2] = np.nextafter(boxes[7, 2], np.float32(0))
    other = write_regions(shards, boxes.tolist(), tmp_path / "other")
    prints = [
        open_regions(which, shards).fingerprint() for which in (str(folder), None, str(other), "centre", "full-image")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


Damage = Callable[[Path, Path], object]
PART = name_of("00001.tar")


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    entries = np.load(path)
    changed = change(entries)
    np.save(path, entries if changed is None else changed)


def box(values: list[float]) -> Callable[[np.ndarray], None]:
    def change(entries: np.ndarray) -> None:
        entries["box"][2] = values

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda part, about: part.unlink(), "cannot be read: No such file"),
        (lambda part, about: part.write_bytes(part.read_bytes()[:-5]), "is damaged"),
        (lambda part, about: part.write_bytes(b""), "is damaged"),
        (lambda part, about: part.write_bytes(b"\x93NUMPY garbage"), "is damaged"),
        (lambda part, about: rewrite(part, lambda e: e[:-1]), "does not hold"),
        (lambda part, about: rewrite(part, lambda e: np.zeros(len(e))), "does not hold"),
        (lambda part, about: rewrite(part, box([0, 0, 1.01, 1])), "reaches out of its picture"),
        (lambda part, about: rewrite(part, box([-0.01, 0, 1, 1])), "reaches out of its picture"),
        (lambda part, about: rewrite(part, box([0, 0, np.nan, 1])), "reaches out of its picture"),
        (lambda part, about: rewrite(part, box([0.5, 0, 0.5, 1])), "has no area"),
        (lambda part, about: about.write_text("{"), "is damaged"),
        (lambda part, about: about.write_text("[]"), "is damaged"),
        (lambda part, about: about.write_text("[" * 100_000), "is damaged"),
        (lambda part, about: about.write_bytes(b"\xff\xfe"), "is damaged"),
        (lambda part, about: about.write_text('{"format": 1}'), "is damaged"),
        (lambda part, about: about.write_text('{"format": 1, "shards": 3}'), "of another format"),
        (lambda part, about: about.write_text('{"format": 2, "shards": {}}'), "of another format"),
        (lambda part, about: about.write_text('{"format": 1, "shards": {}}'), "of other shards"),
        (lambda part, about: about.unlink(), "no finished regions"),
    ],
)
def test_damage_is_told(shards: Shards, folder: Path, damage: Damage, said: str) -> None:
    damage(folder / PART, folder / REGIONS)
    with pytest.raises(DataError, match=said) as caught:
        open_regions(str(folder), shards)
    assert str(folder) in caught.value.message
    assert "clis gen-regions" in (caught.value.hint or "") or "pip install" in (caught.value.hint or "")


def test_pickles_are_not_read(shards: Shards, folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (folder / "was here",)

    np.save(folder / PART, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="is damaged"):
        open_regions(str(folder), shards)
    assert not (folder / "was here").exists()


def test_regions_of_other_shards_are_refused(shards: Shards, folder: Path, tmp_path: Path) -> None:
    other = painted_shards(tmp_path / "other", 21, regions=False)
    with pytest.raises(DataError, match="of other shards"):
        open_regions(str(folder), other)
    about = json.loads((folder / REGIONS).read_text())
    about["shards"]["00002.tar"] = "0" * 64
    (folder / REGIONS).write_text(json.dumps(about))
    with pytest.raises(DataError, match="of other shards"):
        open_regions(str(folder), shards)
