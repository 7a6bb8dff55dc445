"""`clis crawl-google` from the names of the categories to the shards, on a web of one process."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from PIL import Image

from clis_cli.commands import crawl_google as command_module
from clis_core.categories import Categories, Category
from clis_core.config.data import DataConfig
from clis_core.data.crawl.backends.bing import Bing
from clis_core.data.crawl.backends.google import Google
from clis_core.data.crawl.shared import CrawlOptions
from clis_core.data.shards.manifest import Manifest, read_manifest
from clis_core.errors import DataError, Interrupted
from clis_core.files import locked
from clis_core.jobs import crawl_google as module
from clis_core.jobs.crawl_google import crawl_google, crawl_queries
from clis_core.report import SilentReporter
from tests.data.crawl.test_backends import SHELL, bing_page
from tests.data.crawl.web import FAST, Call, FakeWeb, encode, jpeg, loopback_only, photo, web
from tests.processes import wait_until

__all__ = ["loopback_only", "web"]
pytestmark = pytest.mark.usefixtures("loopback_only")
ROOT = Path(__file__).parents[2]
NAMES = ["aerosol_can", "bow_(weapon)", "cup", "drum"]


@pytest.fixture(autouse=True)
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (Google, Bing):
        monkeypatch.setattr(place, "delay", 0.0)


@pytest.fixture
def categories(tmp_path: Path) -> Path:
    """A json of four categories, of which the last one is frequent."""
    rows = [
        {"id": 3 * n + 1, "name": name, "def": "a thing", "frequency": "rrcf"[n], "image_count": 5, "synonyms": []}
        for n, name in enumerate(NAMES)
    ]
    file = tmp_path / "categories.json"
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": rows}))
    return file


def write_urls(folder: Path, rows: dict[str, list[str]]) -> Path:
    file = folder / "urls.csv"
    lines = [f"{name},{address}" for name, addresses in rows.items() for address in addresses]
    file.write_text("\n".join(["category,url", *lines]) + "\n")
    return file


def how(web: FakeWeb, **more: Any) -> CrawlOptions:
    return CrawlOptions(limits=FAST, adapters=web.adapters(), threads=4, **more)


class Said(SilentReporter):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def info(self, text: str) -> None:
        self.texts.append(text)

    def warn(self, text: str) -> None:
        self.texts.append(f"Warning: {text}")


def samples(out: Path) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Record and JPEG of every sample in the shards, by key."""
    found: dict[str, dict[str, bytes]] = {}
    for shard in sorted(out.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                found.setdefault(key, {})[kind] = file.read()
    return {key: (json.loads(files["json"]), files["jpg"]) for key, files in found.items()}


def lines(file: Path, *, torn: bool = False) -> list[dict[str, Any]]:
    text = file.read_text()
    return [json.loads(line) for line in (text[: text.rfind("\n") + 1] if torn else text).splitlines()]


def test_from_addresses_to_shards(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    web.routes |= {
        "p.test/can.jpg": jpeg(1),
        "p.test/can.png": encode(photo(2), "PNG"),
        "p.test/again.jpg": encode(photo(1), quality=40),
        "p.test/bow.jpg": jpeg(3),
        "p.test/page": b"<html>log in</html>",
    }
    file = tmp_path / "urls.csv"
    file.write_text(
        "category,url,licence,creator,page,title\n"
        "aerosol_can,http://p.test/can.jpg,CC0,Jane,http://p.test,A can\n"
        "1,http://p.test/can.png,,,,\n"
        "1,http://p.test/again.jpg,,,,\n"
        "bow_(weapon),http://p.test/bow.jpg,,,,\n"
        "cup,http://p.test/page,,,,\n"
        "cup,http://p.test/none,,,,\n"
    )
    out = tmp_path / "web"
    manifest = crawl_google(
        out, lvis=categories, only=["r", "c"], urls=file, options=how(web), reporter=SilentReporter()
    )
    assert manifest == read_manifest(out)
    assert manifest.counts == {1: 2, 4: 1}
    assert [c.name for c in manifest.categories] == NAMES
    assert manifest.unmatched == {
        7: "none of its hits is of use: 1 a web page or text, 1 HTTP 404",
        10: "not asked for",
    }
    assert manifest.refused == {"duplicate, near-duplicate": 1, "a web page or text": 1, "HTTP 404": 1}
    assert manifest.made["command"] == "crawl-google"
    assert manifest.made["backends"] == ["urls"]
    found = samples(out)
    assert sorted(found)[:2] == ["aerosol_can_0001", "aerosol_can_0002"]
    assert sorted(found)[2].startswith("bow_")
    record, data = found["aerosol_can_0001"]
    assert data == jpeg(1)
    assert record.items() >= {
        "class_name": "aerosol_can", "category_id": 1, "width": 160, "height": 120, "source": "urls",
        "url": "http://p.test/can.jpg", "page": "http://p.test", "licence": "CC0", "creator": "Jane",
        "title": "A can", "rank": 1,
    }.items()  # fmt: skip
    assert found["aerosol_can_0002"][0]["changed"] == ["PNG"]
    assert found["aerosol_can_0002"][0]["licence"] is None
    assert Image.open(io.BytesIO(found["aerosol_can_0002"][1])).format == "JPEG"
    assert {(r["name"], r["reason"]) for r in lines(out / "refused.jsonl")} == {
        ("http://p.test/again.jpg", "duplicate, near-duplicate"),
        ("http://p.test/page", "a web page or text"),
        ("http://p.test/none", "HTTP 404"),
    }


def test_a_finished_crawl_has_nothing_to_do(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    web.routes["p.test/1"] = jpeg(1)
    urls = write_urls(tmp_path, {"cup": ["http://p.test/1"]})
    said = Said()
    first = crawl_google(tmp_path / "web", lvis=categories, urls=urls, options=how(web), reporter=said)
    assert said.texts == ["The list has no address for 3 of 4 categories."]
    web.asked.clear()
    said = Said()
    again = crawl_google(tmp_path / "web", lvis=categories, urls=urls, options=how(web), reporter=said)
    assert again == first
    assert (web.asked, len(said.texts)) == ([], 1)
    assert "nothing to do" in said.texts[0]


def test_a_search_engine_that_answers(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    def answer(call: Call) -> None:
        name = call.query["q"].split(" a thing")[0]
        results = [{"murl": f"https://p.test/{name}{n}.jpeg", "purl": "https://p.test/"} for n in range(3)]
        call.answer(bing_page(*results) if call.query["first"] == "1" else "")

    web.routes["www.bing.com/images/async"] = answer
    web.routes |= {
        f"p.test/{name}{n}.jpeg": jpeg(10 * i + n) for i, name in enumerate(["cup", "drum"]) for n in range(3)
    }
    said = Said()
    manifest = crawl_google(
        tmp_path / "web",
        lvis=categories,
        only=["c", "f"],
        backend="bing",
        options=how(web, per_category=2),
        reporter=said,
    )
    assert manifest.counts == {7: 2, 10: 2}
    assert {record["query"] for record, _ in samples(tmp_path / "web").values()} == {"cup a thing", "drum a thing"}
    assert said.texts == ["Warning: " + Bing.warning]


def test_google_sends_a_shell(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    web.routes["www.google.com/search"] = SHELL.encode()
    said = Said()
    with pytest.raises(DataError) as error:
        crawl_google(tmp_path / "web", lvis=categories, options=how(web, blocked=2), reporter=said)
    assert error.value.exit_code == 4
    assert error.value.message == (
        "4 of 4 categories could not be searched: google sent a page that needs JavaScript. "
        f"All that was found and fetched is kept in {tmp_path / 'web' / '.crawl'}."
    )
    for way in ("--backend openverse", "--urls FILE", "--partial", f"-o {tmp_path / 'web'}"):
        assert way in (error.value.hint or "")
    assert "needs JavaScript" in said.texts[0]  # said before it starts
    with pytest.raises(DataError, match="Not one picture was found for 4 categories: no hit"):
        crawl_google(tmp_path / "web", lvis=categories, partial=True, options=how(web), reporter=said)


def test_taking_what_there_is(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    def answer(call: Call) -> None:
        cup = "cup" in call.query["q"] and call.query["first"] == "1"
        call.answer(bing_page({"murl": "http://p.test/1"}) if cup else "", 200 if "cup" in call.query["q"] else 403)

    web.routes["www.bing.com/images/async"] = answer
    web.routes["p.test/1"] = jpeg(1)
    arguments: dict[str, Any] = {"lvis": categories, "backend": "bing", "options": how(web), "reporter": Said()}
    with pytest.raises(DataError, match=r"3 of 4 categories could not be searched: bing answered: HTTP 403\."):
        crawl_google(tmp_path / "web", **arguments)
    assert not (tmp_path / "web" / "manifest.json").exists()
    manifest = crawl_google(tmp_path / "web", **arguments, partial=True)
    assert manifest.counts == {7: 1}
    assert manifest.unmatched[1] == "not searched: bing answered: HTTP 403"


def test_nothing_of_use(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    urls = write_urls(tmp_path, {"cup": ["http://p.test/1", "http://p.test/2"], "drum": ["http://p.test/3"]})
    with pytest.raises(DataError, match="Not one picture was found for 4 categories: 3 HTTP 404") as error:
        crawl_google(tmp_path / "web", lvis=categories, urls=urls, options=how(web), reporter=SilentReporter())
    assert "records.jsonl" in (error.value.hint or "")


def test_validation_images_are_left_out(web: FakeWeb, tmp_path: Path, drawn_coco: Path, categories: Path) -> None:
    image = next((drawn_coco / "val2017").iterdir())
    large = Image.open(image).convert("RGB").resize((192, 192), Image.Resampling.BICUBIC)
    web.routes |= {"p.test/leak": encode(large, quality=80), "p.test/1": jpeg(1)}
    urls = write_urls(tmp_path, {"cup": ["http://p.test/leak", "http://p.test/1"]})
    manifest = crawl_google(
        tmp_path / "web",
        lvis=categories,
        urls=urls,
        data=DataConfig(root=drawn_coco),
        options=how(web),
        reporter=SilentReporter(),
    )
    assert manifest.refused == {"repeats a validation image": 1}
    assert lines(tmp_path / "web" / "refused.jsonl")[0]["detail"] == image.name


def test_wrong_calls(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    arguments: dict[str, Any] = {"lvis": categories, "options": how(web), "reporter": SilentReporter()}
    with pytest.raises(DataError, match="needs a file of addresses"):
        crawl_google(tmp_path / "web", backend="urls", **arguments)
    urls = write_urls(tmp_path, {"cup": ["http://p.test/1"]})
    with pytest.raises(DataError):
        crawl_google(tmp_path / "web", urls=urls, **arguments)
    other = replace(how(web), filter=replace(how(web).filter, min_side=10))
    with pytest.raises(DataError, match="another crawl: it differs in min_side"):
        crawl_google(tmp_path / "web", urls=urls, **arguments | {"options": other})
    with locked(tmp_path / "web" / ".crawl" / ".lock"), pytest.raises(DataError, match="another process crawls"):
        crawl_google(tmp_path / "web", urls=urls, **arguments)


def test_packing_that_was_stopped_goes_on(
    web: FakeWeb, tmp_path: Path, categories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.routes |= {f"p.test/{n}": jpeg(n) for n in range(8)}
    urls = write_urls(tmp_path, {"cup": [f"http://p.test/{n}" for n in range(8)]})

    def run(out: Path) -> Manifest:
        return crawl_google(out, lvis=categories, urls=urls, options=how(web), reporter=SilentReporter())

    whole = run(tmp_path / "whole")
    asked = 0

    def stop(*args: Any) -> None:
        nonlocal asked
        asked += (tmp_path / "web" / ".crawl" / "chosen.jsonl").exists()
        if asked == 4:  # four pictures are packed
            raise Interrupted("Stopped.", hint="Again.")

    with monkeypatch.context() as patched:
        patched.setattr(module, "_check_stop", stop)
        with pytest.raises(Interrupted):
            run(tmp_path / "web")
    web.asked.clear()
    urls.write_text("category,url\ncup,http://p.test/9\n")  # the choice has been made: this changes nothing
    manifest = run(tmp_path / "web")
    assert (manifest.counts, manifest.refused) == (whole.counts, {})  # nothing was packed twice
    assert web.asked == []
    assert {k: v[1] for k, v in samples(tmp_path / "web").items()} == {
        k: v[1] for k, v in samples(tmp_path / "whole").items()
    }


def test_queries_are_told_without_asking_anybody(categories: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(crawl_queries(categories, ["r"]))))
    assert [(row["name"], row["query"], row["fallback"]) for row in rows] == [
        ("aerosol_can", "aerosol can a thing", "aerosol can"),
        ("bow_(weapon)", "bow weapon a thing", "bow weapon"),
    ]


def command(*words: str) -> None:
    app = typer.Typer()
    app.command("crawl-google")(command_module.crawl_google)
    typer.main.get_command(app)(args=list(words), standalone_mode=False)


def test_the_command_hands_everything_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def job(*words: Any, **options: Any) -> Manifest:
        calls.append((words, options))
        return Manifest(Categories([Category(1, "cup")]), (), {1: 3}, {}, {"HTTP 404": 2})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "crawl_google", job)
    command("-o", "web", "--only", "c, r", "-n", "7", "--backend", "openverse", "--key-file", "k", "--json")
    ((words, options),) = calls
    assert words == (Path("web"),)
    assert options["lvis"] == "v1"
    assert (options["only"], options["backend"], options["key_file"]) == (["r", "c"], "openverse", Path("k"))
    assert (options["urls"], options["data"], options["partial"]) == (None, None, False)
    assert options["options"] == CrawlOptions(per_category=7)
    assert json.loads(capsys.readouterr().out)["samples"] == 0
    command("-o", "web", "--lvis", "x.json", "--urls", "u", "--data", "d", "--partial", "--delay", "2", "--no-robots")
    _, options = calls[1]
    assert (options["lvis"], options["urls"], options["data"]) == (
        Path("x.json"),
        Path("u"),
        DataConfig(root=Path("d")),
    )
    assert options["partial"]
    assert (options["options"].limits.delay, options["options"].robots) == (2.0, False)
    assert "Refused: 2 HTTP 404." in capsys.readouterr().err


def test_in_a_workspace_the_command_knows_the_data(
    tmp_path: Path, drawn_lvis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clis.toml").write_text(f'[data]\nroot = "{drawn_lvis}"\n')
    manifest = Manifest(Categories([Category(1, "cup")]), (), {})
    monkeypatch.setattr(module, "crawl_google", lambda *words, **options: calls.append(options) or manifest)
    command("-o", "web")
    assert calls[0]["lvis"] == drawn_lvis / "lvis_v1_train.json"
    assert calls[0]["data"].root == drawn_lvis


@pytest.mark.parametrize("words", [("--only", "x"), ("--only", ""), ("--backend", "bing", "--urls", "u")])
def test_options_that_the_command_refuses(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(typer.BadParameter):
        command("-o", str(tmp_path), *words)


def test_a_dry_run_of_the_command(categories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("-o", str(tmp_path / "web"), "--lvis", str(categories), "--only", "f", "--dry-run")
    assert capsys.readouterr().out == "category_id,name,group,query,fallback\n10,drum,f,drum a thing,drum\n"
    assert not (tmp_path / "web").exists()


CHILD = """
import sys
from pathlib import Path
from clis_core.data.crawl.shared import CrawlOptions
from clis_core.errors import ClisError
from clis_core.jobs.crawl_google import crawl_google
from clis_core.report import SilentReporter
from tests.data.crawl.web import FAST, ToLocal, forbid_others

forbid_others(setattr)
out, categories, urls, port = sys.argv[1:]
adapters = {start: ToLocal(int(port)) for start in ("http://", "https://")}
options = CrawlOptions(limits=FAST, adapters=adapters, threads=3)
try:
    crawl_google(Path(out), lvis=Path(categories), urls=Path(urls), options=options, reporter=SilentReporter())
except ClisError as error:
    print(error.message)
    sys.exit(error.exit_code)
"""


def start(web: FakeWeb, out: Path, categories: Path, urls: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(out), str(categories), str(urls), str(web.port)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def many(web: FakeWeb, tmp_path: Path, pause: float) -> Path:
    """Forty addresses that answer slowly; some fail, some are doubles."""

    def answer(call: Call) -> None:
        web.over.wait(pause)
        number = int(call.http.path.rpartition("/")[2])
        if number % 10 == 3:
            call.answer(b"", 404)
        elif number % 10 == 7:
            call.answer(b"<html>")
        else:
            call.answer(jpeg(number % 30))

    web.routes["p.test"] = answer
    rows = {name: [f"http://p.test/{10 * n + i}" for i in range(10)] for n, name in enumerate(NAMES)}
    return write_urls(tmp_path, rows)


@pytest.mark.slow
def test_sigint_keeps_what_there_is(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    urls = many(web, tmp_path, pause=0.3)
    process = start(web, tmp_path / "web", categories, urls)
    wait_until(lambda: len(web.asked) > 10, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert out == f"Stopped by SIGINT; what was found and fetched is kept in {tmp_path / 'web' / '.crawl'}.\n"
    assert 0 < len(lines(tmp_path / "web" / ".crawl" / "records.jsonl")) < 40


@pytest.mark.slow
def test_kill_9_loses_nothing_and_doubles_nothing(web: FakeWeb, tmp_path: Path, categories: Path) -> None:
    urls = many(web, tmp_path, pause=0.05)
    undisturbed = start(web, tmp_path / "whole", categories, urls)
    assert undisturbed.wait(timeout=120) == 0, undisturbed.communicate()
    undisturbed.communicate()
    out, kills, chance = tmp_path / "web", 0, random.Random(0)
    while True:
        wanted = len(web.asked) + chance.randrange(2, 6)
        process = start(web, out, categories, urls)
        if kills == 5:
            text = process.communicate(timeout=120)
            assert process.returncode == 0, text
            break
        wait_until(lambda number=wanted: len(web.asked) >= number, process)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate(timeout=60)
        kills += 1
        done = len(lines(out / ".crawl" / "records.jsonl", torn=True))
        assert done < 40
    assert seen(out) == seen(tmp_path / "whole")
    assert len(seen(out)) == 40
    stored = [path.name for path in (out / ".crawl" / "pictures").rglob("*") if path.is_file()]
    whole = [path.name for path in (tmp_path / "whole" / ".crawl" / "pictures").rglob("*") if path.is_file()]
    assert sorted(stored) == sorted(whole)
    times = ("fetched",)
    mine, other = (
        {k: ({n: v for n, v in r.items() if n not in times}, data) for k, (r, data) in samples(folder).items()}
        for folder in (out, tmp_path / "whole")
    )
    assert mine == other


def seen(out: Path) -> list[tuple[Any, ...]]:
    """What became of each hit, as the log says it: every hit once."""
    rows = lines(out / ".crawl" / "records.jsonl")
    return sorted((r["category"], r["rank"], r["address"], r["outcome"], r.get("sha256", "")) for r in rows)


def test_a_bit_of_a_fetched_picture_that_is_wrong_later_is_noticed(
    web: FakeWeb, tmp_path: Path, categories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would still decode, and go into the shards with a hash of its own."""
    from clis_core.jobs import crawl_google as job

    whole, out = job.pack, tmp_path / "web"

    def pack(*args: Any, **options: Any) -> Any:
        (path,) = (p for p in (out / ".crawl" / "pictures").rglob("*") if p.is_file())
        data = bytearray(path.read_bytes())
        data[-200] ^= 1
        path.write_bytes(data)
        return whole(*args, **options)

    monkeypatch.setattr(job, "pack", pack)
    web.routes["p.test/a.jpg"] = jpeg(1)
    urls = write_urls(tmp_path, {NAMES[0]: ["http://p.test/a.jpg"]})
    with pytest.raises(DataError, match="is damaged: its sha256 is not that of its record") as caught:
        crawl_google(out, lvis=categories, urls=urls, options=how(web), reporter=SilentReporter())
    assert caught.value.hint
