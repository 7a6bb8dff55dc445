"""Annotation files to tables: what is read, what is left out, and what a worker gets."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.categories import group_of_count
from clis_core.data.annotations import load_annotations


def small() -> dict[str, Any]:
    """Two images of 100 x 50 and 60 x 80 pixels, three annotations, two classes."""
    return {
        "images": [
            {"id": 70, "width": 100, "height": 50, "file_name": "a.jpg"},
            {"id": 0, "width": 60, "height": 80, "file_name": "sub/b.jpg"},
        ],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 9, "bbox": [1, 2, 3.5, 4]},
            {"id": 5, "image_id": 70, "category_id": 2, "bbox": [10, 20, 30, 20]},
            {"id": 3, "image_id": 0, "category_id": 2, "bbox": [0, 0, 60, 80], "segmentation": [[1, 2]]},
        ],
        "categories": [{"id": 9, "name": "nine"}, {"id": 2, "name": "two"}],
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "train.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_table_of_a_small_file(tmp_path: Path) -> None:
    table = load_annotations(write(tmp_path, small()), None)
    assert len(table) == 2
    assert table.image_ids.tolist() == [70, 0]
    assert table.sizes.tolist() == [[50, 100], [80, 60]]
    assert table.categories.ids == [2, 9]
    assert [c.group for c in table.categories] == [None, None]
    assert not table.is_lvis
    assert table.dropped == (0, 0)
    boxes, labels = table.target(0)
    assert boxes.tolist() == [[10, 20, 40, 40]]
    assert labels.tolist() == [1]
    boxes, labels = table.target(1)
    assert boxes.tolist() == [[1, 2, 4.5, 6], [0, 0, 60, 80]]
    assert labels.tolist() == [2, 1]
    assert table.image_counts().tolist() == [2, 1]
    assert table.file_names() == ["a.jpg", "sub/b.jpg"]
    assert [table.file_name(0), table.file_name(1)] == ["a.jpg", "sub/b.jpg"]
    assert (table.boxes.dtype, table.labels.dtype, table.offsets.dtype) == (np.float32, np.int32, np.int64)


def test_arrays_cannot_be_written_to(tmp_path: Path) -> None:
    table = load_annotations(write(tmp_path, small()), None)
    with pytest.raises(ValueError, match="read-only"):
        table.target(0)[0][0, 0] = 3


def test_image_counts_count_an_image_once(tmp_path: Path) -> None:
    content = small()
    content["annotations"].append({"id": 9, "image_id": 0, "category_id": 2, "bbox": [3, 3, 9, 9]})
    assert load_annotations(write(tmp_path, content), None).image_counts().tolist() == [2, 1]


def test_boxes_are_clipped_and_the_useless_dropped(tmp_path: Path) -> None:
    content = small()
    boxes = [
        [-5, -5, 20, 20],  # clipped
        [90, 40, 500, 500],  # clipped
        [10, 10, 0, 5],  # no width
        [10, 10, 5, -1],  # negative height
        [100, 10, 5, 5],  # to the right of the image
        [-9, 10, 5, 5],  # to the left
        [1e308, 1, 1e308, 1],  # not finite at its right
        [20, 20, 1e-9, 5],  # no width in float32
    ]
    content["annotations"] = [{"id": i, "image_id": 70, "category_id": 2, "bbox": box} for i, box in enumerate(boxes)]
    table = load_annotations(write(tmp_path, content), None)
    assert table.target(0)[0].tolist() == [[0, 0, 15, 15], [90, 40, 100, 50]]
    assert table.dropped.degenerate == 6
    assert table.dropped.crowd == 0


def test_boxes_keep_the_order_of_the_file(tmp_path: Path) -> None:
    content = small()
    content["annotations"] = [
        {"id": i, "image_id": (70, 0)[i % 2], "category_id": 2, "bbox": [i / 10, 1, 20, 20]} for i in range(200)
    ]
    table = load_annotations(write(tmp_path, content), None)
    for image, start in ((0, 0), (1, 1)):
        assert table.target(image)[0][:, 0] == pytest.approx(np.arange(start, 200, 2) / 10)


@pytest.mark.parametrize("crowd", [1, True])
def test_crowds_are_left_out_and_counted(tmp_path: Path, crowd: Any) -> None:
    content = small()
    content["annotations"][0]["iscrowd"] = crowd
    content["annotations"][1]["iscrowd"] = 0
    content["annotations"][2]["iscrowd"] = None
    table = load_annotations(write(tmp_path, content), None)
    assert table.dropped == (1, 0)
    assert len(table.boxes) == 2
    assert table.image_counts().tolist() == [2, 0]


def test_file_without_annotations_has_empty_targets(tmp_path: Path) -> None:
    table = load_annotations(write(tmp_path, {**small(), "annotations": []}), tmp_path / "cache")
    assert table.target(1)[0].shape == (0, 4)
    assert table.image_counts().tolist() == [0, 0]
    assert pickle.loads(pickle.dumps(table)).target(1)[1].shape == (0,)


def test_byte_order_mark_and_windows_paths(tmp_path: Path) -> None:
    content = small()
    content["images"][0]["file_name"] = "train\\a.jpg"
    path = tmp_path / "train.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content).encode())
    assert load_annotations(path, None).file_name(0) == "train/a.jpg"


def test_names_by_address(tmp_path: Path) -> None:
    content = small()
    del content["images"][0]["file_name"]
    content["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/000000000139.jpg?x=1"
    content["images"][1]["file_name"] = None
    content["images"][1]["coco_url"] = "http://images.cocodataset.org/train2017/ä.jpg"
    table = load_annotations(write(tmp_path, content), None)
    assert table.file_names() == ["val2017/000000000139.jpg", "train2017/ä.jpg"]
    assert table.url_name(0) == "val2017/000000000139.jpg"
    assert [table.url_name(i) for i in range(2)] == table.url_names()


def test_lvis_fields(drawn_lvis: Path) -> None:
    path = drawn_lvis / "lvis_v1_train.json"
    content = json.loads(path.read_text())
    table = load_annotations(path, None)
    assert table.is_lvis
    assert [c.synset for c in table.categories] == [c["synset"] for c in content["categories"]]
    assert [c.group for c in table.categories] == [c["frequency"] for c in content["categories"]]
    assert table.image_counts().tolist() == [c["image_count"] for c in content["categories"]]
    counted = table.categories.with_counts(table.image_counts().tolist())
    assert [c.group for c in counted] == [group_of_count(c["image_count"]) for c in content["categories"]]


@pytest.mark.parametrize("cached", [False, True])
def test_what_was_looked_for(tmp_path: Path, cached: bool) -> None:
    content = small()
    content["images"][0] |= {"neg_category_ids": [9, 77], "not_exhaustive_category_ids": [2]}
    content["images"][1] |= {"neg_category_ids": []}
    path = write(tmp_path, content)
    table = pickle.loads(pickle.dumps(load_annotations(path, tmp_path / "cache" if cached else None)))
    assert table.is_lvis
    # 77 is no category of the file.
    assert [[part.tolist() for part in table.verified(i)] for i in range(2)] == [[[2], [1]], [[], []]]
    plain = load_annotations(write(tmp_path, small()), None)
    assert plain.verified(0) is None


def test_unknown_frequency_leaves_the_group_open(tmp_path: Path) -> None:
    content = small()
    content["categories"][0]["frequency"] = 12
    content["categories"][1]["frequency"] = "c"
    assert [c.group for c in load_annotations(write(tmp_path, content), None).categories] == ["c", None]


def test_drawn_coco_counts_what_it_drops(drawn_coco: Path) -> None:
    table = load_annotations(drawn_coco / "annotations/instances_train2017.json", None)
    assert table.dropped == (1, 1)
    assert not table.is_lvis
    assert len(table.target(len(table) - 1)[0]) == 0


@pytest.mark.parametrize("cached", [True, False])
def test_pickling(drawn_lvis: Path, tmp_path: Path, cached: bool) -> None:
    table = load_annotations(drawn_lvis / "lvis_v1_train.json", tmp_path / "cache" if cached else None)
    table = table.with_categories(table.categories.with_counts(table.image_counts().tolist()))
    data = pickle.dumps(table)
    again = pickle.loads(data)
    assert np.array_equal(again.boxes, table.boxes)
    assert again.file_names() == table.file_names()
    assert again.categories == table.categories
    assert again.categories[0].images is not None
    assert not again.boxes.flags.writeable
    if cached:  # then the worker maps the file: no box is in the pickle
        assert table.boxes.tobytes()[:16] not in data


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "val"])
def test_equal_to_a_plain_reading_of_photographs(tinylvis: Path, cocosmall: Path, split: str) -> None:
    for path in (tinylvis / f"lvis_{split}.json", cocosmall / f"instances_{split}.json"):
        content = json.loads(path.read_text())
        table = load_annotations(path, None)
        label = {c: i for i, c in enumerate(sorted(c["id"] for c in content["categories"]), start=1)}
        for i, image in enumerate(content["images"]):
            mine = [a for a in content["annotations"] if a["image_id"] == image["id"] and not a.get("iscrowd")]
            boxes, labels = table.target(i)
            assert labels.tolist() == [label[a["category_id"]] for a in mine]
            for box, a in zip(boxes, mine, strict=True):
                x, y, w, h = a["bbox"]
                clipped = [max(x, 0), max(y, 0), min(x + w, image["width"]), min(y + h, image["height"])]
                assert box.tolist() == np.array(clipped, np.float32).tolist()
