"""Hostile archives: nothing is written or followed, no error but clis's own."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.data.sources.member import START, Member, Source
from clis_core.data.sources.open import open_source
from clis_core.errors import ClisError
from tests.pack import Item, class_tar, csv_list, own_shards, tar_bytes, webdataset

FUNCTIONS = ("symlink", "link", "mkfifo", "mknod", "mkdir", "rename", "remove", "chmod", "chown")


def everything(label: str) -> bool:
    return True


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.size = kind, link, size
    return entry


def hostile_tar(secret: Path) -> bytes:
    """A tar with every trick, and one good picture at its end."""
    entries = [
        info("n1/link.jpg", tarfile.SYMTYPE, str(secret)),
        info("n1/up.jpg", tarfile.SYMTYPE, "../../../../etc/passwd"),
        info("n1/hard.jpg", tarfile.LNKTYPE, str(secret)),
        info("n1/loop.jpg", tarfile.SYMTYPE, "loop.jpg"),
        info("n1/zero.jpg", tarfile.CHRTYPE),
        info("n1/disk.jpg", tarfile.BLKTYPE),
        info("n1/fifo.jpg", tarfile.FIFOTYPE),
        info("n1/strange.jpg", b"Z"),
        info("/n1/abs.jpg", size=3),
        info("../../n1/above.jpg", size=3),
        info("n1/esc\x1b[31m\n.jpg", size=3),
        info("n1/" + "l" * 3000 + ".jpg", size=3),
        info("n1/a\\b\\..\\win.jpg", size=3),
        info("n1/..", size=3),
        info("n1/good.jpg", size=3),
    ]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"abc"))
    return out.getvalue()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        os.path.join(where, name): (found.st_ino, found.st_mtime_ns)
        for where, folders, files in os.walk(folder)
        for name in folders + files
        for found in [os.lstat(os.path.join(where, name))]
    }


def check(members: list[Member]) -> None:
    names = {m.name: m for m in members}
    for name in ("link", "up", "hard", "loop", "zero", "disk", "fifo", "strange"):
        member = names[f"{name}.jpg"]
        assert (member.label, member.data, member.problem) == ("n1", None, "no regular file")
    for name in ("abs", "above", "win", "good"):
        member = names[f"{name}.jpg"]
        assert (member.label, member.data, member.problem) == ("n1", b"abc", None)
    assert all("/" not in m.name and "\\win" not in m.name and m.name.isprintable() for m in members)
    assert "esc\\x1b[31m\\n.jpg" in names
    assert len(members) == 14  # ".." is hidden


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    return path


@contextlib.contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Nothing below the folder may change, and no function that changes a file system may be called."""
    before = snapshot(folder)
    with pytest.MonkeyPatch.context() as patch:
        for function in FUNCTIONS:
            patch.setattr(os, function, lambda *_, **__: pytest.fail("the file system is changed"))
        yield
    assert snapshot(folder) == before


@pytest.mark.parametrize("kind", ["class tars", "tar of folders", "tar of tars", "tar.gz of tars"])
def test_every_trick(tmp_path: Path, secret: Path, kind: str) -> None:
    path = tmp_path / {"class tars": "n1.tar", "tar.gz of tars": "x.tar.gz"}.get(kind, "x.tar")
    data = hostile_tar(secret)
    if "of tars" in kind:
        data = tar_bytes([("n1.tar", data)], "w:gz" if "gz" in kind else "w")
    path.write_bytes(data)
    with unchanged(tmp_path):
        source = open_source(path, label_from="tar" if kind == "class tars" else "folder")
        members = list(source.members(everything))
        check(members)
        for read, start in enumerate([START, *(m.after for m in members)]):
            assert list(source.members(everything, start)) == members[read:]


def test_tricks_in_shards(tmp_path: Path, secret: Path) -> None:
    path = tmp_path / "00000.tar"
    path.write_bytes(hostile_tar(secret))
    with unchanged(tmp_path):
        members = list(open_source(path, label_from="key-prefix").members(everything))
    assert {m.problem for m in members} == {"no label", "no picture in the sample"}
    assert not any("/" in m.name or "\\win" in m.name for m in members)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.addfile(info("dog_1.jpg", tarfile.SYMTYPE, str(secret)))
        tar.addfile(info("dog_2.json", tarfile.SYMTYPE, str(secret)))
        tar.addfile(info("/../dog_2.jpg", size=3), io.BytesIO(b"abc"))
    path.write_bytes(out.getvalue())
    with unchanged(tmp_path):
        members = list(open_source(path, label_from="key-prefix").members(everything))
    assert [(m.name, m.data, m.problem) for m in members] == [
        ("dog_1.jpg", None, "no regular file"),
        ("dog_2", None, "no picture in the sample"),
        ("dog_2.jpg", b"abc", None),
    ]


PICTURE = Item("dog", "dog_1.jpg", b"d" * 40)
NUMBER = itertools.count()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def mutated(data: bytes, draw: st.DataObject) -> bytes:
    """Some bytes changed, a piece taken out or put in, cut short."""
    content = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 5))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    if draw.draw(st.booleans()):
        at, size = draw.draw(st.integers(0, len(content))), draw.draw(st.integers(0, 1500))
        content[at : at + size] = draw.draw(st.binary(max_size=40)) if draw.draw(st.booleans()) else b""
    return bytes(content[: draw.draw(st.integers(0, len(content)))] if draw.draw(st.booleans()) else content)


def drain(path: Path, label_from: str | None) -> Iterator[str]:
    """Read all that can be read; says how it ended."""
    try:
        source: Source = open_source(path, label_from=label_from)
        labels = source.labels()
        assert labels is None or all(isinstance(label, str) for label in labels)
        assert source.size(everything) >= 1
        for member in source.members(everything):
            assert (member.data is None) == (member.problem is not None)
            assert "/" not in member.name
            yield "member"
    except ClisError as error:
        yield error.hint or pytest.fail(f"no hint: {error}")


SLOW = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@given(data=st.data())
@SLOW
def test_mutated_tars_of_tars(place: Path, mode: str, data: st.DataObject) -> None:
    whole = tar_bytes(
        [("dog.tar", class_tar([PICTURE] * 2)), ("cat/1.jpg", b"c"), ("n.tar", class_tar([PICTURE]))], mode
    )
    path = place / f"{next(NUMBER)}.tar"
    path.write_bytes(mutated(whole, data))
    assert list(drain(path, "folder")) or path.stat().st_size
    path.unlink()


@pytest.mark.parametrize("label_from", ["tar", "key-prefix", "json:label", "filename"])
@given(data=st.data())
@SLOW
def test_mutated_shards(place: Path, label_from: str, data: st.DataObject) -> None:
    whole = tar_bytes([("dog_1.jpg", b"d" * 30), ("dog_1.json", b'{"label": "dog", "filename": "dog/1.jpg"}')] * 2)
    path = place / f"{next(NUMBER)}.tar"
    path.write_bytes(mutated(whole, data))
    list(drain(path, label_from))
    path.unlink()


@pytest.fixture(scope="module")
def own(place: Path) -> tuple[Path, bytes]:
    """A folder of shards and its manifest."""
    folder = own_shards(place / "own", [PICTURE])
    return folder, (folder / "manifest.json").read_bytes()


@given(data=st.data())
@SLOW
def test_mutated_manifests(own: tuple[Path, bytes], data: st.DataObject) -> None:
    folder, manifest = own
    (folder / "manifest.json").write_bytes(mutated(manifest, data))
    list(drain(folder, None))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
@given(data=st.data())
@SLOW
def test_mutated_texts(place: Path, kind: str, data: st.DataObject) -> None:
    texts = {
        "csv": b'path,label\n"a, b.jpg",dog\nc.jpg,cat\n',
        "jsonl": b'{"path": "a.jpg", "label": "dog"}\n{"file": "b.jpg", "class": 3}\n',
        "json": b'{"images": [{"file_name": "a.jpg", "pos_category_ids": [1]}], '
        b'"categories": [{"id": 1, "name": "dog"}]}',
    }
    path = place / f"{next(NUMBER)}.{kind}"
    path.write_bytes(mutated(texts[kind], data))
    list(drain(path, None))
    path.unlink()


def test_the_unmutated_are_read(place: Path) -> None:
    folder = place / "good"
    assert list(drain(csv_list(folder / "list.csv", [PICTURE]), None)) == ["member"]
    assert list(drain(webdataset(folder / "shards", [PICTURE]), "key-prefix")) == ["member"]
