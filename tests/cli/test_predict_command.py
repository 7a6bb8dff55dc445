"""`clis predict`: what the job is asked for, what is printed, and the exit code of bad pictures."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from clis_core.data.named_pictures import Failure
from tests.detectors.export.conftest import sharp_detector
from tests.jobs.test_export import make_run


@pytest.fixture
def run(tmp_path: Path) -> str:
    for name in ("photos/a.jpg", "photos/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (60, 40), (9, 90, 200)).save(tmp_path / name)
    torch.manual_seed(0)
    return str(make_run(tmp_path, sharp_detector())[0])


def test_pictures_and_json_by_default(clis: Any, run: str) -> None:
    result = clis("predict", run, "photos", "--threshold", "0", "--device", "cpu")
    assert result.code == 0, result.err
    assert sorted(p.name for p in Path("predictions").rglob("*.*")) == ["a.jpg", "b.png", "detections.json"]
    assert "written to" in result.out
    again = clis("predict", run, "photos", "--device", "cpu")
    assert again.code == 3
    assert "--overwrite" in again.err
    assert clis("predict", run, "photos", "--device", "cpu", "--overwrite", "-o", "predictions").code == 0


def test_json_alone_writes_nothing(clis: Any, run: str) -> None:
    result = clis("predict", run, "photos/a.jpg", "--json", "--threshold", "0", "--device", "cpu")
    record = json.loads(result.out)
    assert record["images"][0]["source"] == "photos/a.jpg"
    assert record["images"][0]["detections"]
    assert not Path("predictions").exists()


def test_one_bad_picture_is_exit_code_4(clis: Any, run: str) -> None:
    Path("photos/c.jpg").write_text("no picture")
    result = clis("predict", run, "photos", "--json", "--format", "csv", "--device", "cpu")
    assert result.code == 4
    assert len(json.loads(result.out)["images"]) == 2
    assert "1 of 3 pictures could not be read; the first: photos/c.jpg" in result.err
    assert Path("predictions/detections.csv").is_file()
    assert not Path("predictions/pictures").exists()


def test_a_list_on_stdin(clis: Any, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("photos/b.png\nphotos/a.jpg\n"))
    result = clis("predict", run, "-", "--json", "--device", "cpu")
    assert [i["source"] for i in json.loads(result.out)["images"]] == ["photos/b.png", "photos/a.jpg"]


def test_a_dry_run_reads_and_writes_nothing(clis: Any, run: str, fake_job: Any) -> None:
    calls = fake_job("clis_core.jobs.inference", "load_detector", None)
    result = clis("predict", run, "photos", "gone/*.jpg", "--dry-run", "-f", "coco")
    assert result.code == 0
    assert "would read   2 pictures, from photos/a.jpg on" in result.err
    assert "would miss   gone/*.jpg" in result.err
    assert "would write  predictions: coco" in result.err
    assert calls == []


def test_options_reach_the_job(clis: Any, fake_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = fake_job("clis_core.jobs.inference", "load_detector", "the detector")
    from clis_core.jobs import predict as job

    asked: dict[str, Any] = {}

    def predict(detector: Any, pictures: Any, failures: Any, out: Any, options: Any, **more: Any) -> Any:
        asked.update(detector=detector, pictures=pictures, failures=failures, out=out, options=options)
        return SimpleNamespace(done=[], failures=[Failure("x", "no")], record={})

    monkeypatch.setattr(job, "predict", predict)
    words = ["--threshold", "0.5", "--batch", "4", "--short-side", "320", "--max-labels", "7", "--overwrite"]
    formats = ["-f", "coco", "-f", "csv", "-f", "coco"]
    assert clis("predict", "m.onnx", "http://a.test/x.jpg", "-o", "found", *words, *formats).code == 4
    assert loaded == [{"words": (Path("m.onnx"), ""), "checkpoint": "last", "short_side": 320}]
    assert asked["detector"] == "the detector"
    assert asked["pictures"] == [("http://a.test/x.jpg", None)]
    assert asked["out"] == Path("found")
    assert asked["options"] == job.PredictOptions(0.5, ("coco", "csv"), 4, 7, True)
    assert clis("predict", "m.onnx", "a.jpg", "--checkpoint", "best").code == 2
