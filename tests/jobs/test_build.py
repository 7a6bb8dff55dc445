"""Building shards from labelled pictures: what is taken, why the rest is not, and going on after every end."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.shards.reader import Shards
from clis_core.data.shards.verify import verify
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.jobs import read_pictures
from clis_core.jobs.build_imagenet_subset import imagenet_vocabulary, plan_subset
from clis_core.jobs.build_images import plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.report import SilentReporter
from tests.jobs.building import (
    CATEGORIES,
    IDS,
    bomb,
    build_own,
    build_subset,
    content,
    drawn,
    odd_files,
    refused,
    samples,
    vocabulary,
)
from tests.pack import (
    PACKINGS,
    WNIDS,
    Item,
    class_folders,
    class_tars,
    draw_items,
    tar_of_folders,
    tar_of_tars,
    webdataset,
    write,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lvis(tmp_path: Path) -> Path:
    return vocabulary(tmp_path / "data" / "train.json")


def expected(items: list[Item]) -> list[tuple[str, str, int]]:
    return sorted((i.name, hashlib.sha256(i.data).hexdigest(), IDS[i.label]) for i in items)


class Notes(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)


class Signals(SilentReporter):
    """Sends this process a signal in the n-th report of a task."""

    def __init__(self, task: str, number: int = 1, which: int = signal.SIGTERM) -> None:
        self._task, self._left, self._which = task, number, which

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        if task == self._task:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._which)


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_same_samples(packing: str, tmp_path: Path, lvis: Path) -> None:
    items = draw_items()
    packed = PACKINGS[packing](tmp_path / "source", items)
    manifest = build_own(packed.path, tmp_path / "own", lvis, **packed.arguments)
    assert samples(tmp_path / "own") == expected(items)
    assert manifest.counts == {3: 4, 5: 4, 9: 4}
    if "root" not in packed.arguments:
        build_subset(packed.path, tmp_path / "subset", lvis, **packed.arguments)
        assert samples(tmp_path / "subset") == expected(items)
        keys = {key for key, _, _ in map(_key_and_facts, _records(tmp_path / "subset"))}
        assert keys == {i.name.removesuffix(".JPEG") for i in items}


def _records(folder: Path) -> list[dict[str, Any]]:
    shards = Shards(folder)
    return [shards.record(number) for number in range(len(shards))]


def _key_and_facts(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["key"], record["wnid"], record["synset"]


def test_a_sample_says_where_it_is_from(tmp_path: Path, lvis: Path) -> None:
    build_subset(class_tars(tmp_path / "s", draw_items()), tmp_path / "a", lvis)
    synsets = {c["id"]: c["synset"] for c in CATEGORIES}
    for record in _records(tmp_path / "a"):
        assert IDS[record["wnid"]] == record["category_id"]
        assert record["synset"] == synsets[record["category_id"]]
        assert record["filename"].startswith(record["wnid"])
        assert "changed" not in record
    build_own(class_folders(tmp_path / "f", [Item("Tinca tinca", "1.jpg", drawn())]), tmp_path / "b", lvis)
    (record,) = _records(tmp_path / "b")
    assert (record["label"], record["class_name"], record["key"]) == ("Tinca tinca", "tench", "tench_1")


def test_odd_members_are_taken_or_refused_each_with_its_reason(tmp_path: Path, lvis: Path) -> None:
    files, changed, reasons = odd_files()
    source = tmp_path / "s"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        link = tarfile.TarInfo("link.JPEG")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    write(source / "n02084071.tar", out.getvalue())
    manifest = build_subset(source, tmp_path / "a", lvis, options=BuildOptions(max_bad_fraction=0.5))
    found = {record["filename"]: tuple(record.get("changed", ())) for record in _records(tmp_path / "a")}
    assert found == changed
    by_name = dict(files)
    for name, digest, _ in samples(tmp_path / "a"):
        if not changed[name]:
            assert digest == hashlib.sha256(by_name[name]).hexdigest(), f"{name} is not a copy"
    said = {line["name"]: line["reason"] for line in refused(tmp_path / "a")}
    assert said == {**reasons, "link.JPEG": "no regular file"}
    assert {line["label"] for line in refused(tmp_path / "a")} == {"n02084071"}
    assert manifest.refused == Counter(said.values())
    assert verify(tmp_path / "a", reporter=SilentReporter()).ok


def test_the_same_picture_again_counts_once(tmp_path: Path, lvis: Path) -> None:
    items = draw_items(WNIDS[:1])
    sources = [class_tars(tmp_path / "s", items), class_folders(tmp_path / "f", items)]
    for number, source in enumerate(sources):
        assert len(samples_of(source, tmp_path / str(number), lvis)) == 4
    plan = plan_subset(sources, lvis)
    from clis_core.jobs.build_imagenet_subset import build_imagenet_subset

    manifest = build_imagenet_subset(plan, tmp_path / "both", BuildOptions(), reporter=SilentReporter())
    assert samples(tmp_path / "both") == expected(items)
    assert manifest.refused == {"duplicate": 4}


def samples_of(source: Path, out: Path, lvis: Path) -> list[tuple[str, str, int]]:
    build_subset(source, out, lvis)
    return samples(out)


def many(tmp_path: Path) -> tuple[Path, list[Item]]:
    """Class tars of 120 files, every seventh of them empty; and the files."""
    items = draw_items(each=40)
    items = [Item(i.label, i.name, b"") if k % 7 == 3 else i for k, i in enumerate(items)]
    return class_tars(tmp_path / "many", items), items


@pytest.mark.parametrize("most", [1, 17])
def test_the_first_of_each_class_are_the_same_for_any_number_of_threads(most: int, tmp_path: Path, lvis: Path) -> None:
    source, items = many(tmp_path)
    first = [item for label in WNIDS for item in [i for i in items if i.label == label and i.data][:most]]
    found = []
    for workers in (1, 2, 5):
        out = tmp_path / f"out {workers}"
        options = BuildOptions(max_per_class=most, workers=workers, max_bad_fraction=1)
        build_subset(source, out, lvis, options=options)
        assert samples(out) == expected(first)
        found.append(content(out))
    assert found[0] == found[1] == found[2]


def test_no_more_than_needed_is_refused(tmp_path: Path, lvis: Path) -> None:
    """What lies behind the last picture that is wanted does not count, however far it was read ahead."""
    items = [*draw_items(WNIDS[:1], each=2), Item(WNIDS[0], "bad.JPEG", b"")]
    manifest = build_subset(class_tars(tmp_path / "s", items), tmp_path / "a", lvis, options=BuildOptions(2))
    assert manifest.refused == {}
    assert not refused(tmp_path / "a")


def test_a_split_file_of_classes(tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items())
    split = write(tmp_path / "split.txt", b"\xef\xbb\xbf# of the paper\nn02084071 dog\n\nn07747607\nn99999999\n")
    plan = plan_subset([source], lvis, split_file=split)
    assert plan.notes == [f"{split} lists 3 classes; 2 of them are taken."]
    manifest = build_subset(source, tmp_path / "a", lvis, split_file=split)
    assert manifest.counts == {5: 4, 9: 4}
    assert manifest.unmatched[3] == f"{split} does not list n01440764"
    assert manifest.unmatched[12] == "the source has no n02391049"
    assert set(manifest.unmatched) == {3, 12, 14}


def test_a_split_file_of_files(tmp_path: Path, lvis: Path) -> None:
    items = draw_items()
    wanted = [i for i in items if i.name.endswith(("_0.JPEG", "_3.JPEG"))]
    lines = [f"{i.label}/{i.name} 1" for i in wanted] + ["n02084071_77.JPEG"]
    split = write(tmp_path / "split.txt", "\n".join(lines).encode())
    notes = Notes()
    build_subset(class_tars(tmp_path / "s", items), tmp_path / "a", lvis, split_file=split, reporter=notes)
    assert samples(tmp_path / "a") == expected(wanted)
    assert "6 of the 7 files that are listed were found." in notes.said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "lists nothing"),
        (b"# only a comment\n", "lists nothing"),
        (b"n02084071\nn02084071_1.JPEG\n", "line 2: 'n02084071_1.JPEG', but the lines before are classes"),
        (b"a.JPEG\nn02084071\n", "line 2: 'n02084071', but the lines before are files"),
        (b"\xff\xfe\x00", "no UTF-8 text"),
        (b"n00000001\n", "lists 1 classes, but none of the 3"),
        (None, "cannot be read: No such file"),
    ],
)
def test_split_files_that_are_none(text: bytes | None, message: str, tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items(each=1))
    if text is not None:
        write(tmp_path / "split.txt", text)
    with pytest.raises(DataError, match=message) as caught:
        plan_subset([source], lvis, split_file=tmp_path / "split.txt")
    assert caught.value.hint


@pytest.mark.parametrize("enough", [20, 1000], ids=["on the way", "at the end"])
def test_too_many_bad_files_end_a_build_and_a_larger_fraction_goes_on(
    enough: int, tmp_path: Path, lvis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_pictures, "ENOUGH", enough)
    source, _ = many(tmp_path)
    with pytest.raises(DataError, match=r"files are no usable pictures: [0-9]+ empty") as caught:
        build_subset(source, tmp_path / "a", lvis, options=BuildOptions(max_bad_fraction=0.1))
    assert caught.value.hint
    fraction = float(caught.value.hint.rpartition(" ")[2])
    assert 0.2 <= fraction <= 0.4
    notes = Notes()
    build_subset(source, tmp_path / "a", lvis, options=BuildOptions(max_bad_fraction=fraction), reporter=notes)
    assert any("goes on after" in text for text in notes.said)
    build_subset(source, tmp_path / "b", lvis, options=BuildOptions(max_bad_fraction=1))
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_few_bad_files_of_many_stop_nothing(tmp_path: Path, lvis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fraction is not judged by the first files alone."""
    monkeypatch.setattr(read_pictures, "ENOUGH", 10)
    items = [*[Item(WNIDS[0], f"bad_{k}.JPEG", b"") for k in range(2)], *draw_items(WNIDS[:1], each=30)]
    build_subset(class_tars(tmp_path / "s", items), tmp_path / "a", lvis, options=BuildOptions(max_bad_fraction=0.1))
    with pytest.raises(DataError, match="2 of 32") as caught:
        build_subset(
            class_tars(tmp_path / "s", items), tmp_path / "b", lvis, options=BuildOptions(max_bad_fraction=0.001)
        )
    assert caught.value.hint
    assert caught.value.hint.endswith("--max-bad-fraction 0.13")


def test_categories_without_pictures_say_why(tmp_path: Path, lvis: Path) -> None:
    items = [*draw_items(WNIDS[:2]), Item(WNIDS[2], "bad.JPEG", b"")]
    manifest = build_subset(
        class_tars(tmp_path / "s", items), tmp_path / "a", lvis, options=BuildOptions(max_bad_fraction=0.5)
    )
    assert manifest.unmatched == {
        9: "the source has no usable picture of it",
        12: "the source has no n02391049",
        14: "synset stop_sign.n.01 is not in WordNet 3.0",
    }
    manifest = build_own(class_folders(tmp_path / "f", draw_items(WNIDS[:1])), tmp_path / "b", lvis)
    assert manifest.unmatched[12] == "the source has no label 'zebra'"


def test_a_source_of_other_classes_is_refused(tmp_path: Path, lvis: Path) -> None:
    names = class_folders(tmp_path / "s", draw_items(["cup", "pen"]))
    with pytest.raises(DataError, match="no class of the class folders is one of the 5 categories; it has cup, pen"):
        plan_subset([names], lvis)
    with pytest.raises(DataError, match="None of the 2 labels is a category"):
        plan_images([names], lvis)
    packed = tar_of_folders(tmp_path / "cups.tar.gz", draw_items(["cup"]), "w:gz")
    with pytest.raises(DataError, match="not one file of a category that is wanted"):
        build_subset(packed, tmp_path / "a", lvis)
    assert not (tmp_path / "a" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("lvis", "error", "message"),
    [
        ("v2", ConfigError, "no LVIS categories 'v2'"),
        (Path("v2"), ConfigError, "neither v1 nor v0.5, and there is no such file"),
    ],
)
def test_vocabularies_that_there_are_not(lvis: str | Path, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        imagenet_vocabulary(lvis)


def test_a_vocabulary_needs_synsets(tmp_path: Path) -> None:
    lvis = vocabulary(tmp_path / "train.json", [{"id": 1, "name": "cup"}])
    with pytest.raises(DataError, match="no synsets") as caught:
        imagenet_vocabulary(lvis)
    assert "build-images" in (caught.value.hint or "")


def test_a_folder_of_a_data_set_is_its_training_json(drawn_lvis: Path, tmp_path: Path, lvis: Path) -> None:
    assert len(imagenet_vocabulary(drawn_lvis).categories) == 6
    assert len(imagenet_vocabulary(lvis.parent).by_wnid) == 4
    build_own(class_folders(tmp_path / "f", draw_items(each=1)), tmp_path / "a", lvis.parent)
    assert len(samples(tmp_path / "a")) == 3


def test_all_of_imagenet() -> None:
    found = imagenet_vocabulary("v1")
    assert len(found.by_wnid) == 997
    assert found.coverage() == {"r": (277, 337), "c": (390, 461), "f": (330, 405)}
    assert len(found.unmatched) == 1203 - 997
    assert len(imagenet_vocabulary("v0.5").by_wnid) == 1024


def test_labels_are_matched_and_the_match_is_kept(tmp_path: Path, lvis: Path) -> None:
    items = [Item(label, "1.jpg", drawn(seed=k)) for k, label in enumerate(["Dog", "orange", "Tinca tinca", "cup"])]
    source = class_folders(tmp_path / "s", items)
    map_file = write(tmp_path / "map.csv", b"label,category\ncup,-\norange,12\n")
    manifest = build_own(source, tmp_path / "a", lvis, map_file=map_file)
    assert manifest.counts == {3: 1, 5: 1, 12: 1}
    kept = json.loads((tmp_path / "a" / "matching.json").read_text(encoding="utf-8"))
    assert {entry["label"]: (entry["category_id"], entry["how"]) for entry in kept["matched"]} == {
        "Dog": (5, "spelling"),
        "orange": (12, "map"),
        "Tinca tinca": (3, "synonym"),
    }
    assert [entry["label"] for entry in kept["unmatched"]] == ["cup"]


def test_ambiguous_labels_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    twice = [{"id": k, "name": f"bat_({k})", "synonyms": ["bat"]} for k in (1, 2)]
    lvis = vocabulary(tmp_path / "train.json", twice)
    source = class_folders(tmp_path / "s", [Item("bat", "1.jpg", drawn())])
    with pytest.raises(DataError, match=r"'bat': bat_\(1\) \(id 1\) or bat_\(2\) \(id 2\)") as caught:
        build_own(source, tmp_path / "a", lvis)
    assert not (tmp_path / "a").exists()
    _, _, lines = (caught.value.hint or "").partition("\n")
    map_file = write(tmp_path / "map.csv", lines.encode())
    assert build_own(source, tmp_path / "a", lvis, map_file=map_file).counts == {1: 1}


def test_labels_that_only_reading_tells(tmp_path: Path, lvis: Path) -> None:
    items = draw_items()
    packed = tar_of_folders(tmp_path / "s.tar.gz", items, "w:gz")
    plan = plan_images([packed], lvis)
    assert [label for label, _, _ in plan.rows] == sorted(WNIDS)


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.lstat().st_ino, p.lstat().st_mtime_ns) for p in folder.rglob("*")}


def test_what_a_kill_at_the_very_end_left_goes(tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items())
    manifest = build_subset(source, tmp_path / "a", lvis)
    before = snapshot(tmp_path / "a")
    (tmp_path / "a" / ".staging").mkdir()
    (tmp_path / "a" / ".staging" / "rows").write_bytes(b"of the build")
    assert build_subset(source, tmp_path / "a", lvis) == manifest
    assert snapshot(tmp_path / "a") == before


def test_a_finished_folder_stays_as_it_is(tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items())
    manifest = build_subset(source, tmp_path / "a", lvis)
    before, notes = snapshot(tmp_path / "a"), Notes()
    again = build_subset(source, tmp_path / "a", lvis, options=BuildOptions(workers=1), reporter=notes)
    assert again == manifest
    assert notes.said == [f"{tmp_path / 'a'} is finished already; shards never change."]
    assert snapshot(tmp_path / "a") == before


def test_a_finished_folder_of_another_build_is_refused(tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items())
    build_subset(source, tmp_path / "a", lvis)
    for options, what in (
        (BuildOptions(max_per_class=2), "max_per_class was None, is 2"),
        (BuildOptions(seed=3), "seed was 0, is 3"),
        (BuildOptions(max_side=64), "max_side was None, is 64"),
        (BuildOptions(shards=2), "shards was None, is 2"),
    ):
        with pytest.raises(DataError, match=f"built otherwise: {what}"):
            build_subset(source, tmp_path / "a", lvis, options=options)
    vocabulary(lvis, CATEGORIES[:3])
    with pytest.raises(DataError, match="other categories"):
        build_subset(source, tmp_path / "a", lvis)
    vocabulary(lvis)
    class_tars(tmp_path / "s", draw_items(["n02391049"]))
    with pytest.raises(DataError, match=r"classes was 3 \(.*\), is 4 \("):
        build_subset(source, tmp_path / "a", lvis)


def test_a_list_that_has_changed_makes_another_build(tmp_path: Path, lvis: Path) -> None:
    source = class_tars(tmp_path / "s", draw_items())
    split = write(tmp_path / "split.txt", b"n02084071\n")
    with pytest.raises(Interrupted):
        build_subset(source, tmp_path / "a", lvis, split_file=split, reporter=Signals("MB read"))
    write(split, b"n07747607\n")
    with pytest.raises(DataError, match="was begun otherwise: lists was"):
        build_subset(source, tmp_path / "a", lvis, split_file=split)


STOPS = [("MB read", 1), ("MB read", 4), ("MB read", 9), ("shards", 1), ("shards", 3)]


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("task", "number"), STOPS)
def test_a_signal_stops_a_build_and_it_goes_on(task: str, number: int, which: int, tmp_path: Path, lvis: Path) -> None:
    source, _ = many(tmp_path)
    options = BuildOptions(shards=5, max_bad_fraction=1)
    build_subset(source, tmp_path / "a", lvis, options=options)
    with pytest.raises(Interrupted, match=signal.Signals(which).name) as caught:
        build_subset(source, tmp_path / "b", lvis, options=options, reporter=Signals(task, number, which))
    assert caught.value.exit_code == 130
    assert not (tmp_path / "b" / "manifest.json").exists()
    build_subset(source, tmp_path / "b", lvis, options=options)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_signal_is_heard_while_nothing_is_found(tmp_path: Path, lvis: Path) -> None:
    """Classes that are not wanted may be most of an archive."""
    items = [*draw_items(WNIDS[:1], each=16), *draw_items(["n00000000"], each=300), *draw_items(WNIDS[1:])]
    source = tar_of_folders(tmp_path / "s.tar", items)
    seen: list[str] = []
    real = read_pictures.StopRequest

    class Late(real):  # type: ignore[misc, valid-type]
        """Is asked to stop in the midst of the classes that are not wanted."""

        asked = 0

        @property
        def name(self) -> str | None:
            self.asked += 1
            return "SIGTERM" if self.asked > 100 else None

        @name.setter
        def name(self, value: str | None) -> None:
            seen.append(str(value))

    from clis_core.jobs import build_pictures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_pictures, "StopRequest", Late)
        with pytest.raises(Interrupted, match="after 16 files"):
            build_subset(source, tmp_path / "a", lvis)
    build_subset(source, tmp_path / "a", lvis)
    assert samples(tmp_path / "a") == expected([i for i in items if i.label in IDS])


def test_a_damaged_tar_ends_a_build_that_goes_on_when_it_is_whole_again(tmp_path: Path, lvis: Path) -> None:
    items = draw_items(each=20)
    source = class_tars(tmp_path / "s", items)
    build_subset(source, tmp_path / "a", lvis)
    tar = source / f"{WNIDS[1]}.tar"
    whole = tar.read_bytes()
    tar.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"{WNIDS[1]}.tar: it is cut short"):
        build_subset(source, tmp_path / "b", lvis)
    tar.write_bytes(whole)
    notes = Notes()
    build_subset(source, tmp_path / "b", lvis, reporter=notes)
    (said,) = [text for text in notes.said if "goes on after" in text]
    assert int(said.split()[-2]) > 20, "what came before the damage is kept"
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_progress_is_in_megabytes_of_what_is_wanted(tmp_path: Path, lvis: Path) -> None:
    class Progress(SilentReporter):
        said: list[tuple[str, int, int | None]] = []  # noqa: RUF012

        def progress(self, task: str, done: int, total: int | None, figures: Any = None) -> None:
            self.said.append((task, done, total))

    pad = bytes(800_000)  # behind the end of a JPEG anything may follow
    items = [Item(i.label, i.name, i.data + pad) for i in draw_items()]
    reporter = Progress()
    build_subset(class_tars(tmp_path / "s", items), tmp_path / "a", lvis, reporter=reporter)
    reading = [(done, total) for task, done, total in reporter.said if task == "MB read"]
    assert reading[-1] == (9, 9)
    assert all(total is not None and 9 <= total <= 10 for _, total in reading)
    assert all(done < (total or 0) for done, total in reading[:-1]), "the task ended before its end"


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    """The members of a hostile tar are named after places, and only their base names are used."""
    deep = tmp_path / "one" / "two" / "three"
    lvis = vocabulary(deep / "train.json")
    out = io.BytesIO()
    victim = write(tmp_path / "victim.jpg", b"as it was")
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, name in enumerate(
            [
                "../../etc/passwd",
                "/etc/passwd_of_clis",
                str(tmp_path / "absolute.JPEG"),
                "../../../victim.jpg",
                "a/../b.JPEG",
            ]
        ):
            info = tarfile.TarInfo(name)
            data = drawn(seed=number)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, kind in (("link.JPEG", tarfile.SYMTYPE), ("hard.JPEG", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(victim)
            tar.addfile(info)
        info = tarfile.TarInfo("bomb.JPEG")
        info.size = len(bomb())
        tar.addfile(info, io.BytesIO(bomb()))
    write(deep / "s" / "n02084071.tar", out.getvalue())
    before = set(tmp_path.rglob("*"))
    build_subset(deep / "s", deep / "out", lvis, options=BuildOptions(max_bad_fraction=0.5))
    new = set(tmp_path.rglob("*")) - before
    assert all(path == deep / "out" or path.is_relative_to(deep / "out") for path in new)
    assert victim.read_bytes() == b"as it was"
    assert not Path("/etc/passwd_of_clis").exists()
    assert {record["filename"] for record in _records(deep / "out")} == {
        "passwd", "passwd_of_clis", "absolute.JPEG", "victim.jpg", "b.JPEG",
    }  # fmt: skip
    assert {line["name"]: line["reason"] for line in refused(deep / "out")} == {
        "link.JPEG": "no regular file",
        "hard.JPEG": "no regular file",
        "bomb.JPEG": "more than 89478485 pixels",
    }
    for path in (deep / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            assert all(member.isfile() and "/" not in member.name and ".." not in member.name for member in tar)


def test_shards_do_not_go_into_their_source(tmp_path: Path, lvis: Path) -> None:
    source = class_folders(tmp_path / "pictures", draw_items(each=1))
    for out in (source, source / "shards", source / "n02084071" / ".." / "deep" / "er"):
        with pytest.raises(DataError, match="would take it for a part of the source") as caught:
            build_own(source, out, lvis)
        assert f"-o {tmp_path / 'shards'}" in (caught.value.hint or "")
    assert sorted(path.name for path in source.iterdir()) == sorted(WNIDS)


def test_few_pictures_make_few_shards(tmp_path: Path, lvis: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clis_core.jobs import build_pictures

    monkeypatch.setattr(build_pictures, "BYTES_A_SHARD", 10_000)
    source = class_tars(tmp_path / "s", draw_items(each=40))
    size = sum(path.stat().st_size for path in source.iterdir())
    all_of_it = build_subset(source, tmp_path / "a", lvis)
    assert len(all_of_it.shards) == -(-size // 10_000) > 5
    monkeypatch.setattr(build_pictures, "USUAL_BYTES", 2_000)
    some = build_subset(source, tmp_path / "b", lvis, options=BuildOptions(max_per_class=2))
    assert 1 <= len(some.shards) <= 2
    given = build_subset(source, tmp_path / "c", lvis, options=BuildOptions(shards=3))
    assert len(given.shards) == 3


PROGRAM = """
import sys
from clis_core.data.shards import builder
builder.CHECKPOINT_BYTES = 60_000
from clis_cli.app import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_killed_five_times(tmp_path: Path) -> None:
    """Four times while it reads and once while it packs; the folder becomes that of an undisturbed build."""
    lvis = vocabulary(tmp_path / "train.json")
    items = draw_items(each=700)
    items = [Item(i.label, i.name, b"") if k % 50 == 7 else i for k, i in enumerate(items)]
    source = tar_of_tars(tmp_path / "whole.tar", items)
    words = ["build-imagenet-subset", str(source), "--lvis", str(lvis), "--shards", "12", "-o"]
    command = [sys.executable, "-c", PROGRAM, *words]
    out, staging = tmp_path / "b", tmp_path / "b" / ".staging"

    def samples_saved() -> int:
        try:
            return int(json.loads((staging / "progress.json").read_text())["samples"])
        except (OSError, ValueError):
            return 0

    moments = [lambda n=n: samples_saved() >= n for n in (200, 700, 1100, 1600)]
    moments.append(lambda: any(staging.glob("0000*.json")))
    for moment in moments:
        process = subprocess.Popen([*command, str(out)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not moment():
            time.sleep(0.0005)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the build had ended before"
        assert not (out / "manifest.json").exists()
    assert subprocess.run([*command, str(out)], cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert samples(out) == expected([i for i in items if i.data])
    subprocess.run([*command, str(tmp_path / "a")], cwd=ROOT, capture_output=True, check=True)
    assert content(out) == content(tmp_path / "a")


@pytest.mark.slow
def test_a_stopped_process_says_so(tmp_path: Path) -> None:
    lvis = vocabulary(tmp_path / "train.json")
    source = class_tars(tmp_path / "s", draw_items(each=700))
    words = ["build-imagenet-subset", str(source), "--lvis", str(lvis), "-o", str(tmp_path / "a")]
    command = [sys.executable, "-c", PROGRAM, *words]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "a" / ".staging" / "progress.json").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Stopped by SIGTERM after" in said
    assert "Hint: Run the same command again to go on." in said
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "goes on after" in again.stderr
    assert len(samples(tmp_path / "a")) == 2100


def repacked(source: Path, folder: Path, packing: str) -> tuple[Path, dict[str, Any]]:
    """The shared class tars in another packing."""
    items = []
    for path in sorted(source.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                items.append(Item(path.stem, Path(member.name).name, file.read() if file else b""))
    if packing == "class folders":
        return class_folders(folder / "s", items), {}
    if packing == "tar of tars":
        return tar_of_tars(folder / "whole.tar", items), {}
    shards = webdataset(folder / "w", items, lambda i: {"class_name": i.label}, per_shard=1000)
    return shards, {"label_from": "json:class_name"}


@pytest.mark.slow
def test_the_real_class_tars(tinylvis: Path, tmp_path: Path) -> None:
    lvis = tinylvis / "lvis_train.json"
    manifest = build_subset(tinylvis / "imagenet", tmp_path / "a", lvis)
    assert manifest.samples == 5578
    assert len(manifest.counts) == 65
    assert manifest.refused == {"a web page or text": 2, "cut short": 3, "empty": 4}
    by_id = {category.id: category.name for category in manifest.categories}
    names = {by_id[number] for number in manifest.unmatched}
    assert names == {"bathtub", "bullet_train", "computer_keyboard", "hourglass", "lampshade", "sock"}
    assert verify(tmp_path / "a", reporter=SilentReporter()).ok
    for packing in ("class folders", "tar of tars", "WebDataset shards"):
        source, how = repacked(tinylvis / "imagenet", tmp_path / packing, packing)
        again = build_subset(source, tmp_path / f"shards of {packing}", lvis, **how)
        assert samples(tmp_path / f"shards of {packing}") == samples(tmp_path / "a")
        assert (again.counts, again.refused) == (manifest.counts, manifest.refused)


@pytest.mark.slow
def test_the_real_class_folders(cocosmall: Path, tmp_path: Path) -> None:
    plan = plan_images([cocosmall / "images_by_class"], cocosmall)
    assert len(plan.rows) == 37
    assert {how for _, _, how in plan.rows} == {"name"}
    manifest = build_own(cocosmall / "images_by_class", tmp_path / "a", cocosmall)
    assert manifest.samples == 2101
    assert len(manifest.counts) == 37
