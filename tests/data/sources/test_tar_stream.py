"""One tar of many classes: read in one go, resumed by seeking; a damaged class tar ends alone, a damaged whole all."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.sources import byte_stream as streams
from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.tar_stream import TarStream
from clis_core.errors import DataError
from tests.pack import WNIDS, Item, class_tar, draw_items, tar_bytes, tar_of_folders, tar_of_tars, write

ITEMS = draw_items()


def everything(label: str) -> bool:
    return True


def test_labels_are_known_where_they_are_cheap(tmp_path: Path) -> None:
    plain = TarStream(tar_of_tars(tmp_path / "a.tar", ITEMS, below="./fall11/"))
    assert plain.labels() == list(WNIDS)
    assert plain.kind == "tar of class tars"
    assert TarStream(tar_of_tars(tmp_path / "a.tar.gz", ITEMS, "w:gz")).labels() is None
    folders = TarStream(tar_of_folders(tmp_path / "b.tar", ITEMS))
    assert folders.labels() is None
    assert folders.kind == "tar of class folders"
    assert folders.size(lambda label: False) == (tmp_path / "b.tar").stat().st_size


def test_the_label_is_the_name_of_the_last_folder(tmp_path: Path) -> None:
    files = [
        ("README", b"no class"),
        ("a/b/cat/1.jpg", b"1"),
        ("/abs/dog/2.jpg", b"2"),
        ("../../etc/3.jpg", b"3"),
        ("x/../4.jpg", b"4"),
        ("cat\\5.jpg", b"5"),
        ("w/sub\\6.jpg", b"6"),
    ]
    source = TarStream(write(tmp_path / "x.tar", tar_bytes(files)))
    members = [(m.label, m.name, m.data) for m in source.members(everything)]
    assert members == [
        ("", "README", None),
        ("cat", "1.jpg", b"1"),
        ("dog", "2.jpg", b"2"),
        ("etc", "3.jpg", b"3"),
        ("", "4.jpg", None),
        ("", "5.jpg", None),
        ("w", "6.jpg", b"6"),
    ]
    assert {m.problem for m in source.members(everything) if not m.label} == {"no label"}


def test_class_tars_and_folders_in_one(tmp_path: Path) -> None:
    data = tar_bytes(
        [
            ("n1.tar", class_tar(ITEMS[:4])),
            ("cup/1.jpg", b"1"),
            ("deep/n2.TAR", class_tar(ITEMS[4:8])),
            ("n3.tar.gz", b"?"),
        ]
    )
    source = TarStream(write(tmp_path / "x.tar", data))
    members = list(source.members(everything))
    assert [m.label for m in members] == ["n1"] * 4 + ["cup"] + ["n2"] * 4 + ["n3"]
    assert members[-1].problem == "a compressed tar inside a tar"
    assert source.labels() == ["cup", "n1", "n2", "n3"]


@pytest.mark.parametrize("kind", ["cut", "flip", "garbage", "empty"])
def test_a_damaged_class_tar_ends_alone(tmp_path: Path, kind: str) -> None:
    inner = class_tar(ITEMS[4:8])
    second = 512 + -(-len(ITEMS[4].data) // 512) * 512
    damaged = {
        "cut": inner[: second + 600],
        "flip": inner[: second + 5] + b"\xff" + inner[second + 6 :],
        "garbage": b"<html>" * 500,
        "empty": b"",
    }[kind]
    files = [("n1.tar", class_tar(ITEMS[:4])), ("n2.tar", damaged), ("n3.tar", class_tar(ITEMS[8:]))]
    for mode in ("w", "w:gz"):
        source = TarStream(write(tmp_path / "x.tar", tar_bytes(files, mode)))
        members = list(source.members(everything))
        whole = [m.label for m in members if m.problem is None]
        assert whole == ["n1"] * 4 + ["n2"] * (1 if kind in ("cut", "flip") else 0) + ["n3"] * 4
        problem = next(m for m in members if m.problem)
        assert (problem.label, problem.name, problem.problem) == ("n2", "n2.tar", "damaged tar")
        for read, start in enumerate([START, *(m.after for m in members)]):
            assert list(source.members(everything, start)) == members[read:]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_cut_whole_is_an_error(tmp_path: Path, mode: str) -> None:
    data = tar_bytes([(f"{i.label}.tar", class_tar([i] * 40)) for i in ITEMS], mode)
    path = write(tmp_path / "whole.tar", data[: int(len(data) * 0.6)])
    got: list[Member] = []
    with pytest.raises(DataError) as caught:
        got.extend(TarStream(path).members(everything))
    assert all(m.problem is None for m in got)  # it is not the class tar that is damaged
    assert got or mode in ("w:bz2", "w:xz")  # these unpack in large blocks
    assert "cut short" in caught.value.message
    assert str(path) in caught.value.message


def test_a_damaged_whole_names_the_last_class_tar(tmp_path: Path) -> None:
    first = class_tar(ITEMS[:4])
    data = bytearray(tar_bytes([("n1.tar", first), ("n2.tar", class_tar(ITEMS[4:8]))]))
    data[512 + len(first)] ^= 1
    source = TarStream(write(tmp_path / "x.tar", bytes(data)))
    for use in (source.labels, lambda: list(source.members(everything))):
        with pytest.raises(DataError, match=r"bad checksum.*the last whole file in it is 'n1\.tar'"):
            use()


def test_a_flipped_byte_in_gzip_is_an_error(tmp_path: Path) -> None:
    data = bytearray(tar_bytes([(f"{i.label}/{i.name}", i.data) for i in ITEMS], "w:gz"))
    data[-6] ^= 1  # of the check sum at its end
    source = TarStream(write(tmp_path / "x.tar.gz", bytes(data)))
    with pytest.raises(DataError, match="compressed data cannot be read"):
        list(source.members(everything))


def test_unwanted_classes_and_earlier_parts_are_sought_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [Item(label, f"{k}.jpg", bytes([k + 1]) * 20_000) for label in WNIDS for k in range(10)]
    source = TarStream(tar_of_tars(tmp_path / "x.tar", items))
    read = 0

    def counting(file: Any, size: int) -> bytes:
        nonlocal read
        data = original(file, size)
        read += len(data)
        return data

    original = streams._read_all
    monkeypatch.setattr(streams, "_read_all", counting)
    monkeypatch.setattr(streams, "_AHEAD", 1000)
    got = list(source.members(lambda label: label == WNIDS[1]))
    assert len(got) == 10
    assert 200_000 < read < 240_000
    read = 0
    assert len(list(source.members(everything, got[-1].after))) == 10
    assert 200_000 < read < 240_000
    read = 0
    assert source.labels() == list(WNIDS)
    assert source.size(lambda label: label == WNIDS[1]) > 200_000
    assert read < 20_000


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar_of_tars(tmp_path / "x.tar.gz", ITEMS, "w:gz")

    def reading(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        assert not set(mode) & set("wax+")
        return original(file, mode, *args, **kwargs)

    original = io.open
    monkeypatch.setattr(io, "open", reading)
    monkeypatch.setattr(builtins, "open", reading)
    assert len(list(TarStream(path).members(everything, Position(0, 2)))) == 10
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_passed_over_is_asked_for_too(tmp_path: Path) -> None:
    """It takes long in a compressed file, and asking is how a signal ends it."""
    items = [Item(label, f"{k}.jpg", bytes([k + 1]) * 2000) for label in WNIDS for k in range(10)]
    source = TarStream(tar_of_tars(tmp_path / "x.tar.gz", items, "w:gz"))
    asked: list[str] = []

    def wanted(label: str) -> bool:
        asked.append(label)
        return True

    assert len(list(source.members(wanted, Position(1, 8)))) == len(items) - 18
    assert asked.count(WNIDS[0]) == 1
    assert asked.count(WNIDS[1]) >= 10
