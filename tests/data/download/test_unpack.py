"""Unpacking archives of strangers: whole files, no path outside, bounded sizes, what is there stays."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clis_core.data.download import unpack as module
from clis_core.data.download.unpack import DamagedArchiveError, missing_bytes, read_contents, unpack
from clis_core.report import SilentReporter

WANTED = re.compile(r"\d{4}\.jpg")
FILES = {f"pictures/{n:04d}.jpg": bytes([n]) * (1000 + n) for n in range(6)}


def archive(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    return archive(tmp_path / "a.zip", FILES)


def run(path: Path, tmp_path: Path) -> module.Unpacked:
    contents = read_contents(path, WANTED)
    return unpack(path, contents, tmp_path / "staging", tmp_path / "place", reporter=SilentReporter())


def contents_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def by_base_name(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.rpartition("/")[2]: data for name, data in files.items()}


def test_all_files_lie_in_their_place(zipped: Path, tmp_path: Path) -> None:
    done = run(zipped, tmp_path)
    assert (done.written, done.there, done.other) == (6, 0, [])
    assert contents_of(tmp_path / "place") == by_base_name(FILES)
    assert not (tmp_path / "staging").exists()


def test_other_files_are_left_out(tmp_path: Path) -> None:
    files = {**FILES, "README": b"x", "__MACOSX/0001.jpg": b"y", "pictures/": b""}
    assert read_contents(archive(tmp_path / "a.zip", files), WANTED).others == 2
    run(tmp_path / "a.zip", tmp_path)
    assert contents_of(tmp_path / "place") == by_base_name(FILES)


@pytest.mark.parametrize("name", ["../../0099.jpg", "/tmp/0099.jpg", "pictures/../../../0099.jpg"])
def test_no_path_leads_outside(tmp_path: Path, name: str) -> None:
    run(archive(tmp_path / "a.zip", {**FILES, name: b"x"}), tmp_path)
    assert (tmp_path / "place" / "0099.jpg").read_bytes() == b"x"
    assert len(list(tmp_path.rglob("0099.jpg"))) == 1
    assert not (tmp_path.parent / "0099.jpg").exists()


def refused(path: Path, tmp_path: Path, why: str) -> None:
    with pytest.raises(DamagedArchiveError, match=why):
        run(path, tmp_path)
    assert not (tmp_path / "place").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        info = zipfile.ZipInfo("0001.jpg")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", tmp_path, "a link or a device")


def test_encrypted_and_unusual_members_are_refused(zipped: Path, tmp_path: Path) -> None:
    refused(archive(tmp_path / "b.zip", FILES, zipfile.ZIP_LZMA), tmp_path, "packed in an unusual way")
    data = bytearray(zipped.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "c.zip").write_bytes(data)
    refused(tmp_path / "c.zip", tmp_path, "encrypted")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    refused(archive(tmp_path / "a.zip", {"0001.jpg": bytes(5_000_000)}), tmp_path, "more than 50 times")


def test_a_member_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"0001.jpg": bytes(range(256)) * 20, "0002.jpg": b"z" * 100})
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match=r"0001\.jpg"):
        run(path, tmp_path)
    assert not (tmp_path / "place").exists()


def test_a_list_of_files_that_is_too_large_is_refused(zipped: Path, tmp_path: Path) -> None:
    data = bytearray(zipped.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = (1 << 30).to_bytes(4, "little")
    zipped.write_bytes(data)
    refused(zipped, tmp_path, "list of files is too large")


def test_the_length_of_the_list_is_read_in_large_archives_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)  # beyond it, an archive is written in the large form
    path = archive(tmp_path / "a.zip", FILES)
    assert b"PK\x06\x07" in path.read_bytes()
    with zipfile.ZipFile(path) as file:
        wanted = sum(46 + len(info.filename) + len(info.extra) + len(info.comment) for info in file.infolist())
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = b"\xff" * 4  # as where it does not fit into 32 bits
    path.write_bytes(data)
    assert module._directory_bytes(path) == wanted


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"one/0001.jpg": b"1", "two/0001.jpg": b"2"})
    refused(path, tmp_path, "holds 0001.jpg twice")


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_what_is_cut_short_is_no_zip(zipped: Path, tmp_path: Path, size: int) -> None:
    zipped.write_bytes(zipped.read_bytes()[:-20] if size == 3000 else b"<html>" * size)
    refused(zipped, tmp_path, "no whole zip")


def test_damaged_members_are_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", FILES, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.find(bytes([3]) * 500)] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedArchiveError, match=r"0003.jpg.*CRC"):
        run(path, tmp_path)
    assert not (tmp_path / "place").exists()


def test_what_is_there_is_left(zipped: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "0001.jpg").write_bytes(b"mine")
    (place / "0002.jpg").write_bytes(b"x" * 1002)  # of the archive's size
    (place / "notes.txt").write_text("mine")
    contents = read_contents(zipped, WANTED)
    assert missing_bytes(contents, tmp_path / "staging", place) == 1000 + 1003 + 1004 + 1005
    done = run(zipped, tmp_path)
    assert (done.written, done.there, done.other) == (4, 1, ["0001.jpg"])
    expected = {**by_base_name(FILES), "0001.jpg": b"mine", "0002.jpg": b"x" * 1002, "notes.txt": b"mine"}
    assert contents_of(place) == expected


class Stopping(SilentReporter):
    """Raises after some files."""

    def __init__(self, after: int) -> None:
        self.after = after

    def progress(self, task: str, done: int, total: int | None, figures: object = None) -> None:
        if done == self.after:
            raise KeyboardInterrupt


@pytest.fixture
def half_done(zipped: Path, tmp_path: Path) -> Iterator[Path]:
    contents = read_contents(zipped, WANTED)
    with pytest.raises(KeyboardInterrupt):
        unpack(zipped, contents, tmp_path / "staging", tmp_path / "place", reporter=Stopping(3))
    return tmp_path / "staging"


def test_a_stopped_call_goes_on(zipped: Path, tmp_path: Path, half_done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(p.name for p in half_done.iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert not (tmp_path / "place").exists()
    (half_done / "0001.jpg").write_bytes(bytes(1001))  # as after a power cut: its size and other bytes
    (half_done / ".0003.jpg.tmp").write_bytes(b"half")
    extracted: list[str] = []
    real = module._extract

    def extract(file: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
        extracted.append(target.name)
        real(file, info, target)

    monkeypatch.setattr(module, "_extract", extract)
    run(zipped, tmp_path)
    assert extracted == ["0001.jpg", "0003.jpg", "0004.jpg", "0005.jpg"]
    assert contents_of(tmp_path / "place") == by_base_name(FILES)


def test_a_call_that_stops_while_moving_goes_on(zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "place").mkdir()
    real, moved = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(path.name)
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            run(zipped, tmp_path)
    assert len(contents_of(tmp_path / "place")) == 2
    assert run(zipped, tmp_path).there == 2
    assert contents_of(tmp_path / "place") == by_base_name(FILES)
