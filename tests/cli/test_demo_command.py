"""`clis demo` as it is typed: what it runs, what it tells, and how it goes on."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from clis_core.config.load import command_layer, preset_layer, resolve
from clis_core.jobs.demo import METRICS, Asked, Demo, Step, steps, typed
from tests.cli.test_help import COMMANDS
from tests.processes import ENVIRONMENT, ROOT


@pytest.mark.parametrize("asked", [Asked(), Asked(seed=5), Asked(quick=True)], ids=["full", "seed", "quick"])
def test_every_command_parses_and_its_settings_exist(asked: Asked, tmp_path: Path) -> None:
    show = Demo(tmp_path, asked)
    with show.open():
        (tmp_path / "clis.toml").touch()
        for name in ("predictions", *(f"runs/{step.run}/checkpoints" for step in steps(asked) if step.run)):
            (tmp_path / name).mkdir(parents=True)
    first = [step.words for step in steps(asked)]
    for step in steps(asked):
        if step.run:
            (tmp_path / "runs" / step.run / "checkpoints" / "step-00000001.pt").touch()
    again = [show.words(step) for step in steps(asked)]
    assert sum(a != b for a, b in zip(first, again, strict=True)) == 5
    for words in [*first, *again]:
        typed_words = shlex.split(typed(words))
        assert typed_words == ["clis", *words]
        given = COMMANDS[words[0]].make_context(words[0], list(words[1:]), resilient_parsing=False).params
        if words[0] == "train" and not given["resume"]:
            config = resolve([preset_layer(given["preset"]), command_layer(given["settings"] or [])])
            assert config.detector.head.specialised
            assert given["seed"] == (asked.seed or None)


def test_dry_run_prints_the_commands_and_touches_nothing(clis: Any, tmp_path: Path) -> None:
    shown = clis("demo", "new", "--dry-run")
    assert shown.code == 0
    lines = [line.removeprefix("would run    ") for line in shown.err.splitlines() if line.startswith("would run")]
    assert lines == [typed(step.words) for step in steps(Asked())]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_ends_with_4(clis: Any, tmp_path: Path) -> None:
    (tmp_path / "clis-demo").mkdir()
    (tmp_path / "clis-demo" / "mine.txt").touch()
    for extra in ((), ("--dry-run",), ("--quick", "--json")):
        shown = clis("demo", *extra)
        assert shown.code == 4
        assert "holds mine.txt" in shown.err
        assert "clis demo clis-demo-2" in shown.err
    assert os.listdir(tmp_path / "clis-demo") == ["mine.txt"]


def cheap(monkeypatch: pytest.MonkeyPatch, *commands: str) -> None:
    """Put commands in the place of the demo's, which train for minutes."""
    some = [Step(f"step-{n}", f"about {n}", tuple(shlex.split(words))) for n, words in enumerate(commands)]
    monkeypatch.setattr("clis_core.jobs.demo.steps", lambda asked: some)
    monkeypatch.setattr(Demo, "draw", lambda self: None)
    monkeypatch.setattr("clis_cli.commands.demo._tell", lambda show, as_json: None)


def test_a_command_that_fails_ends_the_demo_with_its_code_and_the_next_call_begins_with_it(
    clis: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cheap(monkeypatch, "presets baseline-tiny", "eval nothing", "presets")
    shown = clis("demo", "d")
    assert shown.code == 5  # of clis eval
    assert "[2/3] about 1\n$ clis eval nothing" in shown.err
    assert "clis eval ended with exit code 5" in shown.err
    assert "Go on with: clis demo d --seed 0\n" in shown.err
    assert "[3/3]" not in shown.err
    assert json.loads((tmp_path / "d" / "demo.json").read_text())["done"] == ["step-0"]
    cheap(monkeypatch, "eval nothing", "presets baseline-tiny", "presets")
    shown = clis("demo", "d")
    assert shown.code == 0
    assert "[1/3]" not in shown.err  # it had ended well under this name
    assert "[2/3] about 1\n$ clis presets baseline-tiny" in shown.err
    assert "$ cd d" in shown.err
    assert clis("demo", "d").err == ""


def test_many_cores_are_told_of_before_the_first_command(clis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap(monkeypatch, "presets")
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "$ cd a\n$ export OMP_NUM_THREADS=4\n" in clis("demo", "a").err
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "export" not in clis("demo", "b").err
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert "export" not in clis("demo", "c").err


def start(folder: Path, *words: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    # What a shell runs in its background ignores Ctrl-C, and so would all that it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "clis_cli", "demo", str(folder), "--quick", *words],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def stopped_in(folder: Path, until: str, number: signal.Signals) -> tuple[int, str]:
    """Run a demo until it says something, send a signal to it and its command, and wait; exit code and output."""
    process = start(folder)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if until in line:
            time.sleep(1)  # somewhere in the command's start, or in its work
            os.killpg(process.pid, number)
            break
    rest, _ = process.communicate(timeout=3600)
    return process.returncode, "".join(said) + rest


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo") / "undisturbed"
    process = start(folder, "--json", stderr=subprocess.PIPE)
    out, said = process.communicate(timeout=3600)
    assert process.returncode == 0, said
    return folder, json.loads(out)


@pytest.mark.slow
def test_everything_is_there_and_can_be_used(
    undisturbed: tuple[Path, dict[str, Any]], clis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, record = undisturbed
    assert [run["run"] for run in record["runs"]] == ["base", "base-longer", "clis"]
    for run in record["runs"]:
        metrics = json.loads((folder / "runs" / run["run"] / "eval-val" / "metrics.json").read_text())
        assert {name: run[name] for name in METRICS} == {name: metrics["metrics"][name] for name in METRICS}
        assert run["iterations"] == metrics["step"] > 0
        assert run["minutes"] > 0
    assert "<html" in Path(record["report"]).read_text()
    onnx.checker.check_model(onnx.load(folder / "clis.onnx"))
    found = json.loads((folder / "predictions" / "detections.json").read_text())
    assert len(found["images"]) == 9
    assert len(list((folder / "predictions").rglob("*.jpg"))) == 9
    again = clis("demo", str(folder), "--quick")  # nothing is left to do: the table alone
    assert again.code == 0
    assert "$ " not in again.err
    for run in record["runs"]:
        (row,) = [line.split() for line in again.out.splitlines() if line.split()[:1] == [run["run"]]]
        cells = [str(run["iterations"]), f"{run['minutes']:.1f}", *(f"{run[name]:.1f}" for name in METRICS)]
        assert row[1:] == cells
    assert f"Report: {record['report']}" in again.out
    assert "mean nothing" in again.err
    assert clis("demo", str(folder)).code == 3  # a full one in the folder of a quick one
    monkeypatch.chdir(folder)
    for words in ("shards info", "eval clis --dry-run", "train --dry-run -o mine", "report base clis --dry-run"):
        assert clis(*words.split()).code == 0, words


@pytest.mark.slow
def test_a_demo_that_was_stopped_and_killed_ends_as_the_undisturbed_one(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    first, wanted = undisturbed
    folder = tmp_path / "stopped"
    for until, number, codes in (
        ("Drawing", signal.SIGINT, {130}),
        ("$ clis build-images", signal.SIGKILL, {-9}),
        ("train 1", signal.SIGKILL, {-9}),
        ("$ clis gen-regions", signal.SIGINT, {130}),
        ("pictures of 16 classes", signal.SIGINT, {130}),
        ("$ clis eval", signal.SIGTERM, {130}),
        ("$ clis report", signal.SIGINT, {130}),
        ("$ clis export", signal.SIGKILL, {-9}),
        ("$ clis predict", signal.SIGINT, {130}),
    ):
        code, said = stopped_in(folder, until, number)
        assert code in codes, (until, said)
        if number != signal.SIGKILL:
            assert "Traceback" not in said, said
    process = start(folder, "--json")
    said, _ = process.communicate(timeout=3600)
    assert process.returncode == 0, said
    record = json.loads(said[said.index("{\n") :])
    for run, other in zip(record["runs"], wanted["runs"], strict=True):
        assert {**run, "minutes": 0} == {**other, "minutes": 0}
    for run in ("base", "base-longer", "clis"):
        assert last_weights(folder / "runs" / run) == last_weights(first / "runs" / run)


def last_weights(run: Path) -> str:
    texts = [json.loads(line).get("text", "") for line in (run / "log.jsonl").read_text().splitlines()]
    return [text for text in texts if text.startswith("Weights after")][-1]
