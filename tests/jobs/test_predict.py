"""The job behind `clis predict`: what is written, under which names, and what happens to bad pictures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.data.named_pictures import Failure, NamedPicture, find_pictures
from clis_core.detectors.load import Loaded
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.jobs import predict as job
from clis_core.jobs.inference import NamedDetections, NamedDetector
from clis_core.jobs.predict import PredictOptions, predict
from clis_core.jobs.predict_files import drawn_names, write_picture
from tests.detectors.export.conftest import sharp_detector
from tests.detectors.test_faster_rcnn import picture
from tests.jobs.test_export import Heard

CATEGORIES = Categories(
    [
        *(Category(10 * i, f"thing {i}", group=g) for i, g in enumerate("rcf", start=1)),
        Category(40, "Käse, 中"),
        Category(50, 'quo"te'),
    ]
)
ALL = PredictOptions(threshold=0.05, formats=("pictures", "json", "csv", "coco"))


@pytest.fixture(scope="module")
def detector():
    return NamedDetector(Loaded(sharp_detector(), CATEGORIES, 7), Path("some.pt"))


@pytest.fixture
def photos(tmp_path):
    for number, (name, sides) in enumerate({"a/1.jpg": (100, 150), "b/1.jpg": (130, 90), "c.png": (64, 64)}.items()):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(*sides, number).permute(1, 2, 0).numpy()).save(path)
    return tmp_path / "photos"


def go(detector, where, out, options=ALL):
    heard = Heard()
    return predict(detector, *find_pictures([str(w) for w in where]), out, options, reporter=heard), heard


def test_what_is_written(detector, photos, tmp_path):
    out = tmp_path / "out"
    result, _ = go(detector, [photos], out)
    files = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    drawn = {f"pictures/{name}" for name in ("a-1.jpg", "b-1.jpg", "c.png")}
    assert files == drawn | {"detections.json", "detections.csv", "coco-results.json", "coco-images.json"}
    record = json.loads((out / "detections.json").read_text())
    assert record == result.record
    assert (record["format"], record["version"], record["threshold"]) == ("clis-predictions", 1, 0.05)
    assert record["model"]["step"] == 7
    assert [i["drawn"] for i in record["images"]] == ["pictures/c.png", "pictures/a-1.jpg", "pictures/b-1.jpg"]
    assert [(i["width"], i["height"]) for i in record["images"]] == [(64, 64), (150, 100), (90, 130)]
    found = detector(photos / "c.png", threshold=0.05)
    assert len(found) > 5
    first = record["images"][0]["detections"][0]
    assert first["name"] == found.names[0]
    assert first["group"] == found.classes[0].group
    assert first["category_id"] == found.classes[0].id
    assert first["score"] == pytest.approx(float(found.scores[0]), abs=1e-6)
    assert first["box"] == pytest.approx(found.boxes[0].tolist(), abs=1e-3)


def test_the_table_and_the_coco_files_say_the_same(detector, photos, tmp_path):
    out = tmp_path / "out"
    record = go(detector, [photos], out)[0].record
    with (out / "detections.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = [(i["source"], d) for i in record["images"] for d in i["detections"]]
    assert len(rows) == len(expected) > 15
    for row, (source, found) in zip(rows, expected, strict=True):
        assert (row["source"], int(row["category_id"]), row["name"]) == (source, found["category_id"], found["name"])
        assert [float(row[k]) for k in ("x1", "y1", "x2", "y2")] == found["box"]
        assert row["group"] == (found["group"] or "")
    results = json.loads((out / "coco-results.json").read_text())
    images = json.loads((out / "coco-images.json").read_text())
    assert [i["id"] for i in images["images"]] == [1, 2, 3]  # 1.jpg is there twice, so that names give no ids
    assert [c["id"] for c in images["categories"]] == CATEGORIES.ids
    source = {i["id"]: i["file_name"] for i in images["images"]}
    for result, (name, found) in zip(results, expected, strict=True):
        x, y, width, height = result["bbox"]
        assert (source[result["image_id"]], result["category_id"]) == (name, found["category_id"])
        assert [x, y, x + width, y + height] == pytest.approx(found["box"], abs=1e-2)


def test_numbers_as_names_are_image_ids(detector, photos, tmp_path):
    (photos / "b" / "1.jpg").rename(photos / "b" / "000000000042.jpg")
    go(detector, [photos / "a", photos / "b"], tmp_path / "out")
    images = json.loads((tmp_path / "out" / "coco-images.json").read_text())["images"]
    assert [i["id"] for i in images] == [1, 42]


def test_boxes_and_captions_are_drawn(detector, photos, tmp_path):
    go(detector, [photos / "c.png"], tmp_path / "out")
    with Image.open(tmp_path / "out" / "pictures" / "c.png") as drawn, Image.open(photos / "c.png") as small:
        before = enlarged(small)
        assert drawn.size == before.size
        changed = (np.asarray(drawn) != np.asarray(before)).any(axis=2).mean()
    assert 0.1 < changed < 0.99
    go(detector, [photos / "c.png"], tmp_path / "none", replace(ALL, threshold=1.0, formats=("pictures",)))
    with Image.open(tmp_path / "none" / "pictures" / "c.png") as drawn, Image.open(photos / "c.png") as before:
        assert (np.asarray(drawn) == np.asarray(enlarged(before))).all()


def enlarged(image):
    """A whole number of times, to a mean side of 320 pixels or more."""
    times = next(n for n in range(1, 320) if n * n * image.width * image.height >= 320 * 320)
    return image.convert("RGB").resize((times * image.width, times * image.height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(("side", "drawn"), [(1, 320), (64, 320), (128, 384), (319, 638), (320, 320), (500, 500)])
def test_a_small_smallis_drawn_with_room_for_its_labels(tmp_path, side, drawn):
    found = NamedDetections(
        torch.tensor([[0.0, 0.0, side / 2, side / 2]]), torch.tensor([1]), torch.tensor([0.9]), CATEGORIES, (side, side)
    )
    write_picture(torch.full((3, side, side), 120, dtype=torch.uint8), found, tmp_path / "a.png", 0)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (drawn, drawn)
        changed = (np.asarray(image) != 120).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows[-1] == columns[-1]
    assert abs(rows[-1] - drawn / 2) <= 3  # the box has grown with the picture


def test_bad_pictures_are_named_and_the_others_go_on(detector, photos, tmp_path):
    (photos / "a" / "bad.jpg").write_bytes((photos / "a" / "1.jpg").read_bytes()[:300])
    (photos / "b" / "page.jpg").write_text("<html>no picture</html>")
    words = [photos, tmp_path / "gone.jpg", tmp_path / "*.gif"]
    result, heard = go(detector, words, tmp_path / "out", replace(ALL, batch=2))
    assert [Path(one.source).name for one in result.done] == ["c.png", "1.jpg", "1.jpg"]
    assert {Path(f.name).name for f in result.failures} == {"bad.jpg", "page.jpg", "gone.jpg", "*.gif"}
    assert len(heard.warnings) == 4
    assert any("gone.jpg: no such file" in text for text in heard.warnings)
    record = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {f["source"] for f in record["failures"]} == {f.name for f in result.failures}
    assert len(list((tmp_path / "out" / "pictures").iterdir())) == 3


def test_a_pipe_is_no_picture(detector, tmp_path, photos):
    import os

    os.mkfifo(tmp_path / "pipe.jpg")
    result, _ = go(detector, [tmp_path / "pipe.jpg", photos / "c.png"], None)
    assert [f.name for f in result.failures] == [str(tmp_path / "pipe.jpg")]


def test_nothing_but_bad_pictures(detector, tmp_path):
    with pytest.raises(DataError, match="None of 1 pictures") as error:
        go(detector, [tmp_path / "gone.jpg"], tmp_path / "out")
    assert error.value.hint
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="no pictures"):
        go(detector, [], None)


def test_results_are_not_replaced_unasked(detector, photos, tmp_path):
    out = tmp_path / "out"
    go(detector, [photos], out)
    before = (out / "detections.json").read_bytes()
    with pytest.raises(ConfigError, match=r"there are results already: detections\.json and 6 more") as error:
        go(detector, [photos], out)
    assert "--overwrite" in error.value.hint
    go(detector, [photos / "c.png"], out, replace(ALL, overwrite=True))
    assert (out / "detections.json").read_bytes() != before
    only_new = replace(ALL, formats=("pictures",))
    (out / "pictures" / "c.png").unlink()
    go(detector, [photos / "c.png"], out, only_new)  # what is beside it does not stand in the way


def test_without_a_folder_nothing_is_written(detector, photos, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    result, _ = go(detector, [photos], None)
    assert len(result.record["images"]) == 3
    assert result.record["images"][0]["drawn"] is None
    assert sorted(tmp_path.rglob("*")) == before


def test_a_stop_keeps_whole_pictures(detector, photos, tmp_path, monkeypatch):
    class Stopped:
        def __init__(self):
            self.calls = 0

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        @property
        def name(self):
            self.calls += 1
            return "SIGTERM" if self.calls > 1 else None

    monkeypatch.setattr(job, "StopRequest", Stopped)
    with pytest.raises(Interrupted, match="after 1 of 3 pictures") as error:
        go(detector, [photos], tmp_path / "out")
    assert "--overwrite" in error.value.hint
    assert [str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")] == ["pictures/c.png"]


def names(*paths: str) -> list[str]:
    return drawn_names([NamedPicture(p, None if "://" in p else Path(p)) for p in paths])


def test_names_of_drawn_pictures_never_collide():
    assert names("/x/a/1.jpg", "/x/b/1.jpg", "/x/c/2.jpg") == ["a-1.jpg", "b-1.jpg", "2.jpg"]
    assert names("/1.jpg", "/1.webp", "/1.png") == ["1.jpg", "1-2.jpg", "1.png"]
    for paths in (
        ["/x/1.jpg", "/x/1.webp", "/x/1.JPEG", "/x/1-2.jpg", "/x/1.png"],
        ["/x/a/1.jpg", "/x/b/1.jpg", "/x/a-1.jpg", "/y/a-1.jpg", "/a/1.jpg"],
        ["/x/A.jpg", "/x/a.jpg", "/y/a.JPG"],
        ["http://a.test/", "http://b.test/", "http://a.test/?x=1", "http://a.test/%2e%2e/%2Fetc%2Fpasswd"],
        [f"/{'long' * 50}/{'ä' * 200}{n}.jpg" for n in range(3)],
        [f"/x/{n % 3}/{n % 5}/p.jpg" for n in range(30)],
    ):
        made = names(*paths)
        assert len({n.casefold() for n in made}) == len(paths)
        assert all("/" not in n and "\\" not in n and not n.startswith(".") and len(n.encode()) < 255 for n in made)


def test_a_failure_of_finding_stands_in_the_record(detector, photos):
    pictures, _ = find_pictures([str(photos / "c.png")])
    result = predict(detector, pictures, [Failure("s3://x", "no")], None, ALL, reporter=Heard())
    assert result.record["failures"] == [{"source": "s3://x", "reason": "no"}]
