"""Class tars: one label for each tar, what is not wanted stays unread, damage names the tar."""

from __future__ import annotations

from pathlib import Path

import pytest

from clis_core.data.picture import MAX_BYTES
from clis_core.data.sources.class_tars import ClassTars
from clis_core.data.sources.member import Member, Position
from clis_core.errors import DataError
from tests.data.sources.test_tar_walk import header
from tests.pack import class_tar, class_tars, draw_items, tar_bytes, write

ITEMS = draw_items()


def everything(label: str) -> bool:
    return True


def tars(folder: Path) -> list[Path]:
    return list(folder.glob("*.tar*"))


def test_parts_are_the_tars_by_name(tmp_path: Path) -> None:
    class_tars(tmp_path, draw_items(["zebra", "Äpfel (red)", "n02084071", "a.b"]))
    write(tmp_path / "cup.tar.gz", tar_bytes([("1.jpg", b"1"), ("2.jpg", b"2")], "w:gz"))
    source = ClassTars(tars(tmp_path))
    assert source.labels() == ["a.b", "cup", "n02084071", "zebra", "Äpfel (red)"]
    members = list(source.members(everything))
    assert [m.label for m in members] == ["a.b"] * 4 + ["cup"] * 2 + ["n02084071"] * 4 + ["zebra"] * 4 + [
        "Äpfel (red)"
    ] * 4
    assert members[5].after == Position(1, 2)


def test_unwanted_tars_are_not_opened(tmp_path: Path) -> None:
    class_tars(tmp_path, ITEMS)
    (tmp_path / "n00000001.tar").write_bytes(b"no tar")
    (tmp_path / "n02084071.tar").unlink()
    source = ClassTars([*tars(tmp_path), tmp_path / "n02084071.tar"])
    labels = {"n01440764", "n07747607"}
    assert {m.label for m in source.members(lambda label: label in labels)} == labels
    with pytest.raises(DataError, match=r"n02084071\.tar cannot be read: No such file"):
        list(source.members(lambda label: label == "n02084071"))


def test_asked_before_each_member(tmp_path: Path) -> None:
    asked = []

    def ask(label: str) -> bool:
        asked.append(label)
        return len(asked) < 4

    source = ClassTars([class_tars(tmp_path, ITEMS[:4]) / "n01440764.tar"])
    assert len(list(source.members(ask))) == 2
    assert len(asked) == 4  # for the tar, two members, and the one that ends it


def test_hidden_files_and_folders_are_no_members(tmp_path: Path) -> None:
    files = [("./._1.JPEG", b"x"), ("n1/", b""), (".DS_Store", b"x"), ("n1/1.JPEG", b"1"), ("Thumbs.db", b"x")]
    path = write(tmp_path / "dog.tar", tar_bytes(files))
    members = list(ClassTars([path]).members(everything))
    assert [(m.label, m.name, m.after) for m in members] == [("dog", "1.JPEG", Position(0, 4))]


@pytest.mark.parametrize("cut", [100, 512, 700, 5000])
def test_cut_short(tmp_path: Path, cut: int) -> None:
    data = class_tar(ITEMS[:4])
    path = write(tmp_path / "a b" / "n01440764.tar", data[:cut])
    got: list[Member] = []
    with pytest.raises(DataError) as caught:
        got.extend(ClassTars([path]).members(everything))
    assert str(path) in caught.value.message
    last = f"the last whole file in it is {got[-1].name!r}" if got else "no file in it is whole"
    assert last in caught.value.message
    assert f"tar -cf '{path}' -T /dev/null" in (caught.value.hint or "")


def test_the_hint_leaves_the_class_out(tmp_path: Path) -> None:
    class_tars(tmp_path, ITEMS)
    write(tmp_path / "n02084071.tar", bytes(10240))  # what tar -cf ... -T /dev/null writes
    source = ClassTars(tars(tmp_path))
    assert {m.label for m in source.members(everything)} == {"n01440764", "n07747607"}


def test_missing_end_mark(tmp_path: Path) -> None:
    item = ITEMS[0]
    whole = header(item.name, size=len(item.data)) + item.data + bytes(-len(item.data) % 512)
    path = write(tmp_path / "cup.tar", whole)
    source = ClassTars([path])
    with pytest.raises(DataError, match="end mark") as caught:
        list(source.members(everything))
    assert f"head -c 1024 /dev/zero >> {path}" in (caught.value.hint or "")
    with path.open("ab") as file:
        file.write(bytes(1024))
    assert len(list(source.members(everything))) == 1


def test_large_members_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "dog.tar"
    with path.open("wb") as file:  # a hole on the disk: it takes no room
        file.write(header("large.jpg", size=MAX_BYTES + 1))
        file.seek(MAX_BYTES + 512, 1)
        file.write(header("most.jpg", size=MAX_BYTES))
        file.seek(MAX_BYTES, 1)
        file.write(header("small.jpg", size=3) + b"abc" + bytes(509) + bytes(1024))
    members = [(m.name, m.problem, len(m.data or b"")) for m in ClassTars([path]).members(everything)]
    assert members == [
        ("large.jpg", "larger than 64 MiB", 0),
        ("most.jpg", None, MAX_BYTES),
        ("small.jpg", None, 3),
    ]
