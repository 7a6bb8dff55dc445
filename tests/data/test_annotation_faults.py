"""Every way an annotation file can be wrong: the message names the file, the record and what to do."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.annotations import load_annotations
from clis_core.errors import DataError

GOOD: dict[str, Any] = {
    "images": [
        {"id": 70, "width": 100, "height": 50, "file_name": "a.jpg"},
        {"id": 71, "width": 60, "height": 80, "file_name": "b.jpg"},
    ],
    "annotations": [
        {"id": 500, "image_id": 71, "category_id": 9, "bbox": [1, 2, 3, 4]},
        {"id": 501, "image_id": 70, "category_id": 2, "bbox": [1, 2, 3, 4]},
    ],
    "categories": [{"id": 9, "name": "nine"}, {"id": 2, "name": "two"}],
}


def fail(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load_annotations(path, None)
    assert str(path) in caught.value.message
    assert "Traceback" not in caught.value.message
    return caught.value


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Set fields of the second annotation; ``...`` removes one."""

    def change(content: dict[str, Any]) -> None:
        for key, value in fields.items():
            if value is ...:
                del content["annotations"][1][key]
            else:
                content["annotations"][1][key] = value

    return change


def image(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["images"][1].update(fields)
        for key in [k for k, v in fields.items() if v is ...]:
            del content["images"][1][key]

    return change


def category(**fields: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["categories"][1].update(fields)
        for key in [k for k, v in fields.items() if v is ...]:
            del content["categories"][1][key]

    return change


def test_the_base_of_these_tests_is_good(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD))
    assert len(load_annotations(path, None).boxes) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(id=500), ["annotation id 500", "annotations[0]", "annotations[1]"]),
        (changed(image_id=3), ["annotations[1]", "annotation 501", "image_id 3", "no image"]),
        (changed(category_id=4), ["annotations[1]", "annotation 501", "category_id 4", "no category"]),
        (changed(bbox=[1, 2, 3]), ["annotations[1].bbox", "annotation 501", "length 4"]),
        (changed(bbox=[1, 2, 3, 4, 5]), ["annotations[1].bbox", "annotation 501", "length 4"]),
        (changed(bbox=[1, 2, "3", 4]), ["annotations[1].bbox[2]", "annotation 501", "float", "str"]),
        (changed(bbox=[1, 2, None, 4]), ["annotations[1].bbox[2]", "annotation 501", "null"]),
        (changed(bbox=None), ["annotations[1].bbox", "annotation 501", "null"]),
        (changed(bbox=...), ["annotations[1]", "annotation 501", "no field bbox"]),
        (changed(image_id=...), ["annotations[1]", "annotation 501", "no field image_id"]),
        (changed(category_id=...), ["annotations[1]", "annotation 501", "no field category_id"]),
        (changed(id=...), ["annotations[1]", "no field id"]),
        (changed(id="501"), ["annotations[1].id", "expected int, got str"]),
        (changed(image_id="70"), ["annotations[1].image_id", "annotation 501", "expected int, got str"]),
        (changed(image_id=2**70), ["annotations[1].image_id", "annotation 501"]),
        (changed(category_id=2.5), ["annotations[1].category_id", "annotation 501", "got float"]),
        (changed(bbox=[float("nan"), 2, 3, 4]), ["annotations[1].bbox[0]", "annotation 501", "NaN"]),
        (changed(bbox=[1, 2, 3, float("inf")]), ["annotations[1].bbox[3]", "annotation 501", "Infinity"]),
        (changed(bbox=[1, float("-inf"), 3, 4]), ["annotations[1].bbox[1]", "annotation 501", "-Infinity"]),
        (changed(area=float("nan")), ["NaN", "byte"]),
        (image(id=70), ["image id 70", "images[0]", "images[1]"]),
        (image(id="x"), ["images[1].id", "image x", "expected int, got str"]),
        (image(width=0), ["images[1].width", "image 71", ">= 1"]),
        (image(height=-3), ["images[1].height", "image 71", ">= 1"]),
        (image(width=...), ["images[1]", "image 71", "no field width"]),
        (image(height=None), ["images[1].height", "image 71", "null"]),
        (image(width="60"), ["images[1].width", "image 71", "got str"]),
        (image(width=float("nan")), ["images[1].width", "image 71", "NaN"]),
        (image(file_name=...), ["images[1]", "image 71", "neither file_name nor coco_url"]),
        (image(file_name=7), ["images[1].file_name", "image 71"]),
        (category(id=9), ["id 9", "twice"]),
        (category(id="a"), ["categories[1].id", "category a", "got str"]),
        (category(name=...), ["categories[1]", "category 2", "no field name"]),
        (category(name=None), ["categories[1].name", "category 2", "null"]),
        (lambda c: c.update(images=[]), ["images", "empty"]),
        (lambda c: c.update(categories=[]), ["no categories"]),
        (lambda c: c.update(images={}), ["images", "array"]),
        (lambda c: c.update(annotations=[1]), ["annotations[0]", "object"]),
        (lambda c: c.pop("images"), ["has no 'images'"]),
        (lambda c: c.pop("annotations"), ["has no 'annotations'"]),
        (lambda c: c.pop("categories"), ["has no 'categories'"]),
    ],
)
def test_wrong_record(tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: list[str]) -> None:
    content = copy.deepcopy(GOOD)
    change(content)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    error = fail(path)
    for word in words:
        assert word in error.message, error.message
    assert error.hint
    assert "`" not in error.message


def test_number_too_large_for_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD).replace('"bbox": [1, 2, 3, 4]', '"bbox": [1, 2, 1e999, 4]', 1))
    error = fail(path)
    assert "annotations[0].bbox[2] (annotation 500)" in error.message


def test_wrong_record_in_a_file_that_is_also_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(GOOD).replace('"image_id": 71', '"image_id": "x"')[:-20])
    assert "annotations[0].image_id" in fail(path).message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (json.dumps(GOOD).encode()[:-30], f"byte {len(json.dumps(GOOD)) - 30}"),
        (b"<html>not found</html>", "is not json"),
        (b"\x1f\x8b\x08\x00\x00", "is not json"),
        (b"[]", "holds a list"),
        (b'[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]', "results file"),
        (b'"text"', "is not an annotation file"),
        (b"null", "is not an annotation file"),
        (b"{}", "has no 'images'"),
        (json.dumps(GOOD).encode() + b"x", "trailing"),
        (json.dumps(GOOD).encode().replace(b"nine", b"ni\xffe"), "UTF-8"),
    ],
)
def test_no_annotation_file(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(data)
    error = fail(path)
    assert words in error.message, error.message
    assert error.hint


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "does not exist" in fail(tmp_path / "none.json").message
    folder = fail(tmp_path)
    assert "is a folder" in folder.message
    assert "--data" in (folder.hint or "")


@pytest.mark.parametrize("cached", [True, False])
def test_errors_are_the_same_with_a_cache(tmp_path: Path, cached: bool) -> None:
    cache = tmp_path / "cache" if cached else None
    for name in ("none.json", ""):
        with pytest.raises(DataError, match=r"does not exist|is a folder"):
            load_annotations(tmp_path / name, cache)


@pytest.mark.parametrize("before", ["", '{"info": ', '{"images": [{"id": 1, "more": '])
def test_brackets_nested_too_deep(tmp_path: Path, before: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(before + "[" * 100_000)
    error = fail(path)
    assert error.hint
    assert before == "" or "nested too deep" in error.message
