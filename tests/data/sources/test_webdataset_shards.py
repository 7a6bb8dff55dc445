"""WebDataset shards: where a sample has its label, what a sample is, and what is said where the label is not known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from clis_core.data.picture import MAX_BYTES
from clis_core.data.sources.label_from import parse_label_from
from clis_core.data.sources.open import open_source
from clis_core.data.sources.webdataset_shards import WebDatasetShards
from clis_core.errors import ConfigError, DataError
from tests.data.sources.test_tar_walk import header
from tests.pack import WNIDS, class_list, draw_items, own_shards, tar_bytes, write
from tests.pack import webdataset as pack

ITEMS = draw_items()


def everything(label: str) -> bool:
    return True


def shard(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    return write(folder / "00000.tar", tar_bytes(files))


def read(
    path: Path, label_from: str, class_list: Path | None = None
) -> list[tuple[str, str, bytes | None, str | None]]:
    source = WebDatasetShards([path], parse_label_from(label_from, class_list))
    return [(m.label, m.name, m.data, m.problem) for m in source.members(everything)]


@pytest.mark.parametrize("order", [("jpg", "json", "cls"), ("cls", "json", "jpg"), ("json", "txt", "jpg")])
def test_files_of_a_sample_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    contents = {"jpg": b"j", "json": b'{"class": "cup"}', "cls": b"1\n", "txt": b"a cup"}
    path = shard(tmp_path, [(f"d/{k}.{e}", contents[e]) for k in range(2) for e in order])
    assert read(path, "json:class") == [("cup", f"{k}.jpg", b"j", None) for k in range(2)]


@pytest.mark.parametrize("extension", ["jpg", "JPEG", "png", "webp", "Gif", "bmp", "tif", "TIFF"])
def test_extensions_of_pictures(tmp_path: Path, extension: str) -> None:
    path = shard(tmp_path, [("cup_1.seg.png", b"s"), (f"cup_1.{extension}", b"p"), ("cup_1.mask.jpg", b"m")])
    assert read(path, "key-prefix") == [("cup", f"cup_1.{extension}", b"p", None)]


def test_the_first_picture_is_taken(tmp_path: Path) -> None:
    assert read(shard(tmp_path, [("a_1.png", b"p"), ("a_1.jpg", b"j")]), "key-prefix") == [("a", "a_1.png", b"p", None)]


@pytest.mark.parametrize(
    ("record", "label_from", "label"),
    [
        ({"label": 17}, "json:label", "17"),
        ({"label": " cup\n"}, "json:label", "cup"),
        ({"a:b": "cup"}, "json:a:b", "cup"),
        ({"filename": "n01440764/n01440764_10026.JPEG"}, "filename", "n01440764"),
        ({"file_name": "/data/train/n01440764/x.JPEG"}, "filename", "n01440764"),
        ({"path": "c:\\pictures\\cup\\1.jpg"}, "filename", "cup"),
        ({"filename": "n01440764_10026.JPEG"}, "filename", "n01440764"),
        ({"filename": "10026.JPEG"}, "filename", ""),
        ({"filename": 7, "path": "cup/1.jpg"}, "filename", ""),
        ({"other": "cup"}, "json:label", ""),
        ({"label": None}, "json:label", ""),
        ({"label": True}, "json:label", ""),
        ({"label": ["cup"]}, "json:label", ""),
        ([1], "json:label", ""),
    ],
)
def test_labels_of_json(tmp_path: Path, record: Any, label_from: str, label: str) -> None:
    path = shard(tmp_path, [("0.jpg", b"p"), ("0.json", json.dumps(record).encode())])
    assert read(path, label_from) == [(label, "0.jpg", b"p" if label else None, None if label else "no label")]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 200_000, b"\xff\xfe", b'{"label": "x"}' + b" " * (1 << 20)])
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = shard(tmp_path, [("0.jpg", b"p"), ("0.json", content), ("1.jpg", b"p")])
    assert read(path, "json:label") == [("", "0.jpg", None, "no label"), ("", "1.jpg", None, "no label")]


def test_labels_of_keys(tmp_path: Path) -> None:
    path = shard(tmp_path, [(f"{key}.jpg", b"p") for key in ("n1_2_3", "x/n2_1", "plain", "_3")])
    assert [label for label, *_ in read(path, "key-prefix")] == ["n1", "n2", "", ""]


def test_labels_of_class_numbers(tmp_path: Path) -> None:
    numbers = [b"0", b" 2\n", b"x", b"-1", b"1.0", b"9" * 5000]
    files = [file for k, n in enumerate(numbers) for file in ((f"{k}.jpg", b"p"), (f"{k}.cls", n))]
    classes = class_list(tmp_path / "classes.txt")
    assert [label for label, *_ in read(shard(tmp_path, files), "cls", classes)] == [WNIDS[0], WNIDS[2], "", "", "", ""]
    source = open_source(tmp_path / "00000.tar", label_from="cls", class_list=classes)
    assert source.labels() == sorted(WNIDS)
    path = shard(tmp_path, [("0.jpg", b"p"), ("0.cls", b"0"), ("1.jpg", b"p"), ("1.cls", b"3")])
    with pytest.raises(DataError, match="sample '1' has class 3, but the class list has 3 lines"):
        read(path, "cls", classes)


def test_class_lists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="need the list") as caught:
        open_source(pack(tmp_path / "s", ITEMS), label_from="cls")
    assert "--class-list FILE" in (caught.value.hint or "")
    for content, words in ((b"", "line 1, is empty"), (b"a\n\nb\n", "line 2, is empty"), (b"\xff", "cannot be read")):
        path = write(tmp_path / "classes.txt", content)
        with pytest.raises(DataError, match=words):
            parse_label_from("cls", path)
    with pytest.raises(DataError, match="cannot be read"):
        parse_label_from("cls", tmp_path / "none.txt")


def test_samples_without_a_picture(tmp_path: Path) -> None:
    path = shard(tmp_path, [("a_1.json", b"{}"), ("a_2.jpg", b"p"), ("b_3.mp4", b"v")])
    assert read(path, "key-prefix") == [
        ("a", "a_1", None, "no picture in the sample"),
        ("a", "a_2.jpg", b"p", None),
        ("b", "b_3", None, "no picture in the sample"),
    ]


def test_hidden_files_are_no_samples(tmp_path: Path) -> None:
    path = shard(tmp_path, [("d/", b""), ("._a_1.jpg", b"x"), ("README", b"x"), ("a_1.jpg", b"p")])
    assert read(path, "key-prefix") == [("a", "a_1.jpg", b"p", None)]


def test_large_pictures_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        file.write(header("a_1.jpg", size=MAX_BYTES + 1))
        file.truncate(512 + MAX_BYTES + 512)
        file.seek(0, 2)
        file.write(header("a_2.jpg", size=1) + b"p" + bytes(511 + 1024))
    assert [(data, problem) for *_, data, problem in read(path, "key-prefix")] == [
        (None, "larger than 64 MiB"),
        (b"p", None),
    ]


def test_many_files_of_one_key(tmp_path: Path) -> None:
    path = shard(tmp_path, [*((f"a_1.x{k}", b"") for k in range(500)), ("a_1.jpg", b"p")])
    source = WebDatasetShards([path], parse_label_from("key-prefix", None))
    assert [m.data for m in source.members(everything)] == [b"p"]


def test_only_wanted_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clis_core.data.sources import byte_stream

    items = [item._replace(data=item.data * 50) for item in ITEMS]
    folder = pack(tmp_path, items, lambda item: {"class_name": item.label})
    read = 0

    def counting(file: Any, size: int) -> bytes:
        nonlocal read
        data = original(file, size)
        read += len(data)
        return data

    original = byte_stream._read_all
    monkeypatch.setattr(byte_stream, "_read_all", counting)
    source = open_source(folder, label_from="json:class_name")
    assert len(list(source.members(lambda label: label == WNIDS[1]))) == 4
    needed = sum(len(item.data) for item in items if item.label == WNIDS[1])
    assert needed < read < needed + 60_000


def test_as_webdataset_groups_them(tmp_path: Path) -> None:
    keys = ["a", "b/a", "c/x_1", "c/x_2", "e", "a"]
    files = [
        (f"{key}.{extension}", f"{key}.{extension}".encode()) for key in keys for extension in ("JPG", "x.json", "cls")
    ]
    path = shard(tmp_path, [*files, (".hidden", b""), ("none", b""), ("z.jpg", b"z")])
    with path.open("rb") as file:
        opened = tar_file_expander([{"url": str(path), "stream": file}])
        theirs = [sample["__key__"] for sample in group_by_keys(opened)]
    rule = parse_label_from("key-prefix", None)
    ours = [m.name for m in WebDatasetShards([path], rule).members(everything)]
    assert ours == [Path(key).name + (".jpg" if key == "z" else ".JPG") for key in theirs]


def test_a_cut_shard(tmp_path: Path) -> None:
    data = (pack(tmp_path, ITEMS) / "00001.tar").read_bytes()
    (tmp_path / "00001.tar").write_bytes(data[:2000])
    source = open_source(tmp_path, label_from="key-prefix")
    with pytest.raises(DataError, match=r"00001\.tar: it is cut short within"):
        list(source.members(everything))


def test_a_compressed_shard(tmp_path: Path) -> None:
    path = write(tmp_path / "0.tar.gz", tar_bytes([("a_1.jpg", b"p")], "w:gz"))
    with pytest.raises(DataError, match="is compressed") as caught:
        list(open_source(path, label_from="key-prefix").members(everything))
    assert "gunzip" in (caught.value.hint or "")


def test_own_shards(tmp_path: Path) -> None:
    folder = own_shards(tmp_path / "s", ITEMS)
    assert open_source(folder).kind == "shards of clis"
    by_name = open_source(folder, label_from="json:class_name").members(everything)
    assert {m.label for m in by_name} == {f"class {wnid}" for wnid in WNIDS}
    both = [m.name for k in range(2) for m in open_source(folder / f"0000{k}.tar").members(everything)]
    assert both == [m.name for m in open_source(folder / "{00000..00001}.tar").members(everything)]
    assert sorted(both) == sorted(item.name for item in ITEMS)
    write(folder / "99999.tar", b"left over")  # not in the manifest
    assert len(list(open_source(folder).members(everything))) == len(ITEMS)
    (folder / "00001.tar").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of the 2 shards .* 00001\.tar"):
        open_source(folder)


def test_own_shards_of_own_classes(tmp_path: Path) -> None:
    items = [item._replace(label="bow (weapon)", name=f"{k}.x.jpeg") for k, item in enumerate(ITEMS)]
    source = open_source(own_shards(tmp_path / "s", items, wnid=False))
    members = [(m.label, m.name, m.data) for m in source.members(everything)]
    assert sorted(members) == sorted(items)  # with the names that the files had


def test_the_label_is_asked_for(tmp_path: Path) -> None:
    folder = pack(
        tmp_path, ITEMS[:4], lambda item: {"label": 4, "class_name": item.label, "long": "x" * 200}, {WNIDS[0]: 0}
    )
    with pytest.raises(DataError) as caught:
        open_source(folder)
    for words in (
        str(folder / "00000.tar"),
        "key 'n01440764_0', with jpeg, json, cls",
        "json:label = 4",
        "json:class_name = 'n01440764'",
        "json:long = 'xxx",
        "cls = '0'",
    ):
        assert words in caught.value.message
    assert "x" * 100 not in caught.value.message
    assert "json:KEY | key-prefix | filename | cls" in (caught.value.hint or "")
