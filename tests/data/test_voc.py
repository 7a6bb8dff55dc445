"""VOC's lists and XML files: which are whose, what they say, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from clis_core.config.data import DataConfig
from clis_core.data.annotations import load_annotations
from clis_core.data.layout import check_splits, find_dataset, open_split
from clis_core.data.voc import CLASSES, find_voc, read_voc, years_root
from clis_core.errors import DataError
from tests.voc import draw_voc, write_list, write_xml


def main(year: Path, name: str) -> Path:
    return year / "ImageSets" / "Main" / f"{name}.txt"


@pytest.fixture
def year(tmp_path: Path) -> Path:
    """Two images and two classes."""
    made = tmp_path / "devkit" / "VOC2007"
    write_xml(made, "000005", (50, 100), [("cat", (1, 1, 100, 50), False), ("dog", (11, 21, 20, 30), True)])
    write_xml(made, "000007", (40, 60), [("dog", (10.5, 1, 30, 20), False)], file="C:\\old\\seven.png")
    write_list(made, "train", ["000005 ", "", "000007  1"])
    return made


def test_what_the_files_say(year: Path) -> None:
    table = load_annotations(main(year, "train"), None)
    assert [c.name for c in table.categories] == ["cat", "dog"]
    assert table.categories.ids == [1, 2]
    assert table.sizes.tolist() == [[50, 100], [40, 60]]
    assert table.file_names() == ["VOC2007/JPEGImages/000005.jpg", "VOC2007/JPEGImages/seven.png"]
    boxes, labels = table.target(0)
    assert boxes.tolist() == [[0, 0, 100, 50]]  # the difficult one is left out; pixels begin at 1
    assert labels.tolist() == [1]
    assert table.target(1)[0].tolist() == [[9.5, 0, 30, 20]]
    assert table.dropped == (1, 0)
    assert not table.is_lvis
    again = pickle.loads(pickle.dumps(table))
    assert again.target(0)[0].tolist() == boxes.tolist()
    assert read_voc(main(year, "train")).difficult.tolist() == [False, True, False]


def test_classes_of_voc_itself(year: Path) -> None:
    write_list(year, "aeroplane_train", [])
    categories = read_voc(main(year, "train")).categories
    assert [c.name for c in categories] == list(CLASSES)
    assert len(CLASSES) == 20
    write_xml(year, "000007", (40, 60), [("hat", (1, 1, 30, 20), False)])
    with pytest.raises(DataError, match="'hat' is no class of VOC"):
        read_voc(main(year, "train"))


def test_lists_of_one_year(tmp_path: Path) -> None:
    year = draw_voc(tmp_path / "devkit")
    layout = find_dataset(year)
    assert (layout.train, layout.val) == (main(year, "train"), main(year, "val"))
    assert find_voc(year.parent, "train") == main(year, "train")
    tested = draw_voc(tmp_path / "tested", val="test")
    assert (find_voc(tested, "train"), find_voc(tested, "val")) == (main(tested, "trainval"), main(tested, "test"))
    assert find_voc(tmp_path, "train") is None


def test_years_beside_each_other(tmp_path: Path) -> None:
    old, new = draw_voc(tmp_path, "VOC2007", val="test"), draw_voc(tmp_path, "VOC2012", seed=1)
    write_list(new, "test", ["2012_never_given_out"])
    data = DataConfig(root=tmp_path)
    train, val = open_split(data, "train", None), open_split(data, "val", None)
    assert val.table.path == main(old, "test")
    assert train.table.path == tmp_path
    assert len(train.table) == 12 + 12 + 6  # both years' trainval
    assert {train.table.file_name(i).split("/")[0] for i in (0, 29)} == {"VOC2007", "VOC2012"}
    assert all(train.files.path(i).is_file() for i in range(len(train.table)))
    check_splits(train, val)
    assert {c.group for c in train.table.categories} <= {"r", "c", "f"}
    main(old, "test").unlink()  # then the newest year's val is looked at, and not learnt from
    assert find_voc(tmp_path, "val") == main(new, "val")
    names = open_split(data, "train", None).table.file_names()
    held_out = open_split(data, "val", None).table.file_names()
    assert len(held_out) == 6
    assert not set(names) & set(held_out)


def test_years_that_have_images_of_others_again(tmp_path: Path) -> None:
    old, new = tmp_path / "VOC2010", tmp_path / "VOC2012"
    for year in (old, new):
        for stem in ("2008_000001", "2008_000002", "2010_000003"):
            write_xml(year, stem, (40, 60), [("dog", (1, 1, 30, 20), False)])
    write_list(old, "trainval", ["2008_000001", "2008_000002", "2010_000003"])
    write_list(new, "train", ["2008_000001"])
    write_list(new, "val", ["2008_000002"])
    assert find_voc(tmp_path, "val") == main(new, "val")
    # One is of the newer year, one is validated on.
    assert read_voc(tmp_path).names == ["VOC2012/JPEGImages/2008_000001.jpg", "VOC2010/JPEGImages/2010_000003.jpg"]


def test_a_list_by_a_relative_path(year: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(year)
    path = Path("ImageSets", "Main", "train.txt")
    assert read_voc(path).names[0] == "VOC2007/JPEGImages/000005.jpg"
    assert years_root(path) == year.parent


def test_a_list_that_is_named(tmp_path: Path) -> None:
    year = draw_voc(tmp_path)
    split = open_split(DataConfig(train=main(year, "val")), "train", tmp_path / "cache")
    assert len(split.table) == 6
    assert split.files.path(0).is_file()
    moved = tmp_path / "elsewhere"
    (year / "JPEGImages").rename(moved)
    split = open_split(DataConfig(train=main(year, "val"), train_images=moved), "train", None)
    assert split.files.path(0).parent == moved


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "not an annotation of VOC"),
        ("<annotation><size><width>5</width></size></annotation>", "there is no size/height"),
        ("<annotation><size><width>5</width><height>0</height></size></annotation>", "no pixels"),
        ("<annotation><size><width>a</width><height>1</height></size></annotation>", "could not convert"),
        ("<annotation><size><width>5</width><height>inf</height></size></annotation>", "not a finite number"),
        ("<annotation><size><width>5</width><height>1e30</height></size></annotation>", "too many pixels"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>", "declares a document type"),
        (
            "<annotation><size><width>5</width><height>5</height></size><object><name>cat</name></object></annotation>",
            "there is no bndbox/xmin",
        ),
        (
            "<annotation><size><width>5</width><height>5</height></size><object><bndbox><xmin>1</xmin><ymin>1</ymin>"
            "<xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>",
            "there is no name",
        ),
    ],
)
def test_files_that_are_refused(year: Path, text: str, words: str) -> None:
    (year / "Annotations" / "000007.xml").write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        load_annotations(main(year, "train"), None)
    assert "000007.xml" in caught.value.message
    assert caught.value.hint


def test_entities_in_utf_16_are_refused(year: Path) -> None:
    text = "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>"
    (year / "Annotations" / "000007.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="document type"):
        read_voc(main(year, "train"))


def test_lists_that_are_refused(year: Path) -> None:
    for names, words in (
        (["../../secret"], "is no name of an image"),
        (["a\0b"], "is no name of an image"),
        ([], "no images are listed"),
        (["9"], "9.xml"),
    ):
        with pytest.raises(DataError, match=words):
            read_voc(write_list(year, "train", names))


def test_a_large_file_is_not_read(year: Path) -> None:
    (year / "Annotations" / "000007.xml").write_bytes(b" " * ((4 << 20) + 1))
    with pytest.raises(DataError, match="larger than 4 MB"):
        read_voc(main(year, "train"))
