"""The drawn data set as a whole: the same bytes for a seed, what is promised in its json, the gap, its folder."""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clis_core.config.data import DataConfig
from clis_core.data.drawn import data_set
from clis_core.data.drawn.data_set import DrawnSet, draw_data_set, picture_sides
from clis_core.data.drawn.scene import draw_picture
from clis_core.data.drawn.style import SCENE, SKETCH, style_between
from clis_core.data.layout import check_splits, open_split
from clis_core.data.sources.open import open_source
from clis_core.errors import ConfigError, DataError

SMALL: dict[str, Any] = {"scenes": 200, "val": 60, "classes": 12, "pictures_per_class": 4, "size": (96, 80)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSet:
    return draw_data_set(tmp_path_factory.mktemp("drawn") / "set", **SMALL)


def hashes(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(drawn: DrawnSet, tmp_path: Path) -> None:
    again = draw_data_set(tmp_path / "again", **SMALL)
    other = draw_data_set(tmp_path / "other", **SMALL, seed=1)
    assert hashes(again.folder) == hashes(drawn.folder)
    assert not set(hashes(other.folder).values()) & set(hashes(drawn.folder).values())


def test_the_scenes_do_not_depend_on_the_pictures(drawn: DrawnSet, tmp_path: Path) -> None:
    few = draw_data_set(tmp_path / "few", **{**SMALL, "pictures_per_class": 1, "gap": 0.0})
    both = hashes(drawn.folder), hashes(few.folder)
    names = [name for name in both[0] if not name.startswith("pictures")]
    assert [both[0][name] for name in names] == [both[1][name] for name in names]


def test_the_json_files_keep_the_promise(drawn: DrawnSet) -> None:
    for split, path, least in (("train", drawn.train, 1), ("val", drawn.val, 15)):
        content = json.loads(path.read_text(encoding="utf-8"))
        assert len(content["images"]) == SMALL["val" if split == "val" else "scenes"]
        classes = {c["id"] for c in content["categories"]}
        held: dict[int, set[int]] = {image["id"]: set() for image in content["images"]}
        instances: Counter[int] = Counter()
        for a in content["annotations"]:
            held[a["image_id"]].add(a["category_id"])
            instances[a["category_id"]] += 1
            x, y, w, h = a["bbox"]
            assert 0 <= x < x + w <= 96
            assert 0 <= y < y + h <= 80
            assert 0 < a["area"] <= w * h
        assert min(instances[c] for c in classes) >= least
        for image in content["images"]:
            assert set(image["neg_category_ids"]) == classes - held[image["id"]]
            with Image.open(drawn.folder / image["file_name"]) as file:
                assert file.size == (96, 80)
        if split == "train":
            images = Counter(c for some in held.values() for c in some)
            for c in content["categories"]:
                assert c["image_count"] == images[c["id"]] == drawn.images[c["id"] - 1]
                assert c["instance_count"] == instances[c["id"]]
                low, high = {"r": (1, 10), "c": (11, 100), "f": (101, 200)}[c["frequency"]]
                assert low <= images[c["id"]] <= high


def test_training_reads_it(drawn: DrawnSet) -> None:
    config = DataConfig(root=drawn.folder)
    train, val = (open_split(config, split, None) for split in ("train", "val"))
    check_splits(train, val)
    assert [c.name for c in train.table.categories] == drawn.names
    assert Counter(c.group for c in train.table.categories) == {"r": 4, "c": 4, "f": 4}


def test_pictures_are_class_tars_whose_labels_are_the_classes(drawn: DrawnSet) -> None:
    source = open_source(drawn.pictures, label_from="tar")
    assert source.labels() == sorted(drawn.names)
    labels = Counter(member.label for member in source.members(lambda label: True))
    assert labels == dict.fromkeys(drawn.names, 4)


def test_pictures_in_folders_are_the_same(drawn: DrawnSet, tmp_path: Path) -> None:
    folders = draw_data_set(tmp_path / "folders", **SMALL, pack="folders")
    source, tars = open_source(folders.pictures), open_source(drawn.pictures, label_from="tar")
    found = [{(m.label, m.name, m.data) for m in s.members(lambda label: True)} for s in (source, tars)]
    assert found[0] == found[1]


def features(image: NDArray[np.uint8]) -> list[float]:
    """Saturation, brightness and their spread: what a person sees first of a style."""
    values = image.astype(float)
    saturation = values.max(axis=2) - values.min(axis=2)
    return [saturation.mean(), saturation.std(), values.mean()]


def test_the_gap_grows_from_no_difference(drawn: DrawnSet) -> None:
    rng = np.random.default_rng(0)
    crops = []
    for path in sorted((drawn.folder / "train").iterdir()):
        y, x = rng.integers(0, (80 - 64, 96 - 64))
        with Image.open(path) as file:
            crops.append(features(np.asarray(file)[y : y + 64, x : x + 64]))
    scenes, spread = np.mean(crops, axis=0), np.std(crops, axis=0)
    distances = []
    for gap in (0.0, 0.25, 0.5, 0.75, 1.0):
        sides, style = picture_sides((96, 80), (64, 64), gap), style_between(SCENE, SKETCH, gap)
        found = [draw_picture(np.random.default_rng(k), k % 12, (64, 64), sides, style, (96, 80)) for k in range(144)]
        mean = np.mean([features(picture) for picture in found], axis=0)
        distances.append(float(np.abs((mean - scenes) / spread).mean()))
    assert distances == sorted(distances)
    assert min(np.diff(distances)) > 0.1
    assert distances[0] < 0.2 * distances[-1]
    assert distances[-1] > 1.5


def test_the_gap_is_that_of_the_written_pictures(drawn: DrawnSet, tmp_path: Path) -> None:
    near = draw_data_set(tmp_path / "near", **SMALL, gap=0.0)
    bright = []
    for folder in (near.pictures, drawn.pictures):
        members = open_source(folder, label_from="tar").members(lambda label: True)
        bright.append(np.mean([np.asarray(Image.open(io.BytesIO(m.data or b""))).mean() for m in members]))
    assert bright[1] > bright[0] + 40


def test_objects_of_pictures_grow_from_those_of_the_scenes() -> None:
    sides = [picture_sides((128, 128), (64, 64), gap) for gap in (0, 0.5, 1)]
    assert sides[0][0] == pytest.approx(0.2 * 128)
    assert sides == sorted(sides)
    assert sides[2][0] > 0.6 * 64


def test_a_folder_that_holds_something_is_refused(drawn: DrawnSet, tmp_path: Path) -> None:
    before = hashes(drawn.folder)
    with pytest.raises(DataError, match="not an empty folder") as caught:
        draw_data_set(drawn.folder, **SMALL)
    assert caught.value.hint
    assert hashes(drawn.folder) == before
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match="not an empty folder"):
        draw_data_set(file, **SMALL)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert draw_data_set(tmp_path / "set", **SMALL).train.is_file()
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_what_is_stopped_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data_set, "draw_picture", stop)
    with pytest.raises(KeyboardInterrupt):
        draw_data_set(tmp_path / "set", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written") as caught:
        draw_data_set(tmp_path / "file" / "set", **SMALL)
    assert caught.value.hint


@pytest.mark.parametrize(
    "wrong", [{"gap": 1.1}, {"gap": -0.1}, {"size": (128, 40)}, {"picture_size": (20, 64)}, {"seed": -1}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        draw_data_set(tmp_path / "set", **{**SMALL, **wrong})
    assert caught.value.hint
    assert not (tmp_path / "set").exists()
