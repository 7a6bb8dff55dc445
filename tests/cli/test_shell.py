"""What shells and scripts expect of a command: completion, NO_COLOR, `python -m`."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CLIS = [sys.executable, "-m", "clis_cli"]
ESCAPE = b"\x1b["


def completed(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    asked = {"_CLIS_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(CLIS, env={**os.environ, **asked}, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("clis", "tr"), {"train"}),
        (("clis", "shards", ""), {"fetch", "info", "verify"}),
        (("clis", "train", "--res"), {"--resume", "--resume-or-start"}),
        (("clis", "train", "--preset", "clis-s"), {"clis-small"}),
        (("clis", "presets", "clis-s"), {"clis-small"}),
        (("clis", "presets", "diff", "clis-small", "baseline-s"), {"baseline-small"}),
    ],
)
def test_words_are_completed(words: tuple[str, ...], offered: set[str]) -> None:
    assert set(completed(*words)) == offered


def test_completing_needs_no_torch() -> None:
    asked = {"_CLIS_COMPLETE": "complete_bash", "COMP_WORDS": "clis train --preset clis-t", "COMP_CWORD": "3"}
    command = [sys.executable, "-X", "importtime", *CLIS[1:]]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["clis-tiny"]
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not {"torch", "torchvision", "numpy"} & imported


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_installed_script(tmp_path: Path) -> None:
    shim = tmp_path / "clis"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m clis_cli "$@"\n')
    shim.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = subprocess.run(
        ["clis"], env={**environment, "_CLIS_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    type_it = (
        'COMP_WORDS=(clis shards ver); COMP_CWORD=2; _clis_completion clis; echo "${COMPREPLY[@]}"; complete -p clis'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{type_it}"], env=environment, capture_output=True, text=True, check=True
    )
    offered, bound = done.stdout.splitlines()
    assert offered == "verify"
    assert "_clis_completion" in bound


def on_a_terminal(folder: Path, *words: str, **environment: str) -> bytes:
    """What a terminal gets to see."""
    ours, theirs = pty.openpty()
    given = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [*CLIS, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env={**given, **environment}
    ):
        os.close(theirs)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # how Linux tells that nobody holds the other end any more
                piece = b""
            if not piece:
                break
            seen += piece
    os.close(ours)
    return seen


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path, "presets", "nope", TERM="xterm")
    assert b"There is no preset" in shown
    assert ESCAPE in shown
    assert ESCAPE in on_a_terminal(tmp_path, "presets", "nope", TERM="xterm", NO_COLOR="")  # empty is not set
    plain = on_a_terminal(tmp_path, "presets", "nope", TERM="xterm", NO_COLOR="1")
    assert b"There is no preset" in plain
    assert ESCAPE not in plain


def test_a_pipe_gets_no_colours(tmp_path: Path) -> None:
    for words in (("--help",), ("presets", "diff", "baseline-tiny", "clis-tiny"), ("presets", "nope")):
        done = subprocess.run([*CLIS, *words], capture_output=True, cwd=tmp_path, check=False, timeout=60)
        assert done.stdout + done.stderr
        assert ESCAPE not in done.stdout + done.stderr
