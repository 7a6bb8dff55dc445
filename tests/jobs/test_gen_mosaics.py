"""`clis gen-mosaics`: a data set that training reads, the same after a kill; refused where it would be another one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from clis_core.config.data import DataConfig
from clis_core.data.decode import read_image
from clis_core.data.layout import open_split
from clis_core.data.shards.reader import Shards
from clis_core.errors import ClisError, ConfigError, DataError
from clis_core.jobs import gen_mosaics as module
from clis_core.jobs.gen_mosaics import gen_mosaics
from clis_core.jobs.mosaic_pictures import MosaicOptions
from clis_core.report import SilentReporter
from tests.data.painted import CATEGORIES, PAINTS, painted_shards
from tests.jobs.region_world import checkpoint


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return painted_shards(tmp_path_factory.mktemp("pictures") / "shards")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training json with the shards' classes and one more."""
    classes = [{"id": c.id, "name": c.name} for c in CATEGORIES] + [{"id": 900, "name": "nothing"}]
    image = {"id": 1, "file_name": "a.jpg", "height": 9, "width": 9}
    box = {"id": 1, "image_id": 1, "category_id": CATEGORIES[0].id, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
    file = tmp_path_factory.mktemp("data") / "train.json"
    file.write_text(json.dumps({"images": [image], "annotations": [box], "categories": classes}))
    return file


def made(shards: Shards, data: Path, out: Path, detector: Path | None = None, **options: object) -> Path:
    how = MosaicOptions(**{"boxes": "regions", "workers": 0, "device": "cpu", **options})  # type: ignore[arg-type]
    gen_mosaics(shards.folder, data, out, how, checkpoint=detector, reporter=SilentReporter())
    return out


def test_training_reads_what_is_made(shards: Shards, data: Path, tmp_path: Path) -> None:
    out = made(shards, data, tmp_path / "mosaics")
    split = open_split(DataConfig(root=out), "train", None)
    table = split.table
    assert len(table) == len(shards) // 4
    assert [(c.id, c.name) for c in table.categories][-1] == (900, "nothing")
    content = json.loads((out / "train.json").read_text())
    keys = [key for image in content["images"] for key in image["pictures"]]
    assert len(set(keys)) == len(keys) == len(shards) // 4 * 4
    for index in range(len(table)):
        pixels = read_image(split.files.path(index))
        assert tuple(pixels.shape[1:]) == tuple(table.sizes[index])
        boxes, labels = table.target(index)
        assert len(boxes) == 4
        for (x0, y0, x1, y1), label in zip(boxes.tolist(), labels.tolist(), strict=True):
            # The regions are where the paint is.
            middle = pixels[:, int((y0 + y1) / 2), int((x0 + x1) / 2)].int()
            assert int((middle - torch.tensor(PAINTS[label - 1])).abs().sum()) < 90
    assert not (out / ".staging").exists()


def test_fixed_boxes_need_no_regions(shards: Shards, data: Path, tmp_path: Path) -> None:
    out = made(shards, data, tmp_path / "mosaics", boxes="fixed", max_side=40)
    table = open_split(DataConfig(root=out), "train", None).table
    assert len(table.boxes) == 6 * 4 * len(table)
    assert table.sizes.max() <= 80


@pytest.mark.parametrize("boxes", ["detector", "own-label", "relabelled"])
def test_boxes_of_a_detector(shards: Shards, data: Path, tmp_path: Path, boxes: str) -> None:
    from clis_core.data.annotations import load_annotations

    detector = checkpoint(tmp_path / "detector.pt", categories=load_annotations(data, None).categories)
    out = made(shards, data, tmp_path / "mosaics", detector, boxes=boxes, threshold=0.02)
    table = open_split(DataConfig(root=out), "train", None).table
    counts = np.diff(table.offsets)
    if boxes == "relabelled":
        assert counts.tolist() == [4] * len(table)
    else:
        assert counts.min() >= 4  # a picture without a box is in none


def test_what_was_stopped_goes_on_to_the_same(
    shards: Shards, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 5)
    whole = made(shards, data, tmp_path / "whole")
    write, left = module._write, [2]

    def fails(*arguments: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write", fails)
    with pytest.raises(KeyboardInterrupt):
        made(shards, data, tmp_path / "cut")
    assert not (tmp_path / "cut" / "train.json").exists()
    monkeypatch.setattr(module, "_write", write)
    cut = made(shards, data, tmp_path / "cut")
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(cut) for p in cut.rglob("*") if p.is_file())
    for file in files:
        assert (whole / file).read_bytes() == (cut / file).read_bytes()
    before = (cut / "train.json").stat().st_mtime_ns
    made(shards, data, cut)  # finished already
    assert (cut / "train.json").stat().st_mtime_ns == before


def test_what_does_not_fit_is_refused(shards: Shards, data: Path, tmp_path: Path) -> None:
    out = made(shards, data, tmp_path / "mosaics")
    other = checkpoint(tmp_path / "detector.pt")  # knows three classes alone
    cases: list[tuple[type[ClisError], str, Path, Path | None, dict[str, object]]] = [
        (DataError, "another seed", out, None, {"seed": 1}),
        (DataError, "holds another data set", data.parent, None, {}),
        (ConfigError, "need a detector", tmp_path / "a", None, {"boxes": "own-label"}),
        (ConfigError, "need no detector", tmp_path / "b", other, {"boxes": "fixed"}),
        (DataError, "knows other classes", tmp_path / "c", other, {"boxes": "detector"}),
    ]
    for error, words, folder, detector, options in cases:
        with pytest.raises(error, match=words) as caught:
            made(shards, data, folder, detector, **options)
        assert caught.value.hint
