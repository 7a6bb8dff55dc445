"""Modules to run go in; what their processes said, with nothing of theirs left alive, comes out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")
"""Words before those of a module: two processes with gloo, which may abort at their exit, when everything is done."""


def run_module(
    *words: str, check: bool = True, folder: Path = ROOT, seconds: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` to its end; nothing that it started outlives it.

    Args:
        words: the module and its arguments.
        check: that it ends with 0.
        folder: to run it in.
        seconds: that it may take.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, said = process.communicate(timeout=seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0 or not check, said
    return subprocess.CompletedProcess(words, process.returncode, out, said)


def wait_until(ready: Callable[[], object], process: subprocess.Popen[Any], seconds: float = 900) -> None:
    """Wait for something that a running process does."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill_when(ready: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """``kill -9`` once a running process has done something."""
    try:
        wait_until(ready, process)
    finally:
        process.kill()
        process.communicate()
