"""Streaming: every sample once over all workers, past broken connections; nothing is short without a word."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clis_core.data.shards import places, resuming
from clis_core.data.shards.manifest import read_manifest
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.resuming import Access
from clis_core.data.shards.stream import Streamed, stream
from clis_core.errors import ConfigError, DataError
from clis_core.report import SilentReporter
from tests.data.shards.server import Site, serving
from tests.data.shards.world import build, samples

COUNT = 60
QUICK = Access(timeout=20, retries=3, pause=0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 60 samples in five shards; read it, do not change it."""
    folder = tmp_path_factory.mktemp("built")
    build(folder, samples(COUNT), shards=5)
    return folder


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(built, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def site(own: Path) -> Iterator[Site]:
    with serving(own) as site:
        yield site


def keys(source: Any, **options: Any) -> list[str]:
    chosen = {"seed": 0, "epoch": 0, "access": QUICK, **options}
    return [sample.key for sample in stream(source, **chosen)]


def everything(folder: Path) -> list[str]:
    shards = Shards(folder)
    return [shards.key(i) for i in range(len(shards))]


def test_samples_are_those_of_random_access(built: Path) -> None:
    shards = Shards(built)
    found = list(stream(built, seed=0, epoch=0, shuffle=0))
    assert len(found) == COUNT
    for i, sample in enumerate(found):
        assert isinstance(sample, Streamed)
        assert sample.key == shards.key(i)
        assert sample.jpeg == shards.data(i)
        assert sample.record == shards.record(i)
        assert shards.categories[shards.labels[i] - 1].id == sample.category
        assert f"{sample.shard:05d}.tar" == shards.shard_of(i)[0]


@pytest.mark.parametrize(("world", "workers"), [(1, 1), (2, 2), (1, 5), (2, 3), (4, 4)])
@pytest.mark.parametrize("shuffle", [0, 7])
def test_every_sample_once_over_all_workers(built: Path, world: int, workers: int, shuffle: int) -> None:
    parts = [
        keys(built, rank=r, world=world, worker=w, workers=workers, shuffle=shuffle, epoch=3)
        for r in range(world)
        for w in range(workers)
    ]
    assert sorted(k for part in parts for k in part) == sorted(everything(built))
    assert all(parts)
    if world * workers > 5:  # fewer shards than workers: each takes its turns
        assert max(map(len, parts)) - min(map(len, parts)) <= 5


def test_the_order_is_of_seed_and_epoch(built: Path) -> None:
    first = keys(built)
    assert first == keys(built)
    others = [keys(built, epoch=1), keys(built, seed=1), keys(built, seed=1, epoch=1)]
    assert len({tuple(o) for o in [first, *others]}) == 4
    assert len({tuple(sorted(o)) for o in [first, *others]}) == 1
    assert keys(built, shuffle=0) == keys(built, shuffle=0, epoch=1) == everything(built)


def test_the_buffer_mixes_shards(built: Path) -> None:
    found = [sample.shard for sample in stream(built, seed=0, epoch=0, shuffle=30)]
    assert found != sorted(found)


def test_going_on_by_shard(built: Path) -> None:
    whole = list(stream(built, seed=2, epoch=1, shuffle=1))
    rest = list(stream(built, seed=2, epoch=1, shuffle=1, skip_shards=2))
    assert [s.key for s in rest] == [s.key for s in whole if s.shard >= 2]
    assert {s.shard for s in rest} == {2, 3, 4}
    shared = {"worker": 1, "workers": 7, "shuffle": 1}
    part = list(stream(built, seed=2, epoch=1, **shared))
    assert keys(built, seed=2, epoch=1, skip_shards=3, **shared) == [s.key for s in part if s.shard >= 3]


def test_sources(built: Path, site: Site) -> None:
    want = everything(built)
    sources: list[Any] = [
        built,
        str(built),
        built.as_uri(),
        site.address,
        site.address.rstrip("/"),
        f"pipe:cat {built}/{{}}",
        f"pipe:sh -c 'cat {built}/{{}} | cat'",
        f"{built}/{{00000..00004}}.tar",
        f"{site.address}{{00000..00004}}.tar",
        f"{site.address}0000{{0,1,2,3,4}}.tar?token=secret",
        f"pipe:cat {built}/{{00000..00004}}.tar",
        [f"{built}/0000{k}.tar" for k in range(5)],
        [f"file://{built}/00000.tar", f"{site.address}0000{{1..4}}.tar"],
    ]
    for source in sources:
        assert keys(source, shuffle=0) == want, source
    assert keys(built / "00001.tar", shuffle=0) == keys(str(built / "00001.tar"), shuffle=0)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("s3://bucket/shards/", "not from s3"),
        ("gs://bucket/{00..01}.tar", "not from gs"),
        ("ftp://host/shards/", "not from ftp"),
        ("data:x/", "not from data"),
        ("http:///x.tar", "not from http"),
        ("pipe:", "names no command"),
        ("pipe:cat x.tar | cat", "without a shell"),
        ("pipe:cat {} && true", "without a shell"),
        ("pipe:cat 'x.tar", "No closing quotation"),
        ("pipe:no_such_command_at_all {}", "cannot be started"),
        ("https://host/a.tar::https://host/b.tar", "has ::"),
        ("https://host/${HOME}.tar", r"has :: or \$\{"),
        ("https://host/{00..0.tar", "{00..0.tar"),
        ([], "no address"),
    ],
)
def test_sources_that_are_not_read(source: Any, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        keys(source)
    assert caught.value.hint


def test_errors_of_sources_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        stream("s3://bucket/", seed=0, epoch=0)  # not only when it is iterated
    with pytest.raises(DataError, match="no finished shards"):
        stream(tmp_path, seed=0, epoch=0)
    with pytest.raises(ValueError, match="no rank 2 of 2"):
        stream(tmp_path, seed=0, epoch=0, rank=2, world=2)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_goes_on_where_it_broke(own: Path, site: Site, ranges: bool) -> None:
    site.ranges = ranges
    size = (own / "00002.tar").stat().st_size
    site.cuts["00002.tar"] = [700, 3000, 0, size - 10_000]
    assert keys(site.address, shuffle=0) == everything(own)
    asked = [r for name, r in site.asked if name == "00002.tar"]
    assert asked[:2] == [None, "bytes=700-"]
    assert len(asked) >= 4


def test_what_broke_is_counted_and_told_and_nothing_is_lost(own: Path, site: Site) -> None:
    """A server that stalls, fails and cuts connections, all in one epoch."""
    site.stalls["00001.tar"] = [0, 4096]
    site.cuts["00002.tar"] = [100, 9000, 0]
    site.answers = {"00003.tar": [500, 502], "00004.tar": [503]}
    reporter = Warnings()
    found = keys(site.address, shuffle=0, access=Access(0.2, 3, 0), reporter=reporter)
    assert found == everything(own)
    assert reporter.texts[-1] == "Reading broke off and went on 8 times; no sample was lost."
    assert len(reporter.texts) == 9
    assert f"{site.address}00001.tar broke off at byte 4096 (timed out); again in 0 s." in reporter.texts
    assert sum("the server answers 50" in text for text in reporter.texts) == 3


def test_many_interruptions_are_counted_but_not_all_told(own: Path, site: Site) -> None:
    site.cuts["00002.tar"] = [600] * 14
    reporter = Warnings()
    assert keys(site.address, shuffle=0, reporter=reporter) == everything(own)
    assert len(reporter.texts) == 11
    assert reporter.texts[-1].startswith("Reading broke off and went on 14 times")


def test_what_was_read_counts_the_retries_anew(own: Path, site: Site) -> None:
    site.cuts["00002.tar"] = [1000] * 15  # far more often than three times
    assert keys(site.address, shuffle=0, access=Access(20, 1, 0)) == everything(own)


def test_a_connection_that_breaks_for_good(own: Path, site: Site) -> None:
    site.cuts["00002.tar"] = [5000] + [0] * 20
    found: list[Streamed] = []
    with pytest.raises(DataError, match=r"00002\.tar cannot be read beyond byte 5000, tried 4 times") as caught:
        found.extend(stream(site.address, seed=0, epoch=0, shuffle=0, access=QUICK))
    assert site.address in caught.value.message
    assert caught.value.hint
    assert len([1 for name, _ in site.asked if name == "00002.tar"]) == 4
    assert [sample.key for sample in found] == everything(own)[: len(found)]
    assert {sample.shard for sample in found} == {0, 1, 2}


def test_answers_that_pass_are_tried_again(own: Path, site: Site) -> None:
    site.answers = {"manifest.json": [503], "00001.tar": [429, 500]}
    assert keys(site.address, shuffle=0) == everything(own)
    site.answers = {"00001.tar": [500] * 4}
    with pytest.raises(DataError, match="tried 4 times: the server answers 500"):
        keys(site.address)


def test_pauses_become_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(resuming.time, "sleep", pauses.append)
    site.answers = {"00001.tar": [500] * 4}
    with pytest.raises(DataError, match="tried 4 times"):
        keys(site.address, access=Access(20, 3, 0.5))
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("status", [401, 403, 404, 416])
def test_answers_that_stay(own: Path, site: Site, status: int) -> None:
    site.answers = {"00001.tar": [status]}
    with pytest.raises(DataError, match=rf"00001\.tar cannot be read: the server answers {status}"):
        keys(site.address)
    (own / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json cannot be read: the server answers 404"):
        keys(site.address)


def test_redirects_lead_to_the_web_only(own: Path, site: Site) -> None:
    site.answers = {"00001.tar": [site.address + "00001.tar"]}
    assert keys(site.address, shuffle=0) == everything(own)
    site.answers = {"00001.tar": [f"file://{own}/00001.tar"] * 4}
    with pytest.raises(DataError, match=r"00001\.tar cannot be read"):
        keys(site.address)


def test_what_may_be_secret_is_not_shown(site: Site) -> None:
    address = site.address.replace("http://", "http://me:word@")
    site.answers = {"00000.tar": [404]}
    with pytest.raises(DataError) as caught:
        keys(address + "00000.tar?token=secret")
    assert "word" not in caught.value.message
    assert "secret" not in caught.value.message
    assert site.address in caught.value.message


def test_a_file_that_changes_while_it_is_read(site: Site) -> None:
    site.cuts["00002.tar"] = [6000]
    running = stream(site.address, seed=0, epoch=0, shuffle=0, access=QUICK)
    while next(running).shard < 2:
        pass
    site.tag = '"2"'
    with pytest.raises(DataError, match=r"00002\.tar has changed while it was read"):
        list(running)


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_has_less_than_the_manifest_says(own: Path, site: Site, lengths: bool) -> None:
    site.lengths = lengths
    size = (own / "00003.tar").stat().st_size
    os.truncate(own / "00003.tar", size // 2 // 512 * 512)
    with pytest.raises(DataError) as caught:
        keys(site.address)
    assert "00003.tar" in caught.value.message
    assert str(size) in caught.value.message


def cut_between_samples(path: Path, samples: int) -> None:
    """Cut a tar where a sample begins: webdataset then takes it for a whole one."""
    with tarfile.open(path) as tar:
        os.truncate(path, tar.getmembers()[3 * samples].offset)


@pytest.mark.parametrize("form", ["{0}", "pipe:cat {0}/{{}}", "pipe:cat {0}/00003.tar", "{0}/00003.tar"])
def test_a_tar_cut_short_between_samples_is_told(own: Path, form: str) -> None:
    cut_between_samples(own / "00003.tar", 4)
    with pytest.raises(DataError, match=r"00003\.tar"):
        keys(form.format(own))


def test_a_tar_without_samples_at_its_end_is_told(own: Path) -> None:
    """Whole as a tar and of the right length, but with fewer samples than the manifest says."""
    path = own / "00003.tar"
    size = path.stat().st_size
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-3].offset
    os.truncate(path, last)
    os.truncate(path, size)
    wanted = read_manifest(own).shards[3].samples
    with pytest.raises(DataError, match=rf"00003\.tar holds {wanted - 1} samples, but the manifest says {wanted}"):
        keys(own)


def test_a_command_that_fails(own: Path) -> None:
    with pytest.raises(DataError, match=r"tried 4 times: the command ends with status 1 \(cat: .*none\.tar"):
        keys(f"pipe:cat {own}/none.tar")
    script = f"sh -c 'head -c 5000 {own}/00001.tar; echo broken >&2; exit 7'"
    with pytest.raises(DataError, match=r"beyond byte 5000, tried 4 times: the command ends with status 7 \(broken\)"):
        keys(f"pipe:{script} x.tar")


def test_a_command_that_fails_once_goes_on(own: Path, tmp_path: Path) -> None:
    script = tmp_path / "once.sh"
    script.write_text(f"if mkdir {tmp_path}/was_here 2>&-; then head -c 5000 $1; exit 1; fi; exec cat $1\n")
    assert keys(f"pipe:sh {script} {own}/00001.tar", shuffle=0) == keys(own / "00001.tar", shuffle=0)


def test_names_of_a_manifest_do_not_reach_a_shell(own: Path) -> None:
    content = json.loads((own / "manifest.json").read_text())
    content["shards"][1]["name"] = "; touch x .tar"
    (own / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="names '; touch x"):
        keys(f"pipe:sh -c 'cat {own}/{{}}'")


def test_damage_within_a_tar(own: Path) -> None:
    path = own / "00003.tar"
    with tarfile.open(path) as tar:
        header = tar.getmembers()[6].offset
    with path.open("r+b") as file:
        file.seek(header)
        file.write(b"xxxx")
    with pytest.raises(DataError, match=rf"00003\.tar is damaged: .* in the header at byte {header}"):
        keys(own, shuffle=0)


def make_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def whole(key: str) -> list[tuple[str, bytes]]:
    return [(f"{key}.jpg", b"\xff\xd8..."), (f"{key}.json", b"{}"), (f"{key}.cls", b"5")]


class Warnings(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, text: str) -> None:
        self.texts.append(text)


BAD = [
    (whole("b")[:2], "has no cls"),
    (whole("b")[1:], "has no jpg"),
    ([whole("b")[0], whole("b")[2]], "has no json"),
    ([*whole("b")[:2], ("b.cls", b"five")], "has a cls that is no category"),
    ([*whole("b")[:2], ("b.cls", b"9" * 30)], "has a cls that is no category"),
    ([whole("b")[0], ("b.json", b"{"), whole("b")[2]], "has a json that is no object"),
    ([whole("b")[0], ("b.json", b"[" * 100_000), whole("b")[2]], "has a json that is no object"),
    ([whole("b")[0], ("b.json", b"[]"), whole("b")[2]], "has a json that is no object"),
    ([("b.jpg", b"<html>"), *whole("b")[1:]], "has a jpg that is no JPEG"),
]


@pytest.mark.parametrize(("members", "what"), BAD)
def test_bad_samples_are_left_out_and_counted(tmp_path: Path, members: list[tuple[str, bytes]], what: str) -> None:
    path = tmp_path / "x.tar"
    make_tar(path, [*whole("a"), *members, *whole("c"), *whole("d")])
    reporter = Warnings()
    assert keys(path, shuffle=0, max_bad_fraction=0.3, reporter=reporter) == ["a", "c", "d"]
    assert f"{path}: b {what}" in reporter.texts[0]
    assert reporter.texts[-1] == "1 of 4 samples were left out."
    with pytest.raises(DataError, match="1 of 4 samples cannot be used"):
        keys(path, shuffle=0, max_bad_fraction=0.2)


def test_too_many_bad_samples_end_a_stream_early(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    bad = [m for k in range(300) for m in (whole(f"a{k}") if k % 10 else whole(f"b{k}")[:2])]
    make_tar(path, bad)
    found: list[Streamed] = []
    with pytest.raises(DataError, match=r"21 of 201 samples cannot be used, the last one: .*b200 has no cls"):
        found.extend(stream(path, seed=0, epoch=0, shuffle=0))
    assert len(found) == 180


def test_categories_that_the_manifest_does_not_have(own: Path) -> None:
    content = json.loads((own / "manifest.json").read_text())
    content["categories"] = [c for c in content["categories"] if c["id"] != 8]
    (own / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="20 of 60 samples"):
        keys(own)


def test_odd_members_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clis_core.data.shards import stream as module

    path = tmp_path / "x.tar"
    make_tar(path, [("README", b"x"), *whole("sub/a"), ("sub/a.txt", b"caption"), *whole("b")])
    assert keys(path, shuffle=0) == ["sub/a", "b"]
    make_tar(path, [*whole("a"), *whole("b"), *whole("b")])
    with pytest.raises(DataError, match="duplicate file name"):
        keys(path, shuffle=0)
    make_tar(path, [*whole("a"), ("b.jpg", b"\xff\xd8" + bytes(5000)), *whole("b")[1:]])
    monkeypatch.setattr(module, "MAX_BYTES", 4000)
    assert keys(path, shuffle=0, max_bad_fraction=0.5) == ["a"]


def test_files_and_commands_are_closed_when_a_stream_is_left(built: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("the system does not list open files")
    before = len(list(folder.iterdir()))
    for source in (built, f"pipe:cat {built}/{{}}"):
        running = stream(source, seed=0, epoch=0, shuffle=2)
        next(running)
        assert len(list(folder.iterdir())) > before
        running.close()  # type: ignore[attr-defined]
        del running
    assert len(list(folder.iterdir())) == before


def test_a_huge_manifest_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_BYTES", 100)
    with pytest.raises(DataError, match="is larger than"):
        keys(f"pipe:cat {built}/{{}}")


def test_counts_by_class_are_the_manifest_s(built: Path) -> None:
    found = Counter(sample.category for sample in stream(built, seed=0, epoch=0))
    assert found == read_manifest(built).counts
