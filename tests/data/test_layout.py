"""Finding a data set: the layouts people have, choices that are theirs, what is said if nothing is found."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.data import DataConfig
from clis_core.data import images as images_module
from clis_core.data.annotations import load_annotations
from clis_core.data.layout import Layout, check_splits, find_dataset, find_images, open_split
from clis_core.errors import ConfigError, DataError


def json_file(path: Path, names: list[str] | None = None, **image: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"id": 100 + i, "width": 8, "height": 6, "file_name": name, **image}
        for i, name in enumerate(names or ["a.jpg", "b.jpg"])
    ]
    annotations = [{"id": 1, "image_id": 100, "category_id": 4, "bbox": [0, 0, 2, 2]}]
    categories = [{"id": 4, "name": "thing"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("lvis_v1_train.json", "lvis_v1_val.json"),
        ("lvis_v0.5_train.json", "lvis_v0.5_val.json"),
        ("lvis_train.json", "lvis_val.json"),
        ("annotations/lvis_v1_train.json", "annotations/lvis_v1_val.json"),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
        ("instances_train2017.json", "instances_val2017.json"),
        ("instances_train.json", "instances_val.json"),
        ("train.json", "val.json"),
        ("train.json", "valid.json"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json"),
        ("train/_annotations.coco.json", "val/_annotations.coco.json"),
        ("train/_annotations.coco.json", "test/_annotations.coco.json"),
    ],
)
def test_known_names(tmp_path: Path, train: str, val: str) -> None:
    json_file(tmp_path / train)
    json_file(tmp_path / val)
    touch(tmp_path / "captions_train2017.json")
    assert find_dataset(tmp_path) == Layout(tmp_path, tmp_path / train, tmp_path / val)


def test_one_split_is_a_data_set(tmp_path: Path) -> None:
    json_file(tmp_path / "val.json")
    assert find_dataset(tmp_path) == Layout(tmp_path, None, tmp_path / "val.json")


def test_roboflow_test_is_not_taken_where_there_is_a_val(tmp_path: Path) -> None:
    for folder in ("train", "valid", "test"):
        json_file(tmp_path / folder / "_annotations.coco.json")
    assert find_dataset(tmp_path).val == tmp_path / "valid/_annotations.coco.json"


def test_two_candidates_are_the_users_choice(tmp_path: Path) -> None:
    lvis = json_file(tmp_path / "lvis_v1_train.json")
    coco = json_file(tmp_path / "annotations/instances_train2017.json")
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with pytest.raises(DataError) as caught:
        find_dataset(tmp_path)
    assert str(lvis) in caught.value.message
    assert str(coco) in caught.value.message
    assert caught.value.hint is not None
    assert f"--set data.train={lvis}" in caught.value.hint
    assert open_split(DataConfig(root=tmp_path, train=coco), "train", None).table.path == coco


def test_ambiguous_val_does_not_stop_training(tmp_path: Path) -> None:
    json_file(tmp_path / "train.json")
    json_file(tmp_path / "val.json")
    json_file(tmp_path / "lvis_v1_val.json")
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert len(open_split(DataConfig(root=tmp_path), "train", None).files) == 2
    with pytest.raises(DataError, match="2 annotation files for val"):
        open_split(DataConfig(root=tmp_path), "val", None)


def test_links_to_one_file_are_one_candidate(tmp_path: Path) -> None:
    real = json_file(tmp_path / "annotations/train.json")
    (tmp_path / "train.json").symlink_to(real)
    assert find_dataset(tmp_path).train is not None


def test_nothing_found_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_dataset(tmp_path)
    for name in ("lvis_v1_train.json", "instances_val2017.json", "valid/_annotations.coco.json"):
        assert name in caught.value.message
    with pytest.raises(DataError, match="does not exist"):
        find_dataset(tmp_path / "none")


@pytest.mark.parametrize("split", ["train", "val"])
def test_nothing_named_shows_both_ways(split: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        open_split(DataConfig(), split, None)
    assert caught.value.hint is not None
    for way in ("--data DIR", f"--set data.{split}=FILE", "clis init", "clis.toml"):
        assert way in caught.value.hint


def test_split_that_a_folder_does_not_hold(tmp_path: Path) -> None:
    json_file(tmp_path / "train.json")
    with pytest.raises(DataError, match="no annotations for val") as caught:
        open_split(DataConfig(root=tmp_path), "val", None)
    assert "--set data.val=FILE" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("at", "where", "names"),
    [
        ("train.json", "", ["a.jpg", "b.jpg"]),
        ("train.json", "images", ["a.jpg", "b.jpg"]),
        ("train.json", "images", ["train/a.jpg", "train/b.jpg"]),
        ("train.json", "train", ["a.jpg", "b.jpg"]),
        ("annotations/instances_train2017.json", "train2017", ["a.jpg", "b.jpg"]),
        ("annotations/instances_train2017.json", "images/train2017", ["a.jpg", "b.jpg"]),
        ("annotations/instances_train.json", "images/train", ["a.jpg", "b.jpg"]),
        ("train/_annotations.coco.json", "train", ["a.jpg", "b.jpg"]),
        ("train.json", "images", ["old/place/a.jpg", "old/place/b.jpg"]),  # by the last part of the name
    ],
)
def test_images_are_found(tmp_path: Path, at: str, where: str, names: list[str]) -> None:
    path = json_file(tmp_path / at, names)
    files = [tmp_path / where / (n if "old" not in n else Path(n).name) for n in names]
    touch(*files)
    split = open_split(DataConfig(root=tmp_path), "train", None)
    assert [split.files.path(i) for i in range(2)] == files
    alone = open_split(DataConfig(train=path), "train", None)
    assert [alone.files.path(i) for i in range(2)] == files


def test_images_of_lvis_v0_5_by_their_address(tmp_path: Path) -> None:
    path = json_file(
        tmp_path / "lvis_v0.5_val.json",
        ["COCO_val2014_000000266409.jpg"],
        coco_url="http://images.cocodataset.org/val2017/000000266409.jpg",
    )
    touch(tmp_path / "val2017/000000266409.jpg")
    split = open_split(DataConfig(val=path), "val", None)
    assert split.files.path(0) == tmp_path / "val2017/000000266409.jpg"


def test_val_of_lvis_v1_lies_in_both_folders(drawn_lvis: Path) -> None:
    split = open_split(DataConfig(root=drawn_lvis), "val", None)
    folders = {split.files.path(i).parent.name for i in range(len(split.files))}
    assert folders == {"train2017", "val2017"}
    assert all(split.files.path(i).is_file() for i in range(len(split.files)))
    # A user who names val2017, as the name suggests, gets the same.
    named = open_split(DataConfig(root=drawn_lvis, val_images=drawn_lvis / "val2017"), "val", None)
    assert [named.files.path(i) for i in range(12)] == [split.files.path(i) for i in range(12)]


def test_train_and_val_with_files_of_the_same_names(drawn_coco: Path) -> None:
    for split in ("train", "val"):
        opened = open_split(DataConfig(root=drawn_coco), split, None)
        assert opened.files.path(0) == drawn_coco / f"{split}2017/000001.jpg"


def test_last_parts_that_do_not_tell_images_apart(tmp_path: Path) -> None:
    json_file(tmp_path / "train.json", ["x/1.jpg", "y/1.jpg"])
    touch(tmp_path / "images/1.jpg")
    with pytest.raises(DataError, match="2 of 2 images are not found"):
        open_split(DataConfig(root=tmp_path), "train", None)


def test_explicit_folder_is_the_only_one(tmp_path: Path) -> None:
    path = json_file(tmp_path / "train.json")
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "else/a.jpg", tmp_path / "else/b.jpg")
    split = open_split(DataConfig(train=path, train_images=tmp_path / "else"), "train", None)
    assert split.files.path(1) == tmp_path / "else/b.jpg"
    (tmp_path / "else/b.jpg").unlink()
    with pytest.raises(DataError, match="1 of 2 images") as caught:
        open_split(DataConfig(train=path, train_images=tmp_path / "else"), "train", None)
    assert "image 101" in caught.value.message
    with pytest.raises(DataError, match="does not exist"):
        open_split(DataConfig(train=path, train_images=tmp_path / "none"), "train", None)


def test_missing_image_names_json_image_and_places(tmp_path: Path) -> None:
    path = json_file(tmp_path / "val.json", ["a.jpg", "b.jpg", "c.jpg"])
    touch(tmp_path / "images/a.jpg", tmp_path / "images/c.jpg")
    with pytest.raises(DataError) as caught:
        open_split(DataConfig(root=tmp_path), "val", None)
    for words in (
        str(path),
        "1 of 3 images",
        "image 101",
        str(tmp_path / "images/b.jpg"),
        str(tmp_path / "b.jpg"),
    ):
        assert words in caught.value.message
    assert caught.value.hint is not None
    assert "--set data.val_images=DIR" in caught.value.hint


def test_folders_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i % 2}/{i}.jpg" for i in range(50)]
    path = json_file(tmp_path / "train.json", names)
    touch(*(tmp_path / "images" / n for n in names))
    table = load_annotations(path, None)
    listed: list[str] = []
    real = images_module._listing
    monkeypatch.setattr(images_module, "_listing", lambda folder: listed.append(folder) or real(folder))
    files = find_images(table, None, path, tmp_path)
    assert files.root == tmp_path / "images"
    assert len(listed) == len(set(listed)) <= 6


def test_files_are_cheap_to_pickle(drawn_lvis: Path, tmp_path: Path) -> None:
    split = open_split(DataConfig(root=drawn_lvis), "val", tmp_path)
    data = pickle.dumps(split)
    assert b".jpg" not in data
    again = pickle.loads(data)
    assert again.files.path(3) == split.files.path(3)


def test_training_counts_and_groups(drawn_coco: Path) -> None:
    config = DataConfig(root=drawn_coco)
    train, val = (open_split(config, split, None).table for split in ("train", "val"))
    assert [c.images for c in train.categories] == train.image_counts().tolist()
    assert {c.group for c in train.categories} <= {"r", "c"}
    assert {(c.images, c.group) for c in val.categories} == {(None, None)}  # of training images val knows nothing


def test_splits_must_mean_the_same(tmp_path: Path) -> None:
    json_file(tmp_path / "train.json")
    val = json_file(tmp_path / "val.json")
    touch(tmp_path / "a.jpg", tmp_path / "b.jpg")
    config = DataConfig(root=tmp_path)
    check_splits(open_split(config, "train", None), open_split(config, "val", None))
    val.write_text(val.read_text().replace("thing", "other"))
    with pytest.raises(DataError) as caught:
        check_splits(open_split(config, "train", None), open_split(config, "val", None))
    for words in ("thing", "other", str(val), str(tmp_path / "train.json")):
        assert words in caught.value.message


@pytest.mark.parametrize("split", ["train", "val"])
def test_shared_photographs(tinylvis: Path, cocosmall: Path, split: Any) -> None:
    for root in (tinylvis, cocosmall):
        files = open_split(DataConfig(root=root), split, None).files
        assert all(files.path(i).is_file() for i in range(len(files)))
