"""Lists of regions that were made elsewhere: both formats, and every line that is none is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from clis_core.data.region_list import read_region_list
from clis_core.errors import DataError

LINE = '{"key": "a_1", "box": [0.1, 0.25, 0.5, 1]}\n'
ROWS = "key,x1,y1,x2,y2\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.jsonl", LINE + "\n" + '{"box": [0, 0, "1", 0.5], "key": "b\u2028c", "more": 3}\n'),
        ("l.json", "\ufeff" + LINE + '{"box": [0, 0, 1, 0.5], "key": "b\u2028c"}'),
        ("l.csv", ROWS + 'a_1,0.1,0.25,0.5,1\n\n"b\u2028c",0,0,1,.5\n'),
        ("l.CSV", (ROWS + "a_1,0.1,0.25,0.5,1\nb\u2028c,0,0,1,.5").replace("\n", "\r\n")),
        ("l.txt", "\ufeff" + ROWS + "a_1,0.1,0.25,0.5,1.0\nb\u2028c,0,0,1,5e-1\n"),
    ],
)
def test_both_formats(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name, text)
    found = read_region_list(path)
    assert list(found.rows) == ["a_1", "b\u2028c"]
    assert found.get("a_1") == pytest.approx([0.1, 0.25, 0.5, 1])
    assert found.get("b\u2028c") == pytest.approx([0, 0, 1, 0.5])
    assert found.get("c") is None
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.jsonl", "", "holds no region"),
        ("l.csv", ROWS, "holds no region"),
        ("l.csv", "", "line 1: the header"),
        ("l.csv", "key,x1,x2,y1,y2\na,0,0,1,1\n", "line 1: the header"),
        ("l.csv", ROWS + "a,0,0,1,1\na,0,0,1,1\n", "line 3: 'a' occurs twice"),
        ("l.jsonl", LINE + LINE, "line 2: 'a_1' occurs twice"),
        ("l.csv", ROWS + "a,0,0,1\n", "line 2: .* no box of four numbers"),
        ("l.csv", ROWS + "a,0,0,1,one\n", "line 2: .* no box of four numbers"),
        ("l.csv", ROWS + "a,0,0,1,inf\n", "line 2: .* no box of four numbers"),
        ("l.csv", ROWS + "a," + "9" * 200_000 + ",0,1,1\n", "line [12]: field larger"),
        ("l.jsonl", LINE + '{"key": "a"}\n', "line 2: no region"),
        ("l.jsonl", LINE + "\n[1]\n", "line 3: no region"),
        ("l.jsonl", "[" * 100_000 + "\n", "line 1: no region"),
        ("l.jsonl", '{"key": "a", "box": "0011"}', "line 1: '0011' is no box"),
        ("l.jsonl", '{"key": "a", "box": [0, 0, 1, NaN]}', "no box of four numbers"),
        ("l.jsonl", '{"key": "a", "box": [0, 0, 1, 1' + "0" * 400 + "]}", "no box of four numbers"),
        ("l.jsonl", '{"key": "a", "box": [10, 20, 50, 80]}', "no box relative to its picture"),
        ("l.jsonl", '{"key": "a", "box": [0.5, 0, 0.5, 1]}', "no box relative to its picture"),
        ("l.jsonl", '{"key": "a", "box": [0.5, 0, 0.50000000001, 1]}', "no box relative to its picture"),
        ("l.jsonl", '{"key": "a", "box": [0, 0.9, 1, 0.1]}', "no box relative to its picture"),
        ("l.jsonl", '{"key": "a", "box": [-0.1, 0, 1, 1]}', "no box relative to its picture"),
        ("l.jsonl", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_no_region_is_named(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(DataError, match=said) as caught:
        read_region_list(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        read_region_list(tmp_path / "none.csv")
