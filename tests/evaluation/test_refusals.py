"""Every file and every detection that an engine would turn into a number without a word."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clis_core.errors import ConfigError, DataError
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.evaluate import evaluate
from clis_core.jobs.bench.lvis_eval import synthetic_detections, synthetic_truth
from tests.evaluation.odd_world import coco_truth, odd_detections, write

Truth = dict[str, Any]


def spoil(table: str, index: int, **fields: Any) -> Callable[[Truth], None]:
    """Set fields of a record, or take away those that are None."""

    def change(truth: Truth) -> None:
        for name, value in fields.items():
            if value is None:
                del truth[table][index][name]
            else:
                truth[table][index][name] = value

    return change


BAD_FILES = {
    "no negatives": (spoil("images", 2, neg_category_ids=None), ["images 2 (id 9)", "neg_category_ids"]),
    "no inexhaustive": (
        spoil("images", 1, not_exhaustive_category_ids=None),
        ["images 1 (id 6)", "not_exhaustive_category_ids"],
    ),
    "no frequency": (spoil("categories", 3, frequency=None), ["category 7 ('class 7')", "frequency"]),
    "bad frequency": (spoil("categories", 3, frequency="x"), ["categories[3].frequency"]),
    "ignore": (spoil("annotations", 4, ignore=1), ["1 boxes have ignore set", "image 3"]),
    "iscrowd": (spoil("annotations", 4, iscrowd=1), ["1 boxes have iscrowd set", "image 3"]),
    "no box": (spoil("annotations", 4, bbox=None), ["annotations[4]", "bbox"]),
    "short box": (spoil("annotations", 4, bbox=[1, 2, 3]), ["annotations[4]", "length 4"]),
    "text for an id": (spoil("annotations", 4, image_id="3"), ["annotations[4].image_id", "int"]),
    "two images of one id": (spoil("images", 2, id=3), ["images 2", "id 3 occurs twice"]),
    "two categories of one id": (spoil("categories", 2, id=1), ["categories 2", "id 1 occurs twice"]),
    "no images": (lambda truth: truth.update(images=[]), ["'images' is empty"]),
    "no categories": (lambda truth: truth.update(categories=[]), ["'categories' is empty"]),
    "no annotations": (lambda truth: truth.pop("annotations"), ["annotations"]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_annotation_files(tmp_path: Path, name: str) -> None:
    change, words = BAD_FILES[name]
    truth = synthetic_truth(4, 10, 0)
    detections = synthetic_detections(truth, 10)
    change(truth)
    gt = write(tmp_path, truth)
    with pytest.raises(DataError) as caught:
        evaluate(gt, detections)
    for word in [str(gt), *words]:
        assert word in caught.value.message
    assert caught.value.hint


def with_score(value: float) -> Callable[[Detections], Detections]:
    return lambda d: replace(d, scores=np.where(np.arange(len(d)) == 7, np.float32(value), d.scores))


def with_box(value: float) -> Callable[[Detections], Detections]:
    return lambda d: replace(d, boxes=np.where(np.arange(len(d))[:, None] == 7, np.float32([1, 2, value, 4]), d.boxes))


def with_image(d: Detections) -> Detections:
    return replace(d, image_ids=np.where(np.arange(len(d)) == 7, 12345, d.image_ids))


def with_labels(d: Detections) -> Detections:
    return replace(d, category_ids=np.full(len(d), 4, np.int32))


BAD_DETECTIONS = {
    "nan score": (with_score(np.nan), "the score is not a finite number (1 such"),
    "infinite score": (with_score(np.inf), "the score is not a finite number (1 such"),
    "nan box": (with_box(np.nan), "the box is not a finite number (1 such"),
    "infinite box": (with_box(np.inf), "the box is not a finite number (1 such"),
    "unknown image": (with_image, "has no such image (1 such"),
}


@pytest.mark.parametrize("truth", [synthetic_truth(4, 10, 0), coco_truth(4, 10, 0)], ids=["lvis", "coco"])
@pytest.mark.parametrize("name", BAD_DETECTIONS)
def test_detections(tmp_path: Path, name: str, truth: Truth) -> None:
    change, words = BAD_DETECTIONS[name]
    detections = replace(change(synthetic_detections(truth, 10)), source="theirs.json")
    with pytest.raises(DataError) as caught:
        evaluate(write(tmp_path, truth), detections)
    assert caught.value.message.startswith("Detection 7 of theirs.json (image ")
    assert words in caught.value.message
    assert caught.value.hint


def test_labels_in_the_place_of_category_ids(tmp_path: Path) -> None:
    truth = synthetic_truth(4, 10, 0)  # all its ids are odd
    with pytest.raises(DataError, match=r"Detection 0 of the detector .* none of the categories") as caught:
        evaluate(write(tmp_path, truth), with_labels(synthetic_detections(truth, 10)))
    assert "not the place of the class in a list" in (caught.value.hint or "")


def test_boxes_as_corners_are_pointed_out(tmp_path: Path) -> None:
    truth = synthetic_truth(4, 10, 0)
    metrics = evaluate(write(tmp_path, truth), odd_detections(truth, 50, 0))
    assert any("negative" in note and "Is the bbox x, y, width, height?" in note for note in metrics.notes)


@pytest.mark.parametrize(
    ("truth", "engine", "able"),
    [
        (synthetic_truth(4, 10, 0), "pycocotools", "hotcoco or lvis"),
        (coco_truth(4, 10, 0), "lvis", "pycocotools or hotcoco"),
    ],
)
def test_engines_that_do_not_fit(tmp_path: Path, truth: Truth, engine: Any, able: str) -> None:
    gt = write(tmp_path, truth)
    with pytest.raises(ConfigError) as caught:
        evaluate(gt, synthetic_detections(truth, 10), engine=engine)
    assert str(gt) in caught.value.message
    assert able in (caught.value.hint or "")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"nonsense", b"\xff\xfe\x00", b'{"images": [NaN]}'])
def test_files_that_are_no_annotations(tmp_path: Path, content: bytes) -> None:
    gt = tmp_path / "gt.json"
    gt.write_bytes(content)
    with pytest.raises(DataError, match=r"gt\.json"):
        evaluate(gt, synthetic_detections(synthetic_truth(4, 10, 0), 10))


def test_a_missing_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: No such file"):
        evaluate(tmp_path / "none.json", synthetic_detections(synthetic_truth(4, 10, 0), 10))


def test_detections_past_the_cap_are_told(tmp_path: Path) -> None:
    truth = synthetic_truth(4, 10, 0)
    found = synthetic_detections(truth, 320)
    assert "4 images have more than 300 detections (at most 320)" in "".join(
        evaluate(write(tmp_path, truth), found).notes
    )
    assert evaluate(write(tmp_path, truth), synthetic_detections(truth, 300)).notes == []
    truth = coco_truth(1, 3, 0)
    found = replace(found, image_ids=np.full(len(found), 3), category_ids=np.repeat(np.int32([1, 3, 5, 9]), 320))
    (note,) = (n for n in evaluate(write(tmp_path, truth), found).notes if "more than" in n)
    assert note.startswith("3 pairs of an image and a class have more than 100 detections (at most 320)")
