"""Detections to files and back; damaged and malformed files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.errors import DataError
from clis_core.evaluation import results_json
from clis_core.evaluation.detections import DetectionBuilder, Detections
from clis_core.evaluation.results_json import from_coco_json, read_detections, to_coco_json
from clis_core.jobs.bench.lvis_eval import synthetic_truth
from tests.evaluation.odd_world import as_records, odd_detections, write

GOOD = {"image_id": 3, "category_id": 1, "bbox": [1.5, 2, 3, 4], "score": 0.5}


def some(count: int = 40) -> Detections:
    return odd_detections(synthetic_truth(3, 10, 0), count, 0)


def assert_equal(a: Detections, b: Detections) -> None:
    for name in ("image_ids", "category_ids", "boxes", "scores"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    assert (a.sizes is None) == (b.sizes is None)
    np.testing.assert_array_equal(a.xywh(), b.xywh())


def test_builder() -> None:
    builder = DetectionBuilder()
    builder.add(7, [3, 1], [[0, 0, 2, 2], [1, 1, 4, 5]], [0.25, 0.5])
    builder.add(5, [], [], [])
    builder.add(9, np.array([2]), np.ones((1, 4)), np.array([0.125], np.float16))
    found = builder.build()
    assert found.image_ids.tolist() == [7, 7, 9]
    assert found.category_ids.tolist() == [3, 1, 2]
    assert found.scores.tolist() == [0.25, 0.5, 0.125]
    assert found.xywh().tolist() == [[0, 0, 2, 2], [1, 1, 3, 4], [1, 1, 0, 0]]
    dtypes = [a.dtype for a in (found.image_ids, found.category_ids, found.boxes, found.scores)]
    assert dtypes == [np.int64, np.int32, np.float32, np.float32]


def test_builder_keeps_what_the_caller_goes_on_to_change() -> None:
    builder, boxes = DetectionBuilder(), np.ones((1, 4), np.float32)
    builder.add(1, [1], boxes, [1])
    boxes[:] = 9
    assert builder.build().boxes.tolist() == [[1, 1, 1, 1]]


def test_compact_file(tmp_path: Path) -> None:
    found, path = some(), tmp_path / "new" / "detections.npz"
    found.save(path, meta={"run": "first", "step": 90})
    again = read_detections(path)
    assert_equal(found, again)
    assert again.meta == {"run": "first", "step": 90}
    assert again.source == str(path)
    again.save(path)
    assert Detections.load(path).meta == again.meta
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_compact_file_keeps_the_sizes_of_a_results_file(tmp_path: Path) -> None:
    found = from_coco_json(write(tmp_path, [{**GOOD, "bbox": [0.1, 0.2, 30.3, 40.4]}], "results.json"))
    found.save(tmp_path / "detections.npz")
    again = Detections.load(tmp_path / "detections.npz")
    assert_equal(found, again)
    assert again.xywh().tolist() == [[0.1, 0.2, 30.3, 40.4]]


@pytest.mark.parametrize("count", [0, 1, 40])
@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_results_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, chunk: int) -> None:
    monkeypatch.setattr(results_json, "CHUNK", chunk)
    found, path = some() if count == 40 else some(1), tmp_path / "results.json"
    if count == 0:
        found = DetectionBuilder().build()
    to_coco_json(found, path)
    assert json.loads(path.read_text()) == as_records(found)
    again = read_detections(path)
    assert again.image_ids.tolist() == found.image_ids.tolist()
    assert again.category_ids.tolist() == found.category_ids.tolist()
    assert again.scores.tolist() == found.scores.tolist()
    np.testing.assert_array_equal(again.xywh(), found.xywh())
    np.testing.assert_array_equal(again.boxes.astype(np.float32), found.boxes)


def test_further_fields_and_a_byte_order_mark(tmp_path: Path) -> None:
    record = {**GOOD, "id": "x", "segmentation": {"size": [4, 4], "counts": "}],[{"}, "attributes": None}
    path = tmp_path / "results.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps([record, GOOD], indent=1).encode())
    assert from_coco_json(path).xywh().tolist() == [GOOD["bbox"]] * 2


BAD_RECORDS: dict[str, tuple[Any, list[str]]] = {
    "no score": ({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}, ["record 2", "score"]),
    "no bbox": ({"image_id": 1, "category_id": 1, "score": 1}, ["record 2", "bbox"]),
    "short bbox": ({**GOOD, "bbox": [1, 2, 3]}, ["record 2", "bbox", "length 4"]),
    "text in bbox": ({**GOOD, "bbox": [1, 2, "3", 4]}, ["record 2", "bbox[2]", "`str`"]),
    "nan score": ({**GOOD, "score": float("nan")}, ["record 2", "score", "NaN"]),
    "infinite score": ({**GOOD, "score": float("inf")}, ["record 2", "score", "Infinity"]),
    "infinite box": ({**GOOD, "bbox": [1, 2, -float("inf"), 4]}, ["record 2", "bbox", "-Infinity"]),
    "text for an id": ({**GOOD, "image_id": "000000000139"}, ["record 2", "image_id", "`str`"]),
    "fraction for an id": ({**GOOD, "category_id": 1.5}, ["record 2", "category_id", "`float`"]),
    "negative id": ({**GOOD, "image_id": -1}, ["record 2", "image_id"]),
    "huge id": ({**GOOD, "category_id": 2**40}, ["record 2", "category_id"]),
    "null score": ({**GOOD, "score": None}, ["record 2", "score", "`null`"]),
    "no record": ([1, 2, 3], ["record 2", "`object`"]),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
@pytest.mark.parametrize("chunk", [1, 4096])
def test_malformed_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int) -> None:
    monkeypatch.setattr(results_json, "CHUNK", chunk)
    record, words = BAD_RECORDS[name]
    path = write(tmp_path, [GOOD, GOOD, record, GOOD], "results.json")
    with pytest.raises(DataError) as caught:
        from_coco_json(path)
    for word in [str(path), *words]:
        assert word in caught.value.message
    assert '"bbox": [' in (caught.value.hint or "")


@pytest.mark.parametrize("text", ["1e999", "-1e999"])
def test_numbers_out_of_range(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD, GOOD]).replace("0.5}]", text + "}]"))
    with pytest.raises(DataError, match=r"record 1, score: Number out of range"):
        from_coco_json(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cut short"),
        (b'[{"image_id": 3, "categ', "cut short"),
        (b'{"images": [], "annotations": []}', "Expected `array`, got `object`"),
        (b"\x00\x01\x02", "not json"),
        (b'[{"image_id": "\xff"}]', "results.json"),
        (b"[NaN]", "NaN"),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        from_coco_json(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["none.json", "none.npz"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        read_detections(tmp_path / name)


def test_not_a_number_is_not_written(tmp_path: Path) -> None:
    found = some()
    found.scores[5] = np.nan
    with pytest.raises(DataError, match="Detection 5 of the detector has a box or a score that is not a finite number"):
        to_coco_json(found, tmp_path / "results.json")
    assert not list(tmp_path.iterdir())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_compact_files(tmp_path: Path, data: st.DataObject) -> None:
    """Cut anywhere or with any byte changed: an error that names the file, or the very same detections."""
    path = tmp_path / "detections.npz"
    found = some(4)
    found.save(path)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        again = Detections.load(path)
    except DataError as error:
        message, hint = error.message, error.hint
    else:
        assert_equal(again, found)
        return
    assert str(path) in message
    assert hint


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY\x01\x00", b"[]", b"\x80\x04."])
def test_files_that_are_no_compact_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "detections.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"detections\.npz"):
        read_detections(path)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": np.zeros(3, np.float32)},
        {"boxes": np.zeros((1, 5), np.float32)},
        {"boxes": np.zeros((1, 4), np.int64)},
        {"image_ids": np.array(["x"])},
    ],
)
def test_compact_files_of_the_wrong_form(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "detections.npz"
    some(1).save(path)
    with np.load(path) as file:
        arrays = {name: file[name][:1] if name != "header" else file[name] for name in file.files}
    np.savez(path, **(arrays | change))
    with pytest.raises(DataError, match=next(iter(change))):
        read_detections(path)


def test_a_compact_file_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "detections.npz"
    with monkeypatch.context() as patch:
        patch.setattr("clis_core.evaluation.detections.VERSION", 2)
        some(1).save(path)
    with pytest.raises(DataError, match=r"clis-detections version 2; this clis reads clis-detections version 1"):
        read_detections(path)
