"""Class folders: the layouts of ImageNet, links, hidden files, depth, order."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import pytest

from clis_core.data.picture import MAX_BYTES
from clis_core.data.sources.folders import ClassFolders
from clis_core.data.sources.member import Position
from clis_core.errors import DataError
from tests.pack import WNIDS, class_folders, draw_items, imagenet_21k_p, write

ITEMS = draw_items()


def everything(label: str) -> bool:
    return True


def names(folder: Path) -> list[tuple[str, str]]:
    return [(m.label, m.name) for m in ClassFolders(folder).members(everything)]


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (
            ["imagenet21k_train", "imagenet21k_val", "imagenet21k_small_classes"],
            "ImageNet-21K-P folders ({0}, {1}, {2})",
        ),
        (["imagenet21k_val", "imagenet21k_small_classes"], "ImageNet-21K-P folders ({0}, {1}; without {2})"),
        (["imagenet21k_train", "other"], "ImageNet-21K-P folders ({0}; without {1}, {2})"),
        (["train", "val"], "class folders (train, val)"),
        (["train", "test"], "class folders (train; without test)"),
        (["val"], "class folders (val)"),
    ],
)
def test_layouts_say_which_folders_there_are(tmp_path: Path, there: list[str], kind: str) -> None:
    for k, split in enumerate(there):
        if split not in ("test", "other"):
            class_folders(tmp_path / split, ITEMS[k : k + 5])
        else:
            write(tmp_path / split / "x.jpg", b"x")
    all_three = ["imagenet21k_train", "imagenet21k_val", "imagenet21k_small_classes"]
    order = [n for n in all_three if n in there] + [n for n in all_three if n not in there]
    source = ClassFolders(tmp_path)
    assert source.kind == kind.format(*order)
    assert source.labels() == list(WNIDS[:2])


def test_a_label_of_several_folders_is_one_class(tmp_path: Path) -> None:
    source = ClassFolders(imagenet_21k_p(tmp_path, ITEMS))
    members = list(source.members(lambda label: label == WNIDS[0]))
    assert [m.name for m in members] == [f"{WNIDS[0]}_{k}.JPEG" for k in (1, 2, 3, 0)]  # train, then val
    assert [m.after for m in members] == [Position(0, k) for k in (1, 2, 3, 4)]


def test_classes_called_train_and_val(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "bus/2.jpg"):
        write(tmp_path / "a" / name, b"x")
    assert names(tmp_path / "a") == [("bus", "2.jpg"), ("train", "1.jpg")]
    write(tmp_path / "b/train/1.jpg", b"x")
    assert names(tmp_path / "b") == [("train", "1.jpg")]
    write(tmp_path / "a/train/sub/3.jpg", b"x")  # other classes beside it
    assert names(tmp_path / "a") == [("bus", "2.jpg"), ("train", "1.jpg"), ("train", "3.jpg")]


def test_one_level_too_high(tmp_path: Path) -> None:
    imagenet_21k_p(tmp_path / "imagenet21k_resized", ITEMS)
    with pytest.raises(DataError, match="the classes lie deeper") as caught:
        ClassFolders(tmp_path)
    assert str(tmp_path / "imagenet21k_resized") in (caught.value.hint or "")


def test_order_is_by_name(tmp_path: Path) -> None:
    paths = ["b/2.jpg", "b/10.jpg", "b/a/9.jpg", "b/a/c/8.jpg", "b/Z.jpg", "b/c/7.jpg", "a/ü.jpg", "a/z.jpg", "B/1.jpg"]
    for path in paths:
        write(tmp_path / path, b"x")
    assert names(tmp_path) == [
        ("B", "1.jpg"),
        ("a", "z.jpg"),
        ("a", "ü.jpg"),
        *(("b", name) for name in ("10.jpg", "2.jpg", "Z.jpg", "9.jpg", "8.jpg", "7.jpg")),
    ]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    for path in (".git/x.jpg", "cup/.DS_Store", "cup/._1.jpg", "cup/.x/2.jpg", "cup/Thumbs.db", "cup/1.jpg", "x.jpg"):
        write(tmp_path / path, b"x")
    assert names(tmp_path) == [("cup", "1.jpg")]


def test_links(tmp_path: Path) -> None:
    write(tmp_path / "else/real/1.jpg", b"one")
    folder = tmp_path / "s"
    write(folder / "cup/0.jpg", b"zero")
    (folder / "cup/1.jpg").symlink_to(tmp_path / "else/real/1.jpg")
    (folder / "cup/2.jpg").symlink_to(tmp_path / "none")
    (folder / "cup/3").symlink_to(tmp_path / "else")
    (folder / "cup/4").symlink_to(folder)
    (folder / "cup/5.jpg").symlink_to("5.jpg")
    (folder / "self").symlink_to("self")
    os.mkfifo(folder / "cup/6.jpg")
    (folder / "linked").symlink_to(tmp_path / "else/real")
    members = [(m.label, m.name, m.data, m.problem) for m in ClassFolders(folder).members(everything)]
    assert members == [
        ("cup", "0.jpg", b"zero", None),
        ("cup", "1.jpg", b"one", None),
        ("cup", "2.jpg", None, "no such file"),
        ("cup", "3", None, "no regular file"),
        ("cup", "4", None, "no regular file"),
        ("cup", "5.jpg", None, "a file that cannot be read"),
        ("cup", "6.jpg", None, "no regular file"),
        ("linked", "1.jpg", b"one", None),
    ]


def test_large_files_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "cup/1.jpg", b"")
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    member = next(ClassFolders(tmp_path).members(everything))
    assert (member.data, member.problem) == (None, "larger than 64 MiB")


def test_deep_folders(tmp_path: Path) -> None:
    write(tmp_path / "cup" / "/".join("d" * 200) / "x.jpg", b"x")
    source = ClassFolders(tmp_path)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 60)  # fewer calls than folders
    try:
        found = [m.name for m in source.members(everything)]
    finally:
        sys.setrecursionlimit(limit)
    assert found == ["x.jpg"]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take Unicode only")
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/\xff\n.jpg", "wb") as file:
        file.write(b"x")
    (member,) = ClassFolders(tmp_path).members(everything)
    assert (member.label, member.name, member.data) == ("caf\\udce9", "\\udcff\\n.jpg", b"x")
    assert (member.label + member.name).encode()


def test_unwanted_folders_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ClassFolders(class_folders(tmp_path, ITEMS))
    listed: list[str] = []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or original(folder))
    list(source.members(lambda label: label == WNIDS[1]))
    assert listed == [str(tmp_path / WNIDS[1])]


def test_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "1.jpg", b"x")
    with pytest.raises(DataError, match="holds no folder") as caught:
        ClassFolders(tmp_path)
    assert f"{tmp_path}/zebra/1.jpg" in (caught.value.hint or "")
    with pytest.raises(DataError, match="No such file"):
        ClassFolders(tmp_path / "none")


def test_a_folder_that_goes_away(tmp_path: Path) -> None:
    source = ClassFolders(class_folders(tmp_path, ITEMS))
    for path in (tmp_path / WNIDS[1]).iterdir():
        path.unlink()
    (tmp_path / WNIDS[1]).rmdir()
    with pytest.raises(DataError, match=WNIDS[1]):
        list(source.members(everything))
