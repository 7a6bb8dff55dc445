"""`clis download` as it is typed: what is shown, what is asked, what a signal leaves."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data.download.web import Web, serving

ROOT = Path(__file__).parents[2]
NAMES = ("lvis_v0.5_val.json", "lvis_v0.5_train.json")
TEXT = {name: os.urandom(300_000) for name in NAMES}  # no json: nothing here reads it


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr(name, TEXT[name])
    return buffer.getvalue()


@pytest.fixture
def web() -> Iterator[Web]:
    with serving({f"{name}.zip": zipped(name) for name in NAMES}) as site:
        yield site


def words(web: Web, *more: str) -> list[str]:
    return ["download", "lvis-v0.5", "--only", "annotations", "--base-url", web.address, *more]


def test_a_download_from_a_mirror(clis: Any, web: Web, tmp_path: Path) -> None:
    shown = clis(*words(web, "--yes"))
    assert shown.code == 0, shown.err
    assert shown.out == ""
    folder = tmp_path / "data" / "lvis-v0.5"
    assert {p.name: p.read_bytes() for p in (folder / "annotations").iterdir()} == TEXT
    assert "lvis_v0.5_train.json.zip" in shown.err
    assert "No checksum of lvis_v0.5_train.json.zip is known" in shown.err
    assert " to fetch; about " in shown.err
    assert "of disk needed" in shown.err
    assert "Next: clis init --data data/lvis-v0.5" in shown.err
    again = clis(*words(web))  # nothing to do needs no yes
    assert again.code == 0
    assert "nothing to do" in again.err


def test_dry_run_fetches_nothing(clis: Any, web: Web, tmp_path: Path) -> None:
    shown = clis(*words(web, "--dry-run", "--json", "-o", "there"))
    assert shown.code == 0
    record = json.loads(shown.out)
    assert record["folder"] == "there"
    assert [a["state"] for a in record["archives"]] == ["fetch", "fetch"]
    assert record["to_fetch"] == sum(len(data) for data in web.files.values())
    assert {method for method, *_ in web.asked} == {"HEAD"}
    assert list(tmp_path.iterdir()) == []


def test_json_is_clean(clis: Any, web: Web) -> None:
    record = json.loads(clis(*words(web, "-y", "--json")).out)
    assert record["unpacked"]["lvis_v0.5_val.json.zip"] == {"written": 1, "there": 0, "other": 0}


def test_nobody_to_ask_is_a_usage_error(clis: Any, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    shown = clis(*words(web))
    assert shown.code == 2
    assert "--yes" in shown.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("answer", "fetched"), [("n\n", False), ("y\n", True)])
def test_it_asks(
    clis: Any, web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fetched: bool
) -> None:
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    shown = clis(*words(web))
    assert shown.code == 0
    assert "Download? [Y/n]" in shown.err
    assert ("Nothing was downloaded." in shown.err) is not fetched
    assert (tmp_path / "data").exists() is fetched


def test_mistakes(clis: Any, web: Web) -> None:
    assert clis("download", "lvis").code == 3
    assert clis("download", "coco-2017", "--only", "test").code == 3
    web.files.clear()
    gone = clis(*words(web, "--yes"))
    assert gone.code == 4
    assert "answers 404" in gone.err
    assert "Hint: " in gone.err
    assert "Traceback" not in gone.err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_signal_leaves_what_has_come(web: Web, tmp_path: Path, number: int, code: int) -> None:
    name = f"{NAMES[0]}.zip"
    web.stalls[name] = 200_000
    command = [sys.executable, "-m", "clis_cli", *words(web, "--yes", "-o", str(tmp_path / "d"))]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    part = tmp_path / "d" / ".download" / f"{name}.part"
    end = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    if code == 130:
        assert "what has come is kept in" in said
        assert "Hint: Run the same command again to go on." in said
        assert "Traceback" not in said
    have = part.stat().st_size
    web.go_on.set()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "d" / "annotations").iterdir()} == TEXT
    assert web.ranges_asked(name) == [None, f"bytes={have}-"]


@pytest.mark.parametrize("how", ["gone", "cut", "scheme", "brackets", "whole"])
def test_a_password_of_a_mirror_is_never_shown_or_kept(clis: Any, web: Web, tmp_path: Path, how: str) -> None:
    address = web.address.replace("http://", "http://me:s3cret@")
    if how == "gone":
        web.files.clear()
    elif how == "cut":
        web.answers = {f"{name}.zip": [(404, {})] for name in NAMES}
    elif how == "scheme":
        address = "ftp://me:s3cret@host/x"
    elif how == "brackets":
        address = "http://me:s3cret@[host/x"
    words = ["download", "lvis-v0.5", "--only", "annotations", "--base-url", address, "-o", "d", "--json"]
    shown = clis(*words, "--yes")
    assert shown.code == (0 if how == "whole" else 4)
    assert "s3cret" not in shown.err.replace(f"--base-url {address}", "")
    assert "s3cret" not in shown.out
    for path in (tmp_path / "d").rglob("*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path
