"""A copy of a folder of shards from a web server, with its tars or without: the same pictures, or an error."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clis_core.data.download.transfer import Patience
from clis_core.data.shards import reader
from clis_core.data.shards.manifest import MANIFEST
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.resuming import Access
from clis_core.data.shards.stream import stream
from clis_core.data.sources.webdataset_shards import own_shards
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.fetch_shards import WORK, fetch_shards
from clis_core.jobs.shards import verify_shards
from clis_core.report import SilentReporter
from tests.data.shards.server import Site, serving
from tests.data.shards.world import build, samples

COUNT = 30
QUICK = Patience(connect=5, silence=5, attempts=3, backoff=0)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(reader, "Ranges", lambda address: real(address, Access(timeout=5, retries=2, pause=0)))
    build(tmp_path / "there", samples(COUNT), shards=3)
    with serving(tmp_path / "there", keeps=True) as site:
        yield site


real = reader.Ranges


def fetch(site: Site, out: Path, leave_tars: bool = False) -> Shards:
    fetch_shards(site.address, out, leave_tars=leave_tars, patience=QUICK, reporter=SilentReporter())
    return Shards(out)


def same(a: Shards, b: Shards) -> bool:
    return len(a) == len(b) == COUNT and all(
        (a.key(i), a.data(i), a.record(i), a.size(i), a.labels[i])
        == (b.key(i), b.data(i), b.record(i), b.size(i), b.labels[i])
        for i in range(COUNT)
    )


@pytest.mark.parametrize("leave_tars", [False, True])
def test_the_pictures_are_those_of_the_server(site: Site, tmp_path: Path, leave_tars: bool) -> None:
    found = fetch(site, tmp_path / "here", leave_tars)
    assert list((tmp_path / "here").glob("*.tar")) == [] if leave_tars else len(found) == COUNT
    assert same(found, Shards(tmp_path / "there"))
    assert (tmp_path / "here" / MANIFEST).read_bytes() == (tmp_path / "there" / MANIFEST).read_bytes()
    assert not (tmp_path / "here" / WORK).exists()


def test_left_tars_are_read_by_pictures(site: Site, tmp_path: Path) -> None:
    found = fetch(site, tmp_path / "here", leave_tars=True)
    site.asked.clear()
    data = found.data(7)
    assert len(site.asked) == 1
    first, last = site.asked[0][1].removeprefix("bytes=").split("-")  # type: ignore[union-attr]
    assert int(last) - int(first) + 1 == len(data)


def test_a_process_of_a_loader_reads_them_too(site: Site, tmp_path: Path) -> None:
    found = fetch(site, tmp_path / "here", leave_tars=True)
    whole = Shards(tmp_path / "there")
    found.data(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(found.data, range(COUNT)) == [whole.data(i) for i in range(COUNT)]


def test_left_tars_are_streamed_from_the_server(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / "here", leave_tars=True)
    keys = [{sample.key for sample in stream(folder, seed=0, epoch=0)} for folder in (tmp_path / "here", site.folder)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == COUNT


def test_shards_are_not_built_from_left_tars(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / "here", leave_tars=True)
    with pytest.raises(DataError, match="holds no tars") as caught:
        own_shards(tmp_path / "here")
    assert "clis shards fetch http" in (caught.value.hint or "")


def test_a_disk_without_room_is_told_of_what_needs_less(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clis_core.jobs.fetch_shards.free_bytes", lambda folder: 10)
    with pytest.raises(DataError, match="are needed") as caught:
        fetch(site, tmp_path / "here")
    assert "--leave-tars" in (caught.value.hint or "")
    assert len(fetch(site, tmp_path / "here", leave_tars=True)) == COUNT


def test_a_manifest_without_end_is_not_fetched(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clis_core.jobs.fetch_shards.MOST_BYTES", 100)
    with pytest.raises(DataError, match="which no manifest has"):
        fetch(site, tmp_path / "here")


def test_what_was_left_can_be_fetched_later(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / "here", leave_tars=True)
    with pytest.raises(DataError, match="holds no tars") as caught:
        verify_shards(tmp_path / "here", decode=True, reporter=SilentReporter())
    assert site.address.rstrip("/") in (caught.value.hint or "")
    fetch(site, tmp_path / "here")
    site.asked.clear()
    assert same(Shards(tmp_path / "here"), Shards(tmp_path / "there"))
    assert site.asked == []
    assert verify_shards(tmp_path / "here", decode=True, reporter=SilentReporter()).ok


def test_a_fetch_that_broke_off_goes_on(site: Site, tmp_path: Path) -> None:
    size = (tmp_path / "there" / "00001.tar").stat().st_size
    site.cuts["00001.tar"] = [1, size // 2]  # the first request asks for the size alone
    site.answers["00002.tar"] = [404]
    with pytest.raises(DataError, match=r"00002.tar"):
        fetch(site, tmp_path / "here")
    assert not (tmp_path / "here" / MANIFEST).exists()
    assert ("00001.tar", f"bytes={size // 2}-") in site.asked
    site.asked.clear()
    found = fetch(site, tmp_path / "here")
    assert {name for name, _ in site.asked} == {MANIFEST, "00002.tar"}
    assert same(found, Shards(tmp_path / "there"))


def test_wrong_bytes_are_not_kept(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "there" / "00001.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"00001.tar is not what the manifest says: its sha256"):
        fetch(site, tmp_path / "here")
    assert not (tmp_path / "here" / "00001.tar").exists()
    path.write_bytes(data[:-1])
    with pytest.raises(DataError, match="bytes, not"):
        fetch(site, tmp_path / "here")


def test_a_tar_that_was_replaced_on_the_server_is_noticed(site: Site, tmp_path: Path) -> None:
    found = fetch(site, tmp_path / "here", leave_tars=True)
    with (tmp_path / "there" / "00000.tar").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="bytes there, not"):
        found.data(0)


def test_other_shards_are_left_as_they_are(site: Site, tmp_path: Path) -> None:
    build(tmp_path / "here", samples(9), shards=1)
    before = (tmp_path / "here" / MANIFEST).read_bytes()
    with pytest.raises(DataError, match="finished"):
        fetch(site, tmp_path / "here")
    assert (tmp_path / "here" / MANIFEST).read_bytes() == before


def test_what_another_manifest_has_checked_is_checked_anew(site: Site, tmp_path: Path) -> None:
    site.answers["00002.tar"] = [404]
    with pytest.raises(DataError, match=r"00002.tar"):
        fetch(site, tmp_path / "here")
    shutil.rmtree(tmp_path / "there")
    build(tmp_path / "there", samples(COUNT, classes=2), shards=3)  # files of the same names
    for _ in range(2):  # and again
        with pytest.raises(DataError, match="of other shards") as caught:
            fetch(site, tmp_path / "here")
    assert "rm " in (caught.value.hint or "")
    assert not (tmp_path / "here" / MANIFEST).exists()
    for path in (tmp_path / "here").glob("0*"):
        path.unlink()
    assert same(fetch(site, tmp_path / "here"), Shards(tmp_path / "there"))


def test_what_a_kill_left_of_the_manifest_does_no_harm(site: Site, tmp_path: Path) -> None:
    work = tmp_path / "here" / WORK
    work.mkdir(parents=True)
    (work / ".manifest.json.part.json.0.tmp").touch()
    assert same(fetch(site, tmp_path / "here"), Shards(tmp_path / "there"))
    assert not work.exists()


def test_a_tar_that_was_cut_short_here_is_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / "here")
    path = tmp_path / "here" / "00001.tar"
    path.write_bytes(path.read_bytes()[:-1])
    assert same(fetch(site, tmp_path / "here"), Shards(tmp_path / "there"))


@pytest.mark.parametrize(
    "address",
    ["/some/folder", "ftp://host/x", "https://", "http://[", "https://me:secret@host/x", "https://host/x?key=secret"],
)
def test_addresses_that_are_not_taken(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError) as caught:
        fetch_shards(address, tmp_path / "here", reporter=SilentReporter())
    assert "secret" not in str(caught.value) + (caught.value.hint or "")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("text", ["", "[", "[1]", '{"format": 2, "address": "http://h"}', '{"format": 1}'])
def test_a_damaged_note_is_named(site: Site, tmp_path: Path, text: str) -> None:
    fetch(site, tmp_path / "here", leave_tars=True)
    (tmp_path / "here" / "origin.json").write_text(text)
    with pytest.raises(DataError, match=r"origin.json"):
        Shards(tmp_path / "here")


def test_a_folder_without_indices_is_refused(site: Site, tmp_path: Path) -> None:
    fetch(site, tmp_path / "here", leave_tars=True)
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    (tmp_path / "copy" / "00001.index.npy").unlink()
    with pytest.raises(DataError, match=r"00001.index.npy cannot be read"):
        Shards(tmp_path / "copy")
