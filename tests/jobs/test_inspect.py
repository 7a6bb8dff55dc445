"""`clis inspect`: what it shows is what training sees, tensor by tensor, and its counts are those of an epoch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clis_core.batch import Batch, Companions
from clis_core.config.load import command_layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.data.seen import seen_image
from clis_core.data.sheet import Tile
from clis_core.detectors.preprocess import Preprocess
from clis_core.errors import ConfigError, DataError
from clis_core.jobs import inspect as module
from clis_core.jobs import train as training
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.inspect import RECORD, TABLE, InspectOptions, inspect
from clis_core.jobs.training_data import PICTURES, open_companions, open_training_split, training_loader
from clis_core.methods.clis import paste
from clis_core.report import SilentReporter
from tests.draw import draw_pictures


class Heard(SilentReporter):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(f"Warning: {text}")


@pytest.fixture(scope="module")
def shards(drawn_lvis: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    plan = plan_images([draw_pictures(folder / "pictures", each=4)], drawn_lvis / "lvis_v1_train.json")
    build_images(plan, folder / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    return folder / "shards"


def config(data: Path, shards: Path | None, *settings: str, preset: str = "clis-tiny") -> RunConfig:
    flags = {
        "--data": ("data.root", data),
        "--images": ("pictures.shards", shards),
        "--regions": ("pictures.regions", "centre"),
    }
    given = ["train.batch=3", "train.eval_at_end=false", "pictures.s=8", "pictures.t=2", *settings]
    return resolve([preset_layer(preset), command_layer(given, flags)])


def batches_of_training(settings: RunConfig, out: Path, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """What the loop of `clis train` gets, whole."""
    found: list[Batch] = []
    with monkeypatch.context() as patch:
        patch.setattr(training, "train_loop", lambda state, loader, *_, **__: found.extend(loader))
        training.train(settings, out, reporter=SilentReporter())
    return found


def tiles_of(monkeypatch: pytest.MonkeyPatch, *words: Any, **options: Any) -> tuple[dict[str, list[Tile]], Any]:
    """The tiles that are drawn on each sheet, and the result."""
    sheets: dict[str, list[Tile]] = {}
    draw = module.draw_sheet

    def keep(tiles: list[Tile], path: Path, **how: Any) -> None:
        sheets[path.stem] = list(tiles)
        draw(tiles, path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_sheet", keep)
        result = inspect(*words, cache=None, reporter=SilentReporter(), **options)
    return sheets, result


@pytest.mark.parametrize("step", [0, 5])
def test_a_sheet_shows_the_very_tensors_of_a_step(
    drawn_lvis: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Training from step 0, with a worker of its own, gets at step K what the sheets from step K on show."""
    settings = config(drawn_lvis, shards, "train.iterations=8", "data.workers=1", "data.short_sides=[64,96]")
    batches = batches_of_training(settings, tmp_path / "run", monkeypatch)
    options = InspectOptions(count=6, from_step=step)
    sheets, result = tiles_of(monkeypatch, settings, tmp_path / "look", options)
    images = [(b, k) for b in batches[step : step + 2] for k in range(3)]
    assert len(images) == len(sheets["samples"]) == 6
    for (batch, k), tile, record in zip(images, sheets["samples"], result.record["samples"], strict=True):
        companions = batch.companions[k]
        assert torch.equal(tile.pixels, seen_image(batch.images[k], companions.patches))
        assert tile.boxes == batch.targets[k].boxes.tolist()  # the pasted ones count, and come last
        assert (record["file"], record["mirrored"]) == (batch.names[k], batch.images[k].flip)
        assert record["size"] == list(batch.images[k].size)
    mosaics = [m for batch, k in images for m in batch.companions[k].mosaics][:6]
    for mosaic, tile in zip(mosaics, sheets["mosaics"], strict=True):
        assert torch.equal(tile.pixels, mosaic.pixels)
        assert tile.boxes == mosaic.regions.tolist()
    pairs = [(batch, k, patch) for batch, k in images for patch in batch.companions[k].patches][:6]
    for number, (batch, k, patch) in enumerate(pairs):
        _, pasted, cell = sheets["pairs"][3 * number : 3 * number + 3]
        assert torch.equal(pasted.pixels, seen_image(batch.images[k], batch.companions[k].patches))
        assert pasted.boxes[0] == patch.box.tolist()
        mosaic = batch.companions[k].mosaics[patch.source // 4]
        assert torch.equal(cell.pixels, mosaic.pixels)
        assert cell.boxes == [mosaic.regions[patch.source % 4].tolist()]


def test_what_is_drawn_is_what_the_network_gets(drawn_lvis: Path, shards: Path) -> None:
    """Normalised by the network's first step, with patches pasted by the method: the same pixels but for rounding."""
    settings = config(drawn_lvis, shards, "data.short_sides=[64,80]", "data.workers=0")
    split = open_training_split(settings, None)
    pictures = open_companions(settings, split.table.categories)
    preprocess = Preprocess()
    flips = set()
    for batch in training_loader(settings, split, pictures, 0, 3):
        images = preprocess(batch.images)
        paste(images, batch.companions, preprocess)
        for k, (height, width) in enumerate(images.sizes):
            got = images.pixels[k, :, :height, :width] / preprocess.scale + preprocess.mean
            shown = seen_image(batch.images[k], batch.companions[k].patches)
            assert (got - shown).abs().max() <= 0.51
            flips.add(batch.images[k].flip)
    assert flips == {True, False}


def test_pairs_name_their_pictures(
    drawn_lvis: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(drawn_lvis, shards, "pictures.paste.mode=opaque", "pictures.cutout=0.0")
    sheets, result = tiles_of(monkeypatch, settings, tmp_path / "look", InspectOptions(["mosaics", "pairs"], 4))
    split = open_training_split(settings, None)
    pictures = open_companions(settings, split.table.categories)
    assert pictures is not None
    for number, record in enumerate(result.record["pairs"]):
        where = record["picture"]
        picture = sheets["pairs"][3 * number]
        assert torch.equal(picture.pixels, pictures.shards.image(where["number"]))
        assert pictures.shards.key(where["number"]) == where["key"]
        assert pictures.shards.record(where["number"])["class_name"] == record["class"]
        height, width = picture.pixels.shape[-2:]
        np.testing.assert_allclose(picture.boxes[0], [0.1 * width, 0.1 * height, 0.9 * width, 0.9 * height], rtol=1e-5)
    for record in result.record["mosaics"]:
        for region in record["regions"]:
            assert pictures.shards.record(region["number"])["class_name"] == region["class"]


def test_counts_are_those_of_an_epoch(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    """Counted once more by walking through the batches of the epoch."""
    settings = config(drawn_lvis, shards, "data.sampler.threshold=0.5", "data.workers=0", "pictures.paste.pick=rare")
    split = open_training_split(settings, None)
    pictures = open_companions(settings, split.table.categories)
    loader = training_loader(settings, split, pictures, 0, 64)
    step = 20
    result = inspect(
        settings, tmp_path, InspectOptions(["counts"], from_step=step), cache=None, reporter=SilentReporter()
    )
    assert result.counts is not None
    places = loader.order.places(result.counts.epoch)
    assert result.counts.epoch > 0
    assert step * 3 in places
    seen: Counter[str] = Counter()
    shown, images, boxes, pasted = (Counter[int]() for _ in range(4))
    for number, batch in enumerate(loader):
        for k, (index, place) in enumerate(loader.order.images(number)):
            if place not in places:
                continue
            seen[split.files.name(index)] += 1
            labels = split.table.target(index)[1].tolist()
            images.update(set(labels))
            boxes.update(labels)
            companions: Companions = batch.companions[k]
            shown.update(label for m in companions.mosaics for label in m.labels.tolist())
            pasted.update(p.label for p in companions.patches)
    assert sum(seen.values()) == result.counts.images_drawn == len(places)
    assert max(seen.values()) > 1  # sampling repeats some
    by_class = result.counts.by_class
    for label in range(1, len(split.table.categories) + 1):
        drawn = [
            int(by_class[name][label - 1]) for name in ("images_drawn", "instances_drawn", "pictures_drawn", "pasted")
        ]
        assert drawn == [images[label], boxes[label], shown[label], pasted[label]]
        assert by_class["pictures"][label - 1] == 4
    assert by_class["images"].tolist() == split.table.image_counts().tolist()
    assert by_class["instances"].sum() == len(split.table.boxes)
    groups = result.counts.groups()
    assert groups["all"]["pasted"] == sum(pasted.values()) == 2 * len(places)
    assert sum(groups[word]["classes"] for word in ("rare", "common", "frequent")) == groups["all"]["classes"] == 6
    table = (tmp_path / TABLE).read_text()
    assert f"Epoch {result.counts.epoch}: {len(places)} images, of 24 in the data set." in table
    assert result.record["counts"]["classes"][0]["pasted"] == pasted[1]


def test_without_sampling_an_epoch_is_the_data_set(drawn_lvis: Path, tmp_path: Path) -> None:
    settings = config(drawn_lvis, None, "data.sampler.kind=uniform", preset="baseline-tiny")
    result = inspect(settings, tmp_path, InspectOptions(["counts"]), cache=None, reporter=SilentReporter())
    assert result.counts is not None
    by_class = result.counts.by_class
    assert by_class.keys() == {"images", "instances", "images_drawn", "instances_drawn"}
    assert by_class["images"].tolist() == by_class["images_drawn"].tolist()
    assert by_class["instances"].tolist() == by_class["instances_drawn"].tolist()


def test_the_same_bytes_each_time(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    settings = config(drawn_lvis, shards)
    written = []
    for folder in ("a", "a", "b"):
        result = inspect(
            settings, tmp_path / folder, InspectOptions(count=3, suffix=".png"), cache=None, reporter=SilentReporter()
        )
        assert [f.name for f in result.files] == ["samples.png", "mosaics.png", "pairs.png", TABLE, RECORD]
        assert sorted(f.name for f in (tmp_path / folder).iterdir()) == sorted(f.name for f in result.files)
        written.append([file.read_bytes() for file in result.files])
        assert json.loads(result.files[-1].read_text()) == result.record
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize(("count", "tiles"), [(1, (1, 1, 3)), (7, (7, 7, 21))])
def test_the_count_is_that_of_each_sheet(
    drawn_lvis: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, tiles: tuple[int, ...]
) -> None:
    options = InspectOptions(count=count, side=100)
    sheets, result = tiles_of(monkeypatch, config(drawn_lvis, shards), tmp_path, options)
    assert tuple(len(sheets[part]) for part in ("samples", "mosaics", "pairs")) == tiles
    with Image.open(result.files[2]) as sheet:
        assert sheet.width == (3 if count <= 4 else 6) * 104 + 4


@pytest.mark.parametrize(
    ("preset", "setting", "parts", "said"),
    [
        ("specialised-tiny", "seed=0", {"samples", "counts"}, "No mosaics and no pairs: the method supervised learns"),
        ("clis-tiny", "pictures.t=0", {"samples", "mosaics", "counts"}, "No pairs: pictures.t is 0"),
        ("clis-tiny", "pictures.s=0", {"samples", "counts"}, "No mosaics and no pairs: pictures.s is 0"),
    ],
)
def test_what_there_is_not(
    drawn_lvis: Path, shards: Path, tmp_path: Path, preset: str, setting: str, parts: set[str], said: str
) -> None:
    more = ("pictures.t=0",) if setting == "pictures.s=0" else ()
    settings = config(drawn_lvis, shards, *more, setting, preset=preset)
    heard = Heard()
    result = inspect(settings, tmp_path, InspectOptions(count=2), cache=None, reporter=heard)
    assert {f.stem for f in result.files} == {*parts, "inspect"}
    assert any(line.startswith(said) for line in heard.lines)
    with pytest.raises(ConfigError, match="There are no pairs to show") as caught:
        inspect(settings, tmp_path, InspectOptions(["pairs"]), cache=None, reporter=heard)
    assert caught.value.hint


def test_pasting_that_has_ended_leaves_no_sheet(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    settings = config(drawn_lvis, shards, "pictures.paste.until=0.1", "train.iterations=1000")
    heard = Heard()
    result = inspect(settings, tmp_path, InspectOptions(["pairs"], from_step=500), cache=None, reporter=heard)
    assert [f.name for f in result.files] == [RECORD]
    assert any("There are no pairs in the steps from 500 on" in line for line in heard.lines)


@pytest.mark.parametrize(("boxes", "caption"), [("ignored", "pasted, ignored"), ("background", "pasted, no box")])
def test_pasted_boxes_that_do_not_count_are_shown_as_such(
    drawn_lvis: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boxes: str, caption: str
) -> None:
    settings = config(drawn_lvis, shards, f"pictures.paste.boxes={boxes}")
    sheets, result = tiles_of(monkeypatch, settings, tmp_path, InspectOptions(["samples", "pairs"], 3))
    for tile, record in zip(sheets["samples"], result.record["samples"], strict=True):
        assert [c.endswith(caption) for c in tile.captions] == [box.get("pasted", False) for box in record["boxes"]]
        assert sum(c.endswith(caption) for c in tile.captions) == 2
    for number, record in enumerate(result.record["pairs"]):
        own = next(s for s in result.record["samples"] if s["image_id"] == record["image_id"])["boxes"]
        assert len(sheets["pairs"][3 * number + 1].boxes) == len(own)


def test_a_run_that_learnt_from_other_pictures_is_told(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    settings = config(drawn_lvis, shards)
    for content, warned in (("{}", True), ("no json", False)):
        (tmp_path / PICTURES).write_text(content)
        heard = Heard()
        inspect(settings, tmp_path / "o", InspectOptions(count=1), cache=None, run=tmp_path, reporter=heard)
        assert any("learnt from other pictures" in line for line in heard.lines) == warned


def test_data_that_cannot_be_used(drawn_lvis: Path, shards: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No data set is named"):
        inspect(resolve([preset_layer("clis-tiny")]), tmp_path, InspectOptions(), cache=None, reporter=SilentReporter())
    with pytest.raises(ConfigError, match="no shards of them are named"):
        inspect(config(drawn_lvis, None), tmp_path, InspectOptions(), cache=None, reporter=SilentReporter())
    with pytest.raises(DataError, match="does not exist"):
        inspect(config(tmp_path / "x", shards), tmp_path, InspectOptions(), cache=None, reporter=SilentReporter())
