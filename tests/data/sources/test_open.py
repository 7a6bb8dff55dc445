"""Telling a source by looking: each kind, and the choices where looking cannot tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from clis_core.data.sources.class_tars import ClassTars
from clis_core.data.sources.folders import ClassFolders
from clis_core.data.sources.joined import JoinedSources
from clis_core.data.sources.listing import Listing
from clis_core.data.sources.open import open_source, open_sources
from clis_core.data.sources.tar_stream import TarStream
from clis_core.data.sources.webdataset_shards import WebDatasetShards
from clis_core.errors import ConfigError, DataError
from tests.pack import (
    PACKINGS,
    class_folders,
    class_list,
    class_tar,
    class_tars,
    csv_list,
    draw_items,
    own_shards,
    tar_bytes,
    tar_of_folders,
    tar_of_tars,
    webdataset,
    write,
)

ITEMS = draw_items()
KINDS: dict[str, type] = {
    "class tars": ClassTars,
    "tar of": TarStream,
    "tar.": TarStream,
    "class folders": ClassFolders,
    "nested": ClassFolders,
    "ImageNet-": ClassFolders,
    "CSV": Listing,
    "JSONL": Listing,
    "image json": Listing,
    "shards": WebDatasetShards,
    "own shards": WebDatasetShards,
}


@pytest.mark.parametrize("packing", list(PACKINGS))
def test_each_packing_is_told(tmp_path: Path, packing: str) -> None:
    packed = PACKINGS[packing](tmp_path / "in", ITEMS)
    kind = next(kind for start, kind in KINDS.items() if packing.startswith(start))
    assert type(open_source(packed.path, **packed.arguments)) is kind


def test_one_class_tar(tmp_path: Path) -> None:
    path = class_tars(tmp_path, ITEMS) / "n02084071.tar"
    assert open_source(path).labels() == ["n02084071"]
    other = path.rename(tmp_path / "dog.tar")
    with pytest.raises(DataError, match=r"dog\.tar begins with 'n02084071_0\.JPEG'") as caught:
        open_source(other)
    assert "--label-from tar" in (caught.value.hint or "")
    assert open_source(other, label_from="tar").labels() == ["dog"]


def test_class_tars_by_name_are_the_users_choice(tmp_path: Path) -> None:
    folder = class_tars(tmp_path, draw_items(["zebra", "cup"]))
    with pytest.raises(DataError, match=r"cup\.tar begins with") as caught:
        open_source(folder)
    assert "--label-from tar" in (caught.value.hint or "")
    assert open_source(folder, label_from="tar").labels() == ["cup", "zebra"]


def test_a_tar_that_is_no_class_among_class_tars(tmp_path: Path) -> None:
    class_tars(tmp_path, ITEMS)
    write(tmp_path / "devkit.tar", tar_bytes([("readme.txt", b"x")]))
    with pytest.raises(DataError, match=r"devkit\.tar begins with 'readme\.txt'"):
        open_source(tmp_path)


@pytest.mark.parametrize("pack", [tar_of_tars, tar_of_folders])
def test_a_folder_that_holds_the_one_large_tar(tmp_path: Path, pack: object) -> None:
    path = tmp_path / "whole.tar"
    assert callable(pack)
    pack(path, ITEMS)
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    assert f"give the tar itself: {path}" in (caught.value.hint or "")


def test_digits_are_shards(tmp_path: Path) -> None:
    folder = class_tars(tmp_path, draw_items(["00000", "00001"]))
    with pytest.raises(DataError, match="say where a sample has its label"):
        open_source(folder)
    assert open_source(folder, label_from="tar").labels() == ["00000", "00001"]


def test_shards_of_other_names(tmp_path: Path) -> None:
    folder = webdataset(tmp_path / "s", ITEMS, lambda item: {"label": item.label})
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"train-{path.name}")
    for path in (folder, folder / "train-00000.tar", folder / "train-{00000..00002}.tar"):
        with pytest.raises(DataError, match="json:label = 'n01440764'"):
            open_source(path)
        assert isinstance(open_source(path, label_from="json:label"), WebDatasetShards)


def test_patterns(tmp_path: Path) -> None:
    folder = webdataset(tmp_path / "s", ITEMS, per_shard=1)
    assert len(list(open_source(folder / "{00003..00011}.tar", label_from="key-prefix").members(bool))) == 9
    assert len(list(open_source(folder / "000{0..1}{0..1}.tar", label_from="key-prefix").members(bool))) == 4
    with pytest.raises(DataError, match=r"00012\.tar does not exist"):
        open_source(folder / "{00003..00014}.tar", label_from="key-prefix")
    for pattern in ("{3..1}.tar", "{0..99999999999}.tar"):
        with pytest.raises(DataError, match="no range of shards"):
            open_source(folder / pattern, label_from="key-prefix")
    assert isinstance(open_source(folder / "{00003..00011}.tar", label_from="tar"), ClassTars)
    folders = [tar_of_folders(tmp_path / f"part-{k}.tar", ITEMS[6 * k : 6 * k + 6]) for k in range(2)]
    assert folders
    joined = open_source(tmp_path / "part-{0..1}.tar", label_from="folder")
    assert sorted(m.name for m in joined.members(bool)) == sorted(item.name for item in ITEMS)


def test_a_file_of_that_name_is_no_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "n{1..2}.tar", class_tar(ITEMS))
    assert open_source(path, label_from="tar").labels() == ["n{1..2}"]


def test_tars_and_folders_side_by_side(tmp_path: Path) -> None:
    class_tars(tmp_path, ITEMS)
    class_folders(tmp_path, ITEMS)
    with pytest.raises(DataError, match="holds both tars"):
        open_source(tmp_path)
    assert isinstance(open_source(tmp_path, label_from="tar"), ClassTars)
    assert isinstance(open_source(tmp_path, label_from="folder"), ClassFolders)


def test_hidden_entries_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path / ".cache/x.tar", b"")
    write(tmp_path / "._n01440764.tar", b"")
    assert isinstance(open_source(class_tars(tmp_path, ITEMS)), ClassTars)


def test_pictures_without_class_folders(tmp_path: Path) -> None:
    write(tmp_path / "1.JPG", b"x")
    with pytest.raises(DataError, match="pictures that lie in no class folders"):
        open_source(tmp_path)
    write(tmp_path / "labels.csv", b"path,label\n1.JPG,cup\n")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    assert caught.value.hint == f"Give the list of them: {tmp_path / 'labels.csv'}"


def test_nothing_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "none")
    with pytest.raises(DataError, match="neither tars nor class folders"):
        open_source(tmp_path)
    with pytest.raises(DataError, match="neither a tar nor a list"):
        open_source(write(tmp_path / "x.jpg", b"x"))
    with pytest.raises(DataError, match="empty tar"):
        open_source(write(tmp_path / "x.tar", bytes(1024)))
    with pytest.raises(DataError, match="no tar archive"):
        open_source(write(tmp_path / "x.tar", b"<html>" * 100))
    with pytest.raises(DataError, match="No source"):
        open_sources([])


def test_arguments_that_do_not_fit(tmp_path: Path) -> None:
    folders = class_folders(tmp_path / "folders", ITEMS)
    csv = csv_list(tmp_path / "list.csv", ITEMS)
    classes = class_list(tmp_path / "classes.txt")
    for path, arguments in (
        (folders, {"root": tmp_path}),
        (folders, {"class_list": classes}),
        (folders, {"label_from": "name"}),
        (folders, {"label_from": "json:"}),
        (folders, {"label_from": "key-prefix:x"}),
        (folders, {"label_from": "key-prefix", "class_list": classes}),
        (csv, {"label_from": "tar"}),
    ):
        with pytest.raises(ConfigError) as caught:
            open_source(path, **arguments)  # type: ignore[arg-type]
        assert caught.value.hint
    for label_from in ("key-prefix", "tar"):
        with pytest.raises(DataError, match="neither tars nor class folders"):
            open_source(folders, label_from=label_from)


def test_own_shards_are_told_by_their_manifest(tmp_path: Path) -> None:
    folder = own_shards(tmp_path, ITEMS)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        open_source(folder)


def test_several_sources_name_the_one_that_is_wrong(tmp_path: Path) -> None:
    good = class_tars(tmp_path / "good", ITEMS)
    assert isinstance(open_sources([good, good]), JoinedSources)
    with pytest.raises(DataError, match="none does not exist"):
        open_sources([good, tmp_path / "none"])
