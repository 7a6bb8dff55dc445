"""Files of categories and addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clis_core.categories import Categories, Category
from clis_core.data.crawl.backends.backend import Hit
from clis_core.data.crawl.backends.urls import read_addresses
from clis_core.errors import DataError

CATEGORIES = Categories([Category(1, "aerosol_can"), Category(7, "bow_(weapon)")])


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv_by_name_or_id_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "a.csv",
        "\ufeffURL,Category,license,creator,page,title\n"
        "http://a.test/2,aerosol_can,CC0,Jane,http://a.test,Can\n\n"
        '"http://a.test/1,x",1,,,,\n'
        "http://b.test/,bow_(weapon)\n"
        "http://a.test/2,aerosol_can,again,,,\n",
    )
    assert read_addresses(file, CATEGORIES, 100) == {
        1: [Hit("http://a.test/2", "http://a.test", "CC0", "Jane", "Can"), Hit("http://a.test/1,x")],
        7: [Hit("http://b.test/")],
    }


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"category_id": 7, "url": "http://b.test/"}, {"category": "aerosol_can", "url": " u ", "licence": "CC0"}]
    file = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    assert read_addresses(file, CATEGORIES, 100) == {7: [Hit("http://b.test/")], 1: [Hit("u", licence="CC0")]}


def test_the_first_ones_of_a_category_are_taken(tmp_path: Path) -> None:
    rows = "".join(f"1,http://a.test/{n}\n" for n in (1, 1, 2, 3))
    found = read_addresses(write(tmp_path, "a.csv", f"category,url\n{rows}"), CATEGORIES, 2)
    assert [hit.address for hit in found[1]] == ["http://a.test/1", "http://a.test/2"]


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("a.csv", "", "does not name the columns", "category,url"),
        ("a.csv", "path,label\n", "does not name the columns", "category,url"),
        ("a.csv", "category,url\n", "holds no address", "category,url"),
        ("a.csv", "category,url\naerosol_can,\n", "line 2, has no category or no address", "Correct it"),
        ("a.csv", "category,url\n1,x\naerosol_cam,y\n", "line 3: 'aerosol_cam' is no category", "aerosol_can"),
        ("a.csv", "category,url\nqqqqqq,y\n", "is no category", "--dry-run"),
        ("a.csv", "category,url\n1," + "x" * 200_000, "line 2: field larger", "Correct it"),
        ("a.jsonl", '{"category": 1, "url": "x"}\n[]\n', "line 2, is no JSON object", "Correct it"),
        ("a.jsonl", "category,url\n", "line 1, is no JSON object", "Correct it"),
        ("a.jsonl", '{"category": [1], "url": "x"}\n', "line 1, has no category", "Correct it"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_addresses(write(tmp_path, name, text), CATEGORIES, 10)
    assert str(tmp_path / name) in error.value.message
    assert hint in (error.value.hint or "")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_addresses(tmp_path / "none.csv", CATEGORIES, 10)
    (tmp_path / "a.csv").write_bytes(b"category,url\n1,\xff\n")
    with pytest.raises(DataError, match="no UTF-8"):
        read_addresses(tmp_path / "a.csv", CATEGORIES, 10)
