"""Lists of files: headers, keys, paths, categories; what is wrong is told by its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.sources.listing import LABEL_NAMES, PATH_NAMES, Listing
from clis_core.data.sources.member import Position
from clis_core.errors import DataError
from tests.pack import write


def everything(label: str) -> bool:
    return True


def read(path: Path, root: Path | None = None) -> list[tuple[str, str, bytes | None, str | None]]:
    return [(m.label, m.name, m.data, m.problem) for m in Listing(path, root).members(everything)]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    write(tmp_path / "a/1.jpg", b"one")
    return tmp_path


ONE = ("cup", "1.jpg", b"one", None)


@pytest.mark.parametrize("label", [*LABEL_NAMES, " Label "])
@pytest.mark.parametrize("path", [*PATH_NAMES, "PATH"])
def test_names_of_columns(one: Path, path: str, label: str) -> None:
    csv = write(one / "x.csv", f"id,{label},{path},more\n7,cup,a/1.jpg,?\n".encode())
    assert read(csv) == [ONE]
    record = {path.lower(): "a/1.jpg", "id": 7, label.lower().strip(): "cup"}
    assert read(write(one / "x.jsonl", json.dumps(record).encode())) == [ONE]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "\ufeffpath,label\r\na/1.jpg, cup \r\n\r\n"),
        ("x.CSV", 'path,label\n"a/1.jpg","cup"'),
        ("x.csv", "path,label\na\\1.jpg,cup\n"),
        ("x.tsv", "path\tlabel\na/1.jpg\tcup\n"),
        ("x.ndjson", '\ufeff{"path": "a/1.jpg", "label": "cup"}\r\n\n'),
    ],
)
def test_ways_to_write_it(one: Path, name: str, text: str) -> None:
    assert read(write(one / name, text.encode())) == [ONE]


def test_paths(one: Path) -> None:
    rows = ["path,label", "1.jpg,cup", f"{one}/a/1.jpg,cup", "../a/1.jpg,cup"]
    path = write(one / "lists/x.csv", "\n".join(rows).encode())
    assert [problem for *_, problem in read(path)] == ["no such file", None, None]
    assert [problem for *_, problem in read(path, one / "a")] == [None, None, None]


def test_numbers_are_labels(one: Path) -> None:
    assert read(write(one / "x.jsonl", b'{"path": "a/1.jpg", "label": 12}'))[0][0] == "12"


def test_files_that_cannot_be_read_are_members(one: Path) -> None:
    rows = ["path,label", "none.jpg,cup", "a,cup", "a/1.jpg/x,cup", "a/1.jpg,cup", "l" * 300 + ",cup"]
    members = read(write(one / "x.csv", "\n".join(rows).encode()))
    problems = ["no such file", "no regular file", "a file that cannot be read", None, "a file that cannot be read"]
    assert [problem for *_, problem in members] == problems
    path = write(one / "x.jsonl", b'{"path": "a\\u0000b", "label": "cup"}')
    assert read(path) == [("cup", "a\\x00b", None, "a file that cannot be read")]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.csv", "", "no column is the path"),
        ("x.csv", "a/1.jpg,cup\n", "no column is the path; its first line is 'a/1.jpg,cup'"),
        ("x.csv", "path,what\nx,y\n", "no column is the label"),
        ("x.csv", "path,filename,label\nx,y,z\n", "path and filename could each be the path"),
        ("x.csv", "path,label\nx,y\nz\n", "line 3: 1 fields, but the header has 2"),
        ("x.csv", "path,label\n,y\n", "line 2: its path is empty"),
        ("x.csv", "path,label\nx, \n", "line 2: its label is empty"),
        ("x.csv", 'path,label\nx,"y\n', "line 2: unexpected end of data"),
        ("x.csv", "path,label\nx," + "y" * 200_000, "line 2: field larger than field limit"),
        ("x.csv", "path,label\nx," + "y" * 2_000_000, "line 2 is longer than 1 MiB"),
        ("x.csv", "path,label\nhttps://x.org/1.jpg,cup\n", "line 2: 'https://x.org/1.jpg' is an address"),
        ("x.csv", "path,label\n", "lists no picture"),
        ("x.jsonl", '{"path": "x", "label": "y"}\n{"path": "x"', "line 2: Input data was truncated"),
        ("x.jsonl", "[1]", "line 1: there is no text for the path"),
        ("x.jsonl", '{"path": "x", "label": 1.5}', "line 1: there is no text for the label"),
        ("x.jsonl", '{"path": "x", "label": true}', "line 1: there is no text for the label"),
        ("x.jsonl", '{"path": "x", "label": "y", "class": "z"}', "line 1: label and class could each be the label"),
        ("x.jsonl", "[" * 100_000, "line 1: "),
        ("x.json", "{}", "no list of pictures"),
        ("x.json", '{"images": [{"file_name": "x"}], "categories": []}', "pos_category_ids"),
        ("x.json", "", "no list of pictures"),
    ],
)
def test_wrong_lists(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = write(tmp_path / name, text.encode())
    with pytest.raises(DataError) as caught:
        Listing(path)
    assert words in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_latin_1(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "path,label\ncafé.jpg,café\n".encode("latin-1"))
    with pytest.raises(DataError, match="no UTF-8 text"):
        Listing(path)
    with pytest.raises(DataError, match="No such file"):
        Listing(tmp_path / "none.csv")


def image_json(path: Path, *images: list[int]) -> Path:
    content: dict[str, Any] = {
        "images": [{"file_name": "a/1.jpg", "pos_category_ids": ids, "height": 3} for ids in images],
        "categories": [{"id": 4, "name": "cup"}, {"id": 9, "name": "zebra"}],
    }
    return write(path, json.dumps(content).encode())


def test_images_with_one_category_each(one: Path) -> None:
    path = image_json(one / "x.json", [4], [4, 9], [9], [], [9, 9])
    source = Listing(path)
    assert source.labels() == ["cup", "zebra"]
    assert read(path) == [
        ONE,
        ("cup", "1.jpg", None, "several categories"),
        ("zebra", "1.jpg", b"one", None),
        ("", "1.jpg", None, "no label"),
        ("zebra", "1.jpg", b"one", None),
    ]
    zebras = [(m.label, m.problem, m.after) for m in source.members(lambda label: label == "zebra")]
    assert zebras == [
        ("zebra", "several categories", Position(0, 2)),
        ("zebra", None, Position(0, 3)),
        ("zebra", None, Position(0, 5)),
    ]


def test_unknown_categories(one: Path) -> None:
    with pytest.raises(DataError, match=r"images\[1\] \('a/1.jpg'\) has category 5"):
        Listing(image_json(one / "x.json", [4], [5]))
