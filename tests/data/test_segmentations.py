"""Where the masks of a table are: read on demand, by box, from the json alone."""

import json
import pickle

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from clis_core.data import segmentations as module
from clis_core.data.annotations import load_annotations
from clis_core.data.segmentations import Segmentations
from clis_core.errors import DataError

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]


def world(folder, *segmentations, images=2):
    """A json whose annotations lie in the images in turn; "none" leaves the field out."""
    records = []
    for n, value in enumerate(segmentations):
        record = {"id": 7 + n, "image_id": 1 + n % images, "category_id": 1, "bbox": [1, 1, 20, 20], "iscrowd": 0}
        records.append(record | ({} if value == "none" else {"segmentation": value}))
    pictures = [{"id": 1 + n, "width": 50, "height": 40, "file_name": f"ü{n}.jpg"} for n in range(images)]
    content = {"images": pictures, "categories": [{"id": 1, "name": "ä"}], "annotations": records}
    path = folder / "gt.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(content, ensure_ascii=False, indent=1).encode())
    return path


def areas(masks):
    return [None if m is None else int(coco_mask.area(m)) for m in masks]


@pytest.mark.parametrize("cached", [False, True])
def test_the_masks_of_boxes_in_the_order_of_the_table(tmp_path, cached):
    runs = {"size": [40, 50], "counts": [100, 30, 1870]}
    path = world(tmp_path, SQUARE, "none", None, [], runs, [[0, 0, 5, 0, 5, 5, 0, 5]])
    content = json.loads(path.read_bytes())
    content["annotations"][0]["bbox"][2] = 0  # left out of the table
    path.write_text(json.dumps(content))
    table = load_annotations(path, tmp_path / "cache" if cached else None)
    found = Segmentations(table)
    assert table.places.tolist() == [2, 4, 1, 3, 5]
    for masks in (found, pickle.loads(pickle.dumps(found))):  # as a worker gets it
        assert areas(masks.of_image(0)) == [None, 30]
        assert areas(masks.of_image(1)) == [None, None, 25]
        assert masks.count() == 2


def test_the_places_are_looked_for_once(tmp_path, monkeypatch):
    path = world(tmp_path, SQUARE)
    Segmentations(load_annotations(path, tmp_path / "cache"))
    monkeypatch.setattr(module, "_find", lambda path: pytest.fail("looked again"))
    again = Segmentations(load_annotations(path, tmp_path / "cache"))
    assert areas(again.of_image(0)) == [100]


def test_what_is_wrong_is_told_by_file_and_record(tmp_path):
    found = Segmentations(load_annotations(world(tmp_path, SQUARE, SQUARE, [[1, 2, 3, 4, 5, 6, 7]]), None))
    assert areas(found.of_image(1)) == [100]
    with pytest.raises(DataError, match=r"gt\.json: annotations\[2\]\.segmentation: a polygon has 7") as caught:
        found.of_image(0)
    assert "polygons" in caught.value.hint


def test_a_file_that_has_changed(tmp_path):
    path = world(tmp_path, SQUARE)
    found = Segmentations(load_annotations(path, None))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="has changed since"):
        found.of_image(0)


def test_no_masks_are_kept(tmp_path):
    """Of a thousand polygons there are two numbers each."""
    found = Segmentations(load_annotations(world(tmp_path, *[[np.arange(600.0).tolist()]] * 1000), None))
    assert len(pickle.dumps(found)) < 200_000
