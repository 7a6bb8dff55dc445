"""Reading shards at random, their indices, and in which order: what is right, and what is said of damage."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from clis_core.data.decode import decode
from clis_core.data.shards import builder, open_files, reader, staging
from clis_core.data.shards.index import index_tar, read_index
from clis_core.data.shards.manifest import INDEX, read_manifest
from clis_core.data.shards.reader import Shards
from clis_core.errors import DataError
from tests.data.shards.world import CATEGORIES, build, numbers, samples

COUNT = 50


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 50 samples in four shards; read it, do not change it."""
    folder = tmp_path_factory.mktemp("built")
    build(folder, samples(COUNT), shards=4)
    return folder


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(built, tmp_path / "own")
    return tmp_path / "own"


def test_every_picture(built: Path) -> None:
    shards = Shards(built)
    assert len(shards) == COUNT
    assert shards.categories == CATEGORIES
    listed = list(numbers(built))
    by_name = {s.name: s for s in samples(COUNT)}
    random = np.random.default_rng(0).permutation(COUNT)
    for i in random:  # whose numbers are numpy's
        record = shards.record(i)
        sample = by_name[record["filename"]]
        assert (shards.shard_of(i)[0], shards.key(i)) == listed[i]
        assert shards.key(i) == record["key"]
        assert shards.data(i) == sample.jpeg
        assert shards.size(i) == (sample.height, sample.width)
        assert torch.equal(shards.image(i), decode(sample.jpeg, "x"))
        assert shards.categories[shards.labels[i] - 1].id == sample.category
    assert shards.labels.dtype == np.int32
    assert [shards.shard_of(i)[1] for i in range(3)] == [0, 1, 2]
    for wrong in (-1, COUNT):
        with pytest.raises(IndexError):
            shards.data(wrong)


class Images(Dataset[Any]):
    def __init__(self, shards: Shards) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, i: int) -> tuple[str, int, int]:
        return self.shards.key(i), int(self.shards.labels[i]), int(self.shards.image(i).sum())


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_in_the_workers_of_a_loader(built: Path, start: str) -> None:
    images = Images(Shards(built))
    alone = [images[i] for i in range(COUNT)]  # and its files are open when the workers are forked
    loader = DataLoader(images, batch_size=None, num_workers=2, multiprocessing_context=start)
    assert [tuple(item) for item in loader] == alone


def test_a_copy_is_the_name_of_the_folder(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.parent)
    shards = Shards(Path(built.name))
    assert shards.labels.size == COUNT
    shards.data(3)
    data = pickle.dumps(shards)
    assert len(data) < 300
    monkeypatch.chdir("/")
    assert pickle.loads(data).data(3) == shards.data(3)


def test_descriptors_are_bounded(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("the system does not list open files")
    monkeypatch.setattr(open_files, "_many", lambda: 3)
    shards = Shards(built)
    before = len(list(folder.iterdir()))
    keys = [shards.key(i) for i in range(COUNT)]
    assert len(list(folder.iterdir())) == before + 3
    assert keys == [key for _, key in numbers(built)]
    shards.close()
    assert len(list(folder.iterdir())) == before
    assert shards.key(7) == keys[7]


def test_index_of_a_tar(built: Path, tmp_path: Path) -> None:
    for shard in read_manifest(built).shards:
        stored = read_index(built / shard.index_name, shard.samples, shard.size)
        assert np.array_equal(index_tar(built / shard.name), stored)
    with pytest.raises(DataError, match=r"no shard.*\.tar|damaged"):
        index_tar(built / "manifest.json")
    with pytest.raises(DataError, match="cannot be read"):
        index_tar(tmp_path / "none.tar")


@pytest.mark.parametrize(
    ("names", "content", "what"),
    [
        (["a.jpg", "a.json"], b"{}", r"a\.jpg is no whole sample"),
        (["a.jpg", "b.json", "a.cls"], b"{}", "does not begin a sample"),
        (["a.jpg", "a.cls", "a.json"], b"{}", "does not begin a sample"),
        (["a.jpg", "a.json", "a.cls"], b"{", "json or cls of a is damaged"),
        (["a.jpg", "a.json", "a.cls"], b"[" * 500_000, "json or cls of a is damaged"),
        (["a.jpg", "a.json", "a.cls"], b"{}" * (1 << 20), "too large"),
        (["a.jpg", "a.json", "a.cls"], b'{"height": 1, "width": 1}', "json or cls of a is damaged"),  # cls is no number
        (["a.jpg", "a.json", "a.cls"], b'{"height": 5000000000, "width": 1}', "damaged"),
    ],
)
def test_tars_that_are_no_shards(tmp_path: Path, names: list[str], content: bytes, what: str) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            data = content if name.endswith("json") else b"7" if b"5000" in content else b"x"
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(DataError, match=what):
        index_tar(tmp_path / "x.tar")


def changed_index(path: Path, field: str, value: int) -> None:
    index = np.load(path)
    index[field][2] = value
    np.save(path, index)


@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", 1 << 60), ("offset", -5), ("size", -1), ("size", 2**31 - 1), ("record", 0), ("height", 0)],
)
def test_an_index_that_points_elsewhere(own: Path, field: str, value: int) -> None:
    changed_index(own / "00000.index.npy", field, value)
    with pytest.raises(DataError, match="points outside of its tar in entry 2") as caught:
        Shards(own).data(0)
    assert "00000.index.npy" in caught.value.message
    assert f"clis shards verify {own}" in (caught.value.hint or "")


@pytest.mark.parametrize("what", ["object", "archive", "other", "short", "cut", "text", "two"])
def test_an_index_that_is_none(own: Path, what: str) -> None:
    path = own / "00000.index.npy"
    index = np.load(path)
    if what == "object":  # a pickle
        np.save(path, np.array([{}, []], object), allow_pickle=True)
    elif what == "archive":
        with path.open("wb") as file:
            np.savez(file, index)
    elif what == "other":
        np.save(path, index["offset"])
    elif what == "short":
        np.save(path, index[:-1])
    elif what == "two":
        np.save(path, index[None])
    elif what == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.write_text("hello")
    with pytest.raises(DataError, match=r"00000\.index\.npy"):
        Shards(own).data(0)
    with pytest.raises(DataError, match=r"00000\.index\.npy"):
        _ = Shards(own).labels


def test_files_that_are_missing_or_cut_short(own: Path) -> None:
    os.truncate(own / "00001.tar", 1024)
    with pytest.raises(DataError, match=r"00001\.tar has 1024 bytes, but the manifest says"):
        Shards(own)
    (own / "00001.tar").unlink()
    with pytest.raises(DataError, match=r"00001\.tar cannot be read"):
        Shards(own)
    (own / "00000.index.npy").unlink()
    with pytest.raises(DataError, match=r"00000\.index\.npy cannot be read"):
        Shards(own)
    (own / "manifest.json").unlink()
    with pytest.raises(DataError, match="no finished shards"):
        Shards(own)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_damaged_bytes_are_named(own: Path) -> None:
    shards = Shards(own)
    entry = np.load(own / "00000.index.npy")[1]
    key = shards.key(1)
    overwrite(own / "00000.tar", int(entry["offset"]) + 20, bytes(int(entry["size"]) - 20))
    with pytest.raises(DataError) as caught:
        shards.image(1)
    assert f"{own}/00000.tar: {key}" in caught.value.message
    overwrite(own / "00000.tar", int(entry["offset"]), b"<html>")
    with pytest.raises(DataError, match=rf"00000\.tar is damaged: {key} is no JPEG"):
        shards.data(1)
    overwrite(own / "00000.tar", int(entry["record"]), b"?")
    with pytest.raises(DataError, match=rf"00000\.tar is damaged: the json of {key} is no object"):
        shards.record(1)
    overwrite(own / "00000.tar", int(entry["offset"]) - 512, bytes(512))
    with pytest.raises(DataError, match=rf"no picture at byte {entry['offset']}"):
        shards.key(1)
    with pytest.raises(DataError, match="picture 1 is no JPEG"):
        shards.data(1)
    os.truncate(own / "00000.tar", int(entry["offset"]) + 100)
    with pytest.raises(DataError, match="it ends before picture 1 does"):
        shards.data(1)
    shards.data(0)


def test_an_index_that_lies_about_the_size(own: Path) -> None:
    changed_index(own / "00000.index.npy", "height", 77)
    shards = Shards(own)
    with pytest.raises(DataError, match=rf"{shards.key(2)} is .* but the index says \d+ x 77"):
        shards.image(2)


def test_an_index_of_an_unknown_category(own: Path) -> None:
    changed_index(own / "00001.index.npy", "category", 6)
    shards = Shards(own)
    key = list(numbers(own))[shards.manifest.shards[0].samples + 2][1]
    with pytest.raises(DataError, match=rf"00001\.tar is damaged: {key} is of category 6"):
        _ = shards.labels


def test_a_manifest_of_another_format(own: Path) -> None:
    path = own / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(DataError, match="format 2"):
        Shards(own)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "../00000.tar"}, "no name of a shard"),
        ({"name": "00000.zip"}, "no name of a shard"),
        ({"name": "00001.tar"}, "names a shard twice"),
        ({"samples": 0}, "0 samples"),
        ({"samples": 1}, "do not sum"),
        ({"size": "many"}, "many"),
    ],
)
def test_a_damaged_manifest(own: Path, change: dict[str, Any], what: str) -> None:
    path = own / "manifest.json"
    content = json.loads(path.read_text())
    content["shards"][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=what) as caught:
        Shards(own)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, "\ufffd"])
def test_a_manifest_that_is_none(own: Path, text: str) -> None:
    (own / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        Shards(own)


def test_the_entry_is_the_dtype() -> None:
    assert reader._ENTRY.size == INDEX.itemsize
    assert builder._ROW.size == staging.ROW.itemsize
