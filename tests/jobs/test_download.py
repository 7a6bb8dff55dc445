"""`clis download`: an official data set from a server on the loopback to a folder that training takes."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from clis_core.config.data import DataConfig
from clis_core.data.download.archives import SETS, Archive, Part
from clis_core.data.layout import open_split
from clis_core.errors import ConfigError, DataError, Interrupted
from clis_core.files import locked
from clis_core.jobs import download as job
from clis_core.jobs import download_plan
from clis_core.jobs.download import download
from clis_core.jobs.download_plan import WORK, Plan, plan_download
from clis_core.report import SilentReporter
from tests.data.download.web import QUICK, Web, serving
from tests.draw import draw_coco, draw_lvis

Sets = Mapping[Any, tuple[Archive, ...]]


class Listening(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(f"Warning: {text}")


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return buffer.getvalue()


def pack(name: str, files: dict[str, bytes], part: Part, folder: str, wanted: str) -> tuple[Archive, bytes]:
    data = zipped(files)
    count = sum(re.fullmatch(wanted, file.rpartition("/")[2]) is not None for file in files)
    digest = hashlib.sha256(data).hexdigest()
    return Archive(name, "", part, folder, re.compile(wanted), count, len(data), digest, 4.0), data


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sets, dict[str, bytes]]:
    """Drawn sets as LVIS and COCO are published: archives, and what the server has."""
    folder = draw_lvis(tmp_path_factory.mktemp("lvis"), train=8, val=6, size=48)
    coco = draw_coco(tmp_path_factory.mktemp("coco"), train=6, val=4, size=48)
    lvis = [
        pack(f"lvis_v1_{split}.json.zip", {f"lvis_v1_{split}.json": (folder / f"lvis_v1_{split}.json").read_bytes()},
             "annotations", "annotations", rf"lvis_v1_{split}\.json")
        for split in ("val", "train")
    ]  # fmt: skip
    pictures = [
        pack(f"{split}2017.zip", {f"{split}2017/": b"", **files_of(folder, f"{split}2017")},
             split, f"{split}2017", r"\d{12}\.jpg")  # type: ignore[arg-type]
        for split in ("val", "train")
    ]  # fmt: skip
    boxes = pack(
        "annotations_trainval2017.zip",
        {**files_of(coco, "annotations"), "annotations/captions_val2017.json": b"{}"},
        "annotations", "annotations", r"instances_(train|val)2017\.json",
    )  # fmt: skip
    of_coco = [
        pack(f"{split}2017.zip", files_of(coco, f"{split}2017"), split, f"{split}2017", r"\d{6}\.jpg")  # type: ignore[arg-type]
        for split in ("val", "train")
    ]
    sets = {
        "lvis-v1": tuple(archive for archive, _ in [*lvis, *pictures]),
        "coco-2017": tuple(archive for archive, _ in [boxes, *of_coco]),
    }
    served = {archive.name: data for archive, data in [*lvis, *pictures, boxes]}
    served |= {f"coco/{archive.name}": data for archive, data in of_coco}
    return sets, served


def files_of(folder: Path, below: str) -> dict[str, bytes]:
    return {f"{below}/{path.name}": path.read_bytes() for path in sorted((folder / below).iterdir())}


@pytest.fixture
def web(packed: tuple[Sets, dict[str, bytes]]) -> Iterator[Web]:
    with serving(dict(packed[1])) as site:
        yield site


@pytest.fixture
def sets(packed: tuple[Sets, dict[str, bytes]]) -> Sets:
    return packed[0]


def plan_of(web: Web, sets: Sets, folder: Path, **options: Any) -> Plan:
    name = options.pop("name", "lvis-v1")
    return plan_download(name, folder, base_url=web.address, patience=QUICK, sets=sets, **options)


def run(web: Web, sets: Sets, folder: Path, **options: Any) -> Listening:
    listener = Listening()
    download(plan_of(web, sets, folder, **options), patience=QUICK, reporter=listener)
    return listener


def split_sizes(folder: Path) -> tuple[int, int]:
    config = DataConfig(root=folder)
    return len(open_split(config, "train", None).files), len(open_split(config, "val", None).files)


def test_lvis_lies_as_training_expects_it(web: Web, sets: Sets, tmp_path: Path) -> None:
    heard = run(web, sets, tmp_path)
    assert split_sizes(tmp_path) == (8, 6)
    assert {p.name for p in tmp_path.iterdir()} == {"annotations", "train2017", "val2017", WORK}
    assert not list((tmp_path / WORK).glob("*.zip*"))
    assert sum("its sha256 is as known" in text for text in heard.said) == 4


def test_coco_lies_as_training_expects_it(web: Web, sets: Sets, tmp_path: Path) -> None:
    for name in ("train2017.zip", "val2017.zip"):
        web.files[name] = web.files[f"coco/{name}"]
    heard = run(web, sets, tmp_path, name="coco-2017")
    assert split_sizes(tmp_path) == (6, 4)
    assert {p.name for p in (tmp_path / "annotations").iterdir()} == {
        "instances_train2017.json",
        "instances_val2017.json",
    }
    assert any("1 others left out" in text for text in heard.said)


def test_the_second_time_nobody_is_asked(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path)
    count = len(web.asked)
    plan = plan_of(web, sets, tmp_path)
    assert {item.state for item in plan.items} == {"done"}
    assert (plan.to_fetch, plan.needed, plan.todo) == (0, 0, [])
    assert "nothing to do" in run(web, sets, tmp_path).said[0]
    assert len(web.asked) == count


def test_only_what_is_missing_is_done(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path)
    web.asked.clear()
    gone = sorted((tmp_path / "val2017").iterdir())[0]
    kept = sorted((tmp_path / "val2017").iterdir())[1]
    data, before = gone.read_bytes(), kept.stat().st_mtime_ns
    gone.unlink()
    heard = run(web, sets, tmp_path)
    assert gone.read_bytes() == data
    assert kept.stat().st_mtime_ns == before
    assert {name for _, name, *_ in web.asked} == {"val2017.zip"}
    assert any("1 files into" in text for text in heard.said)


def test_parts_are_fetched_alone(web: Web, sets: Sets, tmp_path: Path) -> None:
    plan = plan_of(web, sets, tmp_path, only=["val", "annotations"])
    assert [item.archive.part for item in plan.items] == ["annotations", "annotations", "val"]
    assert any("train2017.zip" in note for note in plan.notes)
    download(plan, patience=QUICK, reporter=SilentReporter())
    assert not (tmp_path / "train2017").exists()
    later = plan_of(web, sets, tmp_path)
    assert [item.archive.name for item in later.todo] == ["train2017.zip"]
    assert later.notes == ()


def test_folders_that_are_there_are_not_fetched(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path / "first", only=["val"])
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "first" / "val2017").rename(mine / "val2017")
    plan = plan_of(web, sets, mine)
    assert {item.archive.name: item.state for item in plan.items}["val2017.zip"] == "there"
    assert "val2017.zip" not in {item.archive.name for item in plan.todo}


def test_the_plan_says_what_it_takes(web: Web, sets: Sets, tmp_path: Path) -> None:
    plan = plan_of(web, sets, tmp_path)
    archives = [archive.size or 0 for archive in sets["lvis-v1"]]
    assert plan.to_fetch == sum(archives)
    assert plan.needed == 4 * sum(archives) + archives[-1]  # unpacked, and the last archive beside it
    assert plan_of(web, sets, tmp_path, keep=True).needed == 5 * sum(archives)
    record = plan.to_record()
    assert record["archives"][0]["sha256"] == sets["lvis-v1"][0].sha256
    assert record["archives"][0]["state"] == "fetch"


def test_archives_stay_if_asked(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path, keep=True)
    assert len(list((tmp_path / WORK).glob("*.zip"))) == 4
    run(web, sets, tmp_path)
    assert len(list((tmp_path / WORK).glob("*.zip"))) == 4


def test_a_disk_that_is_too_small_is_told_before(
    web: Web, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_plan, "free_bytes", lambda folder: 1000)
    with pytest.raises(DataError, match="are needed") as caught:
        run(web, sets, tmp_path)
    assert "-o DIR" in str(caught.value.hint)
    assert not web.ranges_asked("val2017.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_to_unpack_keeps_the_archive(
    web: Web, sets: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(web, sets, tmp_path, only=["val"])
    with monkeypatch.context() as patch:
        patch.setattr(job, "free_bytes", lambda folder: 1000)
        with pytest.raises(DataError, match="are needed"):
            download(plan, patience=QUICK, reporter=SilentReporter())
    assert plan_of(web, sets, tmp_path, only=["val"]).todo[0].state == "unpack"
    web.asked.clear()
    run(web, sets, tmp_path, only=["val"])
    assert web.asked == []
    assert len(list((tmp_path / "val2017").iterdir())) == 4


def test_wrong_bytes_are_fetched_once_more(web: Web, sets: Sets, tmp_path: Path) -> None:
    right = web.files["val2017.zip"]
    web.files["val2017.zip"] = right[:-1] + b"x"

    class Mending(Listening):
        def warn(self, text: str) -> None:
            super().warn(text)
            web.files["val2017.zip"] = right

    mending = Mending()
    download(plan_of(web, sets, tmp_path, only=["val"]), patience=QUICK, reporter=mending)
    assert any("sha256" in text and "fetching it anew" in text for text in mending.said)
    assert len(list((tmp_path / "val2017").iterdir())) == 4


def test_wrong_bytes_are_refused_in_the_end(web: Web, sets: Sets, tmp_path: Path) -> None:
    web.files["val2017.zip"] = web.files["val2017.zip"][:-1] + b"x"
    with pytest.raises(DataError, match=r"val2017.zip is not what it should be, 2 times: its sha256 is \w{64}, not"):
        run(web, sets, tmp_path, only=["val"])
    assert not (tmp_path / "val2017").exists()
    assert not list((tmp_path / WORK).glob("val2017*"))


def test_another_size_is_refused_before_it_is_fetched(web: Web, sets: Sets, tmp_path: Path) -> None:
    web.files["val2017.zip"] += b"more"
    with pytest.raises(DataError, match=r"has \d+ bytes, and the official val2017.zip has"):
        plan_of(web, sets, tmp_path)
    assert web.ranges_asked("val2017.zip") == []


def without_checksums(sets: Sets) -> Sets:
    from dataclasses import replace

    return {"lvis-v0.5": tuple(replace(archive, size=None, sha256=None) for archive in sets["lvis-v1"])}


def test_where_no_checksum_is_known_the_crcs_decide(web: Web, sets: Sets, tmp_path: Path) -> None:
    heard = run(web, without_checksums(sets), tmp_path, name="lvis-v0.5")
    assert sum("no checksum of it is known" in text for text in heard.said) == 4
    assert split_sizes(tmp_path) == (8, 6)
    data = bytearray(web.files["val2017.zip"])
    at = data.find(b"\xff\xd8") if b"\xff\xd8" in data else 200
    data[at + 60] ^= 0xFF
    web.files["val2017.zip"] = bytes(data)
    with pytest.raises(DataError, match="is not what it should be"):
        run(web, without_checksums(sets), tmp_path / "other", name="lvis-v0.5", only=["val"])
    assert not (tmp_path / "other" / "val2017").exists()


def test_a_page_in_the_place_of_an_archive_is_refused(web: Web, sets: Sets, tmp_path: Path) -> None:
    web.files["val2017.zip"] = b"<html>log in first</html>" * 100
    with pytest.raises(DataError, match="it is no whole zip"):
        run(web, without_checksums(sets), tmp_path, name="lvis-v0.5", only=["val"])


def test_files_missing_in_an_archive_are_told(web: Web, sets: Sets, tmp_path: Path) -> None:
    web.files["val2017.zip"] = zipped({"val2017/000000000001.jpg": b"x"})
    with pytest.raises(DataError, match="it holds 1 files, not 4"):
        run(web, without_checksums(sets), tmp_path, name="lvis-v0.5", only=["val"])


def test_files_of_another_size_stay_and_are_told(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path / "first", only=["val"])
    name = sorted((tmp_path / "first" / "val2017").iterdir())[0].name
    place = tmp_path / "mine" / "val2017"
    place.mkdir(parents=True)
    (place / name).write_bytes(b"mine")
    heard = run(web, sets, tmp_path / "mine", only=["val"])
    assert (place / name).read_bytes() == b"mine"
    assert any(text.startswith("Warning: ") and name in text for text in heard.said)


@pytest.mark.parametrize("where", ["fetching", "before the note", "before the end"])
def test_a_process_that_dies_is_made_up_for(
    web: Web, sets: Sets, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise SystemError("as if killed")

    with monkeypatch.context() as patch:
        if where == "fetching":
            web.cuts["val2017.zip"] = [500, 0, 0, 0]
        elif where == "before the note":
            patch.setattr(job, "_note_done", die)
        else:
            patch.setattr(Path, "unlink", lambda path, missing_ok=False: None if path.suffix != ".zip" else die())
        with pytest.raises((SystemError, DataError)):
            run(web, sets, tmp_path, only=["val"])
    web.asked.clear()
    web.cuts.clear()
    run(web, sets, tmp_path, only=["val"])
    assert len(list((tmp_path / "val2017").iterdir())) == 4
    assert [p.name for p in (tmp_path / WORK).iterdir() if p.name != ".lock"] == ["done.json"]
    assert web.ranges_asked("val2017.zip") == (["bytes=500-"] if where == "fetching" else [])


def test_ctrl_c_says_what_is_kept(web: Web, sets: Sets, tmp_path: Path) -> None:
    class Stopping(SilentReporter):
        def progress(self, task: str, done: int, total: int | None, figures: object = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=f"what has come is kept in .*{WORK}") as caught:
        download(plan_of(web, sets, tmp_path), patience=QUICK, reporter=Stopping())
    assert "same command again" in str(caught.value.hint)
    run(web, sets, tmp_path)
    assert split_sizes(tmp_path) == (8, 6)


def test_two_at_a_time_are_one_too_many(web: Web, sets: Sets, tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir()
    with locked(tmp_path / WORK / ".lock"), pytest.raises(DataError, match="another process downloads into it"):
        run(web, sets, tmp_path)


def test_annotations_of_two_sets_in_one_folder_are_told(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path, name="coco-2017", only=["annotations"])
    heard = run(web, sets, tmp_path, only=["annotations"])
    assert any("2 annotation files for train" in text for text in heard.said)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data set 'lvis'") as caught:
        plan_download("lvis", tmp_path)
    assert "lvis-v1" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="no part test"):
        plan_download("lvis-v1", tmp_path, only=["test"])


def test_the_official_archives() -> None:
    for archives in SETS.values():
        assert len({archive.name for archive in archives}) == len(archives)
        for archive in archives:
            assert archive.address.startswith(("https://", "http://images.cocodataset.org/"))
            assert archive.address.endswith("/")
            assert (archive.size is None) == (archive.sha256 is None)
            assert archive.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
            # What comes unprotected is checked by its sha256.
            assert archive.address.startswith("https://") or archive.sha256
    wanted = [archive.wanted for archive in SETS["lvis-v1"]]
    assert [bool(p.fullmatch(n)) for p in wanted for n in ("lvis_v1_val.json", "000000000139.jpg")] == [
        True, False, False, False, False, True, False, True,
    ]  # fmt: skip


def test_annotations_alone_go_with_images_elsewhere(web: Web, sets: Sets, tmp_path: Path) -> None:
    run(web, sets, tmp_path / "images", only=["train", "val"])
    run(web, sets, tmp_path / "boxes", only=["annotations"])
    there = {"train_images": tmp_path / "images", "val_images": tmp_path / "images"}
    config = DataConfig(root=tmp_path / "boxes", **there)
    assert [len(open_split(config, split, None).files) for split in ("train", "val")] == [8, 6]
