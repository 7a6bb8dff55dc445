"""The drawn data sets are what the other tests take them for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from clis_core.config.data import DataConfig
from clis_core.data.layout import check_splits, open_split
from tests.draw import draw_coco, draw_lvis


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_drawing_is_a_function_of_the_seed(tmp_path: Path, drawn_lvis: Path, drawn_coco: Path) -> None:
    assert contents(draw_lvis(tmp_path / "a")) == contents(drawn_lvis)
    assert contents(draw_coco(tmp_path / "b")) == contents(drawn_coco)
    assert contents(draw_lvis(tmp_path / "c", seed=1)) != contents(drawn_lvis)


def test_lvis_has_what_lvis_has(drawn_lvis: Path) -> None:
    train, val = (json.loads((drawn_lvis / f"lvis_v1_{s}.json").read_text()) for s in ("train", "val"))
    assert (len(train["images"]), len(val["images"])) == (24, 12)
    ids = [c["id"] for c in train["categories"]]
    assert ids != list(range(ids[0], ids[0] + len(ids)))
    for content in (train, val):
        assert {a["category_id"] for a in content["annotations"]} == set(ids)
        for image in content["images"]:
            present = {a["category_id"] for a in content["annotations"] if a["image_id"] == image["id"]}
            assert not present & set(image["neg_category_ids"])
            assert set(image["not_exhaustive_category_ids"]) <= present
            assert "file_name" not in image
    counts = [c["image_count"] for c in train["categories"]]
    assert counts[0] > 3 * counts[-1] > 0
    assert {"synset", "def", "frequency"} <= train["categories"][0].keys()


def test_both_open_and_boxes_lie_on_what_was_drawn(drawn_lvis: Path, drawn_coco: Path) -> None:
    for root in (drawn_lvis, drawn_coco):
        config = DataConfig(root=root)
        train, val = open_split(config, "train", None), open_split(config, "val", None)
        check_splits(train, val)
        inside, outside = [], []
        for i in range(len(val.files)):
            saturation = np.asarray(Image.open(val.files.path(i)).convert("HSV"))[..., 1].astype(float)
            mask = np.zeros(saturation.shape, bool)
            for x1, y1, x2, y2 in val.table.target(i)[0].astype(int):
                mask[y1:y2, x1:x2] = True
            inside.append(saturation[mask].mean())
            outside.append(saturation[~mask].mean())
        assert np.mean(inside) > 2 * np.mean(outside)


def test_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.draw", str(tmp_path / "x"), "--images", "12", "--size", "64"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(open_split(DataConfig(root=tmp_path / "x"), "train", None).files) == 12
