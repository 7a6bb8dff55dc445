"""`clis data check`: every code is found where its fault is, and nothing where there is none."""

from __future__ import annotations

import copy
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.config.data import DataConfig
from clis_core.data.check.findings import SHOWN, Finding
from clis_core.data.check.rules import RULES
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.sample import Sample
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.check_data import CheckOptions, CheckReport, check_data
from clis_core.report import SilentReporter

FOLDER = {"train": "train2017", "val": "val2017"}


@dataclass
class World:
    """A data set whose files can be spoilt."""

    root: Path
    train: dict[str, Any]
    val: dict[str, Any]

    def json(self, split: str) -> Path:
        return self.root / f"lvis_v1_{split}.json"

    def picture(self, split: str, index: int) -> Path:
        url = getattr(self, split)["images"][index]["coco_url"]
        return self.root / "/".join(url.split("/")[-2:])

    def write(self) -> None:
        for split in ("train", "val"):
            self.json(split).write_text(json.dumps(getattr(self, split)))

    def check(self, **options: Any) -> CheckReport:
        shards = self.root / "shards"
        found = shards if shards.is_dir() else None
        return check_data(DataConfig(root=self.root), found, CheckOptions(**options), reporter=SilentReporter())


@pytest.fixture
def world(drawn_lvis: Path, tmp_path: Path) -> World:
    root = shutil.copytree(drawn_lvis, tmp_path / "data")
    return World(root, *(json.loads((root / f"lvis_v1_{split}.json").read_text()) for split in ("train", "val")))


def codes(report: CheckReport) -> dict[tuple[str, str], int]:
    return {(f.rule.code, f.where): f.count for f in report.findings}


def one(report: CheckReport, code: str) -> Finding:
    return next(f for f in report.findings if f.rule.code == code)


def test_sound_data_have_no_findings(world: World) -> None:
    report = world.check()
    assert report.findings == []
    assert report.counts() == {"error": 0, "warning": 0, "note": 0}
    assert report.checked["train"]["looked_at"] == 24
    assert report.checked["val"]["images"] == 12


Spoil = Callable[[World], None]


def first(w: World) -> dict[str, Any]:
    """The first training annotation."""
    return w.train["annotations"][0]  # type: ignore[no-any-return]


def size_of(w: World, annotation: dict[str, Any]) -> tuple[int, int]:
    image = next(i for i in w.train["images"] if i["id"] == annotation["image_id"])
    return image["width"], image["height"]


def box(*xywh: float) -> Spoil:
    def spoil(w: World) -> None:
        first(w)["bbox"] = [float(v) for v in xywh]

    return spoil


def over_the_edge(by: float) -> Spoil:
    def spoil(w: World) -> None:
        width, _ = size_of(w, first(w))
        first(w)["bbox"] = [width - 10.0, 10.0, 10.0 + by, 12.0]

    return spoil


def again(split: str, kind: str, **changed: Any) -> Spoil:
    """A record once more, with some fields changed."""

    def spoil(w: World) -> None:
        records = getattr(w, split)[kind]
        records.append({**copy.deepcopy(records[0]), **changed})

    return spoil


def put(split: str, kind: str, index: int = 0, **fields: Any) -> Spoil:
    def spoil(w: World) -> None:
        getattr(w, split)[kind][index].update(fields)

    return spoil


def drop(split: str, kind: str, field: str, index: int = 0) -> Spoil:
    def spoil(w: World) -> None:
        del getattr(w, split)[kind][index][field]

    return spoil


def raw(text: Callable[[str], str | bytes], split: str = "train") -> Spoil:
    """Change the text of a json after it was written."""

    def spoil(w: World) -> None:
        w.write()
        new = text(w.json(split).read_text())
        w.json(split).write_bytes(new if isinstance(new, bytes) else new.encode())
        w.write = lambda: None  # type: ignore[method-assign]

    return spoil


def without_boxes_of(split: str) -> Spoil:
    """Take all boxes of the first category away; it loses nothing else."""

    def spoil(w: World) -> None:
        part = getattr(w, split)
        gone = part["categories"][-1]["id"]
        part["annotations"] = [a for a in part["annotations"] if a["category_id"] != gone]

    return spoil


def absent(w: World, name: str, category: int) -> None:
    lists = {f"{n}_category_ids": [] for n in ("neg", "not_exhaustive") if f"{n}_category_ids" != name}
    w.train["images"][0].update({**lists, name: [category]})


def _first_class(w: World) -> int:
    image = w.train["images"][0]["id"]
    return next(a["category_id"] for a in w.train["annotations"] if a["image_id"] == image)


def _other_class(w: World) -> int:
    image = w.train["images"][0]["id"]
    held = {a["category_id"] for a in w.train["annotations"] if a["image_id"] == image}
    return next(c["id"] for c in w.train["categories"] if c["id"] not in held)


def copy_picture(source: str, target: str, anew: bool = False) -> Spoil:
    """Put a picture of one split in the place of one of another, with its size; as it is, or encoded anew."""

    def spoil(w: World) -> None:
        data = w.picture(source, 1).read_bytes()
        if anew:
            out = io.BytesIO()
            Image.open(io.BytesIO(data)).save(out, "JPEG", quality=60)
            data = out.getvalue()
        w.picture(target, 2).write_bytes(data)
        of = getattr(w, source)["images"][1]
        getattr(w, target)["images"][2].update(width=of["width"], height=of["height"])

    return spoil


def turned(orientation: int, swap: bool) -> Spoil:
    """Write a picture with an EXIF orientation; its annotated size is what EXIF makes of it, or not."""

    def spoil(w: World) -> None:
        path, image = w.picture("train", 0), w.train["images"][0]
        exif = Image.Exif()
        exif[0x0112] = orientation
        with Image.open(path) as picture:
            picture.load()
            picture.save(path, quality=92, exif=exif.tobytes())
        if swap:
            image["width"], image["height"] = image["height"], image["width"]

    return spoil


def shards(pictures: Callable[[World], list[tuple[int, bytes]]], names: dict[int, str] | None = None) -> Spoil:
    """Build shards of (category, JPEG); ids or names of their categories may differ from the data's."""

    def spoil(w: World) -> None:
        known = {c["id"]: c["name"] for c in w.train["categories"]} | (names or {})
        categories = Categories(Category(number, name) for number, name in known.items())
        with ShardBuilder(w.root / "shards", categories, {"command": "test"}, shards=1) as builder:
            for k, (category, jpeg) in enumerate(pictures(w)):
                with Image.open(io.BytesIO(jpeg)) as image:
                    builder.add(Sample("x", f"{k}.jpg", category, jpeg, image.height, image.width, {}))
            builder.finish(unmatched={}, made={}, reporter=SilentReporter())

    return spoil


def noise(w: World) -> list[tuple[int, bytes]]:
    """A picture of each class of the data."""
    rng = np.random.default_rng(0)
    found = []
    for c in w.train["categories"]:
        out = io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((60, 48), Image.Resampling.BICUBIC).save(out, "JPEG")
        found.append((c["id"], out.getvalue()))
    return found


def of_val(w: World, quality: int | None) -> list[tuple[int, bytes]]:
    data = w.picture("val", 0).read_bytes()
    if quality is not None:
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).save(out, "JPEG", quality=quality)
        data = out.getvalue()
    return [*noise(w), (w.train["categories"][0]["id"], data)]


def damaged_shard(w: World) -> None:
    shards(noise)(w)
    tar = next((w.root / "shards").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    start = data.index(b"\xff\xd8")
    data[start + 4 : start + 400] = bytes(396)
    tar.write_bytes(data)


CASES: dict[str, list[tuple[Spoil, dict[tuple[str, str], int]]]] = {
    "D001": [
        (raw(lambda text: text[: len(text) // 2]), {("D001", "train"): 1}),
        (raw(lambda text: ""), {("D001", "train"): 1}),
        (raw(lambda text: b'{"images": \xff'), {("D001", "train"): 1}),
        (raw(lambda text: '{"images": ' + "[" * 100_000), {("D001", "train"): 1}),
    ],
    "D002": [
        (raw(lambda text: "[1, 2]"), {("D002", "train"): 1}),
        (lambda w: w.train.pop("annotations"), {("D002", "train"): 1}),
        (lambda w: w.train.update(annotations={}), {("D002", "train"): 1}),
    ],
    "D003": [
        (
            raw(
                lambda text: text.replace('"bbox": [', '"bbox": [NaN, ', 1).replace(
                    '"area": ', '"area": Infinity, "x":'
                )
            ),
            {("D003", "train"): -1, ("D102", "train"): 1, ("D110", "train"): -1},
        ),
    ],
    "D004": [(lambda w: w.val.update(images=[], annotations=[]), {("D004", "val"): 1, ("D005", "val"): 1})],
    "D005": [(lambda w: w.train.update(annotations=[]), {("D005", "train"): 1, ("D207", "train"): 24})],
    "D006": [(lambda w: w.json("val").unlink(), {("D006", "val"): 1})],
    "D101": [
        (put("train", "images", width=0), {("D101", "train"): 1}),
        (put("train", "images", height="96"), {("D101", "train"): 1}),
        (drop("train", "images", "coco_url"), {("D101", "train"): 1}),
        (put("val", "images", neg_category_ids=["a"]), {("D101", "val"): 1}),
        (lambda w: w.train["images"].append(None), {("D101", "train"): 1}),
    ],
    "D102": [
        (put("train", "annotations", bbox=[1, 2, 3]), {("D102", "train"): 1}),
        (put("train", "annotations", bbox=[1, 2, None, 3]), {("D102", "train"): 1}),
        (put("train", "annotations", id="7"), {("D102", "train"): 1}),
        (drop("train", "annotations", "category_id"), {("D102", "train"): 1}),
        (put("val", "annotations", area="large"), {("D102", "val"): 1}),
    ],
    "D103": [(drop("val", "categories", "name"), {("D103", "val"): 1})],
    "D104": [(again("train", "images", coco_url="x/train2017/none.jpg"), {("D104", "train"): 1, ("D301", "train"): 1})],
    "D105": [(again("train", "annotations", bbox=[1, 1, 9, 9]), {("D105", "train"): 1})],
    "D106": [(again("val", "categories", name="other"), {("D106", "val"): 1, ("D501", "val"): 1})],
    "D107": [(put("train", "annotations", image_id=10**9), {("D107", "train"): 1})],
    "D108": [(put("train", "annotations", category_id=10**9), {("D108", "train"): 1})],
    "D109": [(put("train", "annotations", id=0), {("D109", "train"): 1})],
    "D110": [(drop("train", "annotations", "area"), {("D110", "train"): 1})],
    "D201": [(box(10, 10, 0, 5), {("D201", "train"): 1}), (box(10, 10, 5, -3), {("D201", "train"): 1})],
    "D202": [(box(500, 10, 5, 5), {("D202", "train"): 1}), (box(-9, 10, 5, 5), {("D202", "train"): 1})],
    "D203": [(over_the_edge(1.5), {("D203", "train"): 1}), (over_the_edge(1.0), {})],
    "D204": [(box(10, 10, 0.5, 5), {("D204", "train"): 1}), (box(10, 10, 1, 5), {})],
    "D205": [(again("train", "annotations", id=10**6), {("D205", "train"): 1})],
    "D206": [],
    "D207": [(again("train", "images", id=10**6), {("D207", "train"): 1, ("D305", "train"): 1})],
    "D208": [(put("train", "annotations", iscrowd=1), {("D208", "train"): 1})],
    "D209": [
        (put("val", "annotations", iscrowd=1), {("D208", "val"): 1, ("D209", "val"): 1}),
        (put("val", "annotations", ignore=True), {("D209", "val"): 1}),
    ],
    "D301": [(lambda w: w.picture("train", 3).unlink(), {("D301", "train"): 1})],
    "D302": [
        (lambda w: w.picture("val", 0).write_bytes(w.picture("val", 0).read_bytes()[:700]), {("D302", "val"): 1}),
        (lambda w: w.picture("train", 0).write_bytes(b"<html>"), {("D302", "train"): 1}),
    ],
    "D303": [(put("train", "images", width=300, height=200), {("D303", "train"): 1})],
    "D304": [(turned(6, swap=False), {("D304", "train"): 1})],
    "D305": [(again("val", "images", id=10**6), {("D207", "val"): 1, ("D305", "val"): 1})],
    "D306": [(copy_picture("train", "train"), {("D306", "train"): 1})],
    "D307": [(turned(6, swap=True), {("D307", "train"): 1}), (turned(3, swap=False), {("D307", "train"): 1})],
    "D401": [(without_boxes_of("train"), {("D401", "train"): 1})],
    "D402": [(without_boxes_of("val"), {("D402", "val"): 1})],
    "D403": [(again("train", "categories", id=10**6, name="RED-disc"), {("D403", "train"): 1, ("D502", "train"): 1})],
    "D404": [(again("val", "categories", id=10**6), {("D404", "val"): 1, ("D501", "val"): 1})],
    "D405": [(put("train", "categories", frequency="f"), {("D405", "train"): 1, ("D503", "val"): 1})],
    "D406": [
        (put("train", "categories", image_count=99), {("D406", "train"): 1}),
        (put("train", "categories", instance_count=99), {("D406", "train"): 1}),
    ],
    "D407": [(put("val", "categories", frequency="rare"), {("D407", "val"): 1, ("D503", "val"): 1})],
    "D408": [(drop("train", "categories", "frequency"), {("D408", "train"): 1})],
    "D410": [(drop("val", "images", "neg_category_ids"), {("D410", "val"): 1})],
    "D411": [(drop("train", "images", "not_exhaustive_category_ids"), {("D411", "train"): 1})],
    "D412": [(lambda w: absent(w, "neg_category_ids", _first_class(w)), {("D412", "train"): 1})],
    "D413": [(lambda w: absent(w, "not_exhaustive_category_ids", _other_class(w)), {("D413", "train"): 1})],
    "D414": [
        (
            lambda w: w.train["images"][0].update(
                {f"{n}_category_ids": [_first_class(w)] for n in ("neg", "not_exhaustive")}
            ),
            {("D412", "train"): 1, ("D414", "train"): 1},
        )
    ],
    "D415": [(lambda w: absent(w, "neg_category_ids", 10**6), {("D415", "train"): 1})],
    "D501": [
        (put("val", "categories", name="another"), {("D501", "val"): 1}),
        (again("val", "categories", id=10**6, name="new"), {("D402", "val"): 1, ("D501", "val"): 1}),
    ],
    "D502": [(again("train", "categories", id=10**6, name="new"), {("D502", "train"): 1, ("D401", "train"): 1})],
    "D503": [(put("val", "categories", frequency="r"), {("D503", "val"): 1})],
    "D504": [],
    "D505": [(copy_picture("val", "train"), {("D505", "train"): 1})],
    "D506": [(copy_picture("val", "train", anew=True), {("D506", "train"): 1})],
    "D601": [(lambda w: (w.root / "shards").mkdir(), {("D601", "shards"): 1})],
    "D602": [],
    "D603": [],
    "D604": [(shards(lambda w: noise(w)[1:]), {("D604", "shards"): 1})],
    "D605": [(shards(lambda w: of_val(w, None)), {("D605", "shards"): 1})],
    "D606": [(shards(lambda w: of_val(w, 60)), {("D606", "shards"): 1})],
    "D607": [(damaged_shard, {("D607", "shards"): 1})],
    "D608": [],
}
"""By code: what spoils the data, and all that is found then; -1 for any number."""


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [pytest.param(*case, id=f"{code}-{n}") for code, cases in CASES.items() for n, case in enumerate(cases)],
)
def test_a_fault_is_found_where_it_is(world: World, spoil: Spoil, expected: dict[tuple[str, str], int]) -> None:
    world.write()
    spoil(world)
    if world.json("val").exists():
        world.write()
    found = codes(world.check(ignore=side_effects(expected)))
    assert found.keys() == expected.keys()
    assert all(expected[key] in (n, -1) for key, n in found.items())


def side_effects(expected: dict[tuple[str, str], int]) -> set[str]:
    """Counts, groups and lists that change with boxes and images; not looked at in cases of something else."""
    return {"D203", "D207", "D401", "D402", "D405", "D406", "D408", "D413"} - {code for code, _ in expected}


def test_every_code_has_a_case() -> None:
    own = {"D206", "D504", "D602", "D603", "D608"}  # tests of their own, below
    assert set(CASES) == set(RULES)
    assert {code for code, cases in CASES.items() if not cases} == own
    tested = {code for cases in CASES.values() for _, expected in cases for code, _ in expected}
    assert tested | own == set(RULES)
    assert all(rule.code == code and rule.hint for code, rule in RULES.items())


def test_one_box_of_two_classes(world: World) -> None:
    other = next(c["id"] for c in world.train["categories"] if c["id"] != first(world)["category_id"])
    world.train["annotations"].append({**first(world), "id": 10**6, "category_id": other})
    for image in world.train["images"]:
        image["neg_category_ids"] = []
    world.write()
    found = world.check(ignore=side_effects({}))
    assert codes(found) == {("D206", "train"): 1}
    example = one(found, "D206").examples[0]
    assert example.record == f"annotations[{len(world.train['annotations']) - 1}] (annotation 1000000)"
    assert example.text == "as annotations[0] (annotation 1)"


def test_one_file_in_both_splits(world: World) -> None:
    shared = world.val["images"][0]
    world.train["images"].append({**shared, "id": 10**6})
    world.write()
    assert codes(world.check(ignore=["D207", "D413", "D406"])) == {("D504", "train"): 1}


def test_shards_of_other_classes_are_mapped(world: World) -> None:
    """One id means another class, one class has another id, one is unknown; the others are the same."""
    ids = [c["id"] for c in world.train["categories"]]
    name = world.train["categories"][0]["name"]
    other = {ids[0]: "something else", 900: name.replace("_", " ").upper(), 901: "unknown", 902: "never seen"}
    few = [(ids[0], 0), (900, 1), (901, 2)]
    shards(lambda w: noise(w) + [(category, noise(w)[k][1][:-2] + b"\xff\xd9") for category, k in few[1:]], other)(
        world
    )
    world.write()
    report = world.check(files=False)
    assert codes(report) == {("D602", "shards"): 1, ("D603", "shards"): 2, ("D604", "shards"): 1}
    assert f"did you mean {name.replace('_', ' ').upper()} (id {ids[0]})?" in one(report, "D603").examples[0].text
    mapped = {m.id: (m.status, m.data_name, m.pictures) for m in report.mapping}
    assert mapped[ids[0]] == ("other class", name, 1)
    assert mapped[ids[1]] == ("same", world.train["categories"][1]["name"], 1)
    assert mapped[901] == ("not in the data", None, 1)
    assert mapped[902] == ("not in the data", None, 0)


def test_shards_without_any_class_of_the_data(world: World) -> None:
    shards(lambda w: [(900, noise(w)[0][1])], {900: "unknown"})(world)
    world.write()
    found = codes(world.check(files=False))
    assert found == {("D603", "shards"): 1, ("D604", "shards"): 6, ("D608", "shards"): 1}


def test_all_faults_are_found_at_once(world: World) -> None:
    """The first fault hides no other one, in the file or elsewhere."""
    annotations = world.train["annotations"]
    annotations[0]["bbox"] = "none"
    annotations[1]["image_id"] = 10**9
    annotations[2]["bbox"] = [5, 5, 0, 0]
    annotations[3]["category_id"] = 10**9
    world.train["images"][5]["width"] = -3
    world.val["categories"][0]["name"] = "another"
    world.picture("val", 3).write_bytes(b"")
    world.write()
    found = codes(world.check(ignore=side_effects({})))
    assert found == {
        ("D101", "train"): 1,
        ("D102", "train"): 1,
        ("D107", "train"): 1,
        ("D108", "train"): 1,
        ("D201", "train"): 1,
        ("D302", "val"): 1,
        ("D501", "val"): 1,
    }


def test_findings_name_file_and_record(world: World) -> None:
    first(world)["bbox"] = [1, 2, "3", 4]
    world.write()
    finding = one(world.check(files=False), "D102")
    assert [vars(e) for e in finding.examples] == [
        {
            "file": str(world.json("train")),
            "record": f"annotations[0] (annotation {first(world)['id']})",
            "text": "bbox[2]: expected float, got str",
        }
    ]


def test_examples_are_few_and_counts_whole(world: World) -> None:
    for annotation in world.train["annotations"]:
        annotation["bbox"][2] = 0
    world.write()
    finding = one(world.check(files=False), "D201")
    assert (finding.count, len(finding.examples)) == (len(world.train["annotations"]), SHOWN)


def test_names_of_others_cannot_spoil_the_output(world: World) -> None:
    world.val["categories"][0]["name"] = "a\x1b[2J\nb" + "c" * 10_000
    world.write()
    text = one(world.check(files=False), "D501").examples[0].text
    assert text.isprintable()
    assert len(text) <= 200


def test_files_are_found_where_most_of_them_are(world: World) -> None:
    """A missing file does not hide where the others lie; unturned data are checked as such."""
    world.picture("train", 0).unlink()
    turned(6, swap=False)(World(world.root, {**world.train, "images": world.train["images"][1:]}, world.val))
    world.write()
    report = check_data(DataConfig(root=world.root, exif=False), None, CheckOptions(), reporter=SilentReporter())
    assert codes(report) == {("D301", "train"): 1}
    assert one(report, "D301").examples[0].file == str(world.picture("train", 0))
    assert report.checked["train"]["looked_at"] == 23


def test_no_files_and_samples(world: World) -> None:
    world.picture("val", 0).unlink()
    for path in (world.root / "train2017").iterdir():
        path.write_bytes(b"")
    assert codes(world.check(files=False)) == {}  # nor is it looked whether they exist
    report = world.check(sample=5, ignore=["D301"])
    assert report.checked["train"]["looked_at"] + one(report, "D302").count >= 5
    assert {f.where: f.count for f in report.findings if f.where == "train"} == {"train": 5}
    again = world.check(sample=5, workers=4, ignore=["D301"])
    assert [f.to_record() for f in again.findings] == [f.to_record() for f in report.findings]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_for_any_number_of_workers(world: World, workers: int) -> None:
    copy_picture("val", "train")(world)
    copy_picture("train", "train")(world)
    world.write()
    assert world.check(workers=workers).to_record() == world.check(workers=2).to_record()


def test_a_json_alone_and_no_data(world: World) -> None:
    alone = check_data(DataConfig(train=world.json("train")), None, CheckOptions(), reporter=SilentReporter())
    assert codes(alone) == {("D006", "val"): 1}
    with pytest.raises(ConfigError, match="Nothing says what to check"):
        check_data(DataConfig(), None, CheckOptions(), reporter=SilentReporter())
    with pytest.raises(DataError, match="is not a data set"):
        check_data(DataConfig(root=world.root / "train2017"), None, CheckOptions(), reporter=SilentReporter())
    with pytest.raises(ConfigError, match="There is no code D999"):
        world.check(ignore=["D999", "D207"])


def test_missing_jsons_are_a_finding(world: World) -> None:
    data = DataConfig(train=world.json("train"), val=world.root / "none.json")
    report = check_data(data, None, CheckOptions(files=False), reporter=SilentReporter())
    assert codes(report) == {("D001", "val"): 1}
    assert "does not exist" in one(report, "D001").examples[0].text


def test_errors_are_what_training_refuses(world: World) -> None:
    """An error of the annotations stops the reader of training as well; a warning does not."""
    from clis_core.data.layout import check_splits, open_split

    def opens(data: DataConfig) -> bool:
        try:
            train, val = (open_split(data, split, None) for split in ("train", "val"))  # type: ignore[arg-type]
            check_splits(train, val)
        except DataError:
            return False
        return True

    plain = copy.deepcopy((world.train, world.val))
    pictures = list(world.root.glob("train2017/*"))
    read_by_training = [c for c in CASES if c[:2] in ("D0", "D1", "D2", "D4") or c in ("D301", "D501", "D502")]
    for code in read_by_training:
        for spoil, expected in CASES[code]:
            if "val" in {where for _, where in expected} and code != "D501":
                continue
            world.train, world.val = copy.deepcopy(plain)
            world.__dict__.pop("write", None)
            for path in pictures:
                path.touch()
            world.write()
            spoil(world)
            world.write()
            errors = any(RULES[c].severity == "error" for c, _ in expected)
            only_later = {"D005", "D407"} & {c for c, _ in expected}  # training itself, or evaluation, says so
            if not only_later:
                assert opens(DataConfig(root=world.root)) != errors, (code, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tinylvis", "cocosmall"])
def test_shared_photographs_have_no_errors(name: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(name)
    report = check_data(DataConfig(root=root), None, CheckOptions(), reporter=SilentReporter())
    assert report.counts()["error"] == report.counts()["warning"] == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_are_survived(drawn_lvis: Path, tmp_path: Path, data: st.DataObject) -> None:
    """Of a file in which some bytes are others, findings come out, never an exception."""
    text = bytearray((drawn_lvis / "lvis_v1_val.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text) - 1))
        piece = data.draw(st.sampled_from([b"", b"null", b"NaN", b"-1", b"1e999", b"{}", b"[]", b'"', b"\xff", b"0.5"]))
        text[start : start + data.draw(st.integers(0, 6))] = piece
    path = tmp_path / "val.json"
    path.write_bytes(text)
    config = DataConfig(train=path, val=path, train_images=drawn_lvis, val_images=drawn_lvis)
    report = check_data(config, None, CheckOptions(files=False), reporter=SilentReporter())
    json.dumps(report.to_record(), allow_nan=False)
