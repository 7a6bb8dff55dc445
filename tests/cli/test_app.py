"""Exit codes and stderr of each kind of error; what `clis --help` imports."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clis_core import __version__
from clis_core.errors import (
    CheckpointError,
    ClisError,
    ConfigError,
    DataError,
    Interrupted,
    TrainingDiverged,
)

ROOT = Path(__file__).parents[2]
TRAIN = ("train", "--data", "d", "--preset", "baseline-tiny", "-o", "run")


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no", hint="do"), 3),
        (DataError("no", hint="do"), 4),
        (CheckpointError("no", hint="do"), 5),
        (TrainingDiverged("no", hint="do"), 6),
        (ClisError("no", hint="do"), 1),
    ],
)
def test_an_error_is_a_message_a_hint_and_a_code(clis: Any, fake_job: Any, error: ClisError, code: int) -> None:
    fake_job("clis_core.jobs.train", "train", error)
    assert clis(*TRAIN) == (code, "", "Error: no\nHint: do\n")


def test_an_interrupted_job_is_no_error(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.train", "train", Interrupted("Stopped.", hint="clis train --resume"))
    assert clis(*TRAIN) == (130, "", "Stopped.\nHint: clis train --resume\n")


def test_ctrl_c(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.train", "train", KeyboardInterrupt())
    assert clis(*TRAIN) == (130, "", "Interrupted.\n")


def test_anything_else_is_our_bug(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.train", "train", ZeroDivisionError("by zero"))
    result = clis(*TRAIN)
    assert result.code == 1
    assert result.err.startswith("Error: This is a bug in clis: ZeroDivisionError: by zero\n")
    assert "clis train --data d --preset baseline-tiny -o run --debug" in result.err
    assert "Traceback" not in result.err


def test_a_file_that_cannot_be_written_is_no_bug(clis: Any, fake_job: Any) -> None:
    fake_job("clis_core.jobs.train", "train", PermissionError(13, "Permission denied", "/runs"))
    result = clis(*TRAIN)
    assert result.code == 4
    assert result.err.startswith("Error: Permission denied: /runs\nHint: ")


@pytest.mark.parametrize("words", [("--debug", *TRAIN), (*TRAIN, "--debug"), (TRAIN[0], "--debug", *TRAIN[1:])])
def test_debug_shows_the_traceback_anywhere(clis: Any, fake_job: Any, words: tuple[str, ...]) -> None:
    for error, code in ((ConfigError("no"), 3), (ZeroDivisionError("no"), 1)):
        fake_job("clis_core.jobs.train", "train", error)
        result = clis(*words)
        assert result.code == code
        assert "Traceback" in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("nope",),
        ("train", "--nope"),
        ("train", "--iterations", "many"),
        ("eval", "--split", "test"),
        ("bench", "nope"),
        ("eval", "--gt", "x.json"),
    ],
)
def test_usage_errors_are_2(clis: Any, words: tuple[str, ...]) -> None:
    result = clis(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err
    assert "Traceback" not in result.err


def test_version(clis: Any) -> None:
    assert clis("--version") == (0, f"clis {__version__}\n", "")


def test_no_command_shows_the_help(clis: Any) -> None:
    assert "Usage: clis" in "".join(clis()[1:])


def test_as_a_module_and_without_torch() -> None:
    assert python("-m", "clis_cli", "--version").stdout == f"clis {__version__}\n"
    shown = python("-X", "importtime", "-m", "clis_cli", "--help")
    assert shown.returncode == 0
    assert "Usage: clis" in shown.stdout
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in shown.stderr.splitlines()}
    assert {"typer", "clis_cli"} <= imported
    assert not {"torch", "torchvision", "numpy", "pydantic"} & imported


def test_presets_and_a_dry_run_need_no_torch(tmp_path: Path) -> None:
    dry = ["train", "--data", "d", "-o", str(tmp_path / "run"), "--dry-run"]
    for words in (["presets"], ["presets", "baseline-small"], dry):
        code = f"import sys; sys.argv[1:] = {words!r}\nfrom clis_cli.app import main\ntry: main()\n"
        code += "except SystemExit as end: assert end.code == 0\nassert 'torch' not in sys.modules"
        assert python("-c", code).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_reader_that_leaves_is_no_bug() -> None:
    read, write = os.pipe()
    os.close(read)  # as `head` does, when it has seen enough
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "clis_cli", "presets"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Error: No space left on device\nHint: Make room"),
        (
            OSError(errno.ENOSPC, "No space left on device", "o/x"),
            "Error: No space left on device: o/x\nHint: Make room",
        ),
        (OSError(errno.EFBIG, "File too large"), "Error: File too large\nHint: Files may not be that large"),
        (OSError(errno.EROFS, "Read-only file system", "o"), "Error: Read-only file system: o\nHint: The file system"),
        (PermissionError(errno.EACCES, "Permission denied", "o"), "Error: Permission denied: o\nHint: You may not"),
    ],
)
def test_what_is_wrong_with_the_disk_is_no_bug(clis: Any, fake_job: Any, error: OSError, said: str) -> None:
    fake_job("clis_core.jobs.train", "train", error)
    shown = clis(*TRAIN)
    assert shown.code == 4
    assert said in shown.err
    assert "a bug in clis" not in shown.err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("[x] DefaultCPUAllocator: can't allocate memory: 4 bytes\nmore"),
            "can't allocate memory: 4 bytes",
        ),
        (MemoryError("Unable to allocate 9 GiB"), "Unable to allocate 9 GiB"),
        (MemoryError(), ""),
    ],
)
def test_full_memory_is_no_bug(clis: Any, fake_job: Any, error: Exception, said: str) -> None:
    fake_job("clis_core.jobs.train", "train", error)
    shown = clis(*TRAIN)
    assert shown.code == 1
    assert shown.err.startswith("Error: Out of memory")
    assert said in shown.err
    assert "smaller --batch" in shown.err
    assert "bug" not in shown.err
    assert "more" not in shown.err


@pytest.mark.parametrize(("rank", "told"), [("0", True), ("1", False)])
def test_commands_that_processes_cannot_share_are_refused_by_one_of_them(
    clis: Any, monkeypatch: pytest.MonkeyPatch, rank: str, told: bool
) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    shown = clis("presets")
    assert shown.code == 3
    assert ("clis presets runs in one process" in shown.err) is told
    assert shown.out == ""


@pytest.mark.parametrize("command", ["train", "gen-regions", "eval"])
def test_commands_that_processes_share_are_not(clis: Any, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process" not in clis(command, "--nonsense").err
