"""The words of a command go in; a process of its own runs it and is disturbed; how it ended comes out.

The process is forked from one that has imported everything, so that hundreds of them take minutes. All else is as when
it is typed: a session of its own, signals, limits, another user.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Disturbance:
    """What happens to a process.

    Attributes:
        at_event: number of the change of files before which ``event`` happens; None never.
        event: "kill", or "full": that change and all later ones find the disk full.
        at_time: seconds after which ``action`` is called with the process's id; None never.
        action: see ``at_time``.
        file_size: largest file that it may write, bytes.
        obeys_permissions: root may not write either where a folder forbids it.
        clock: seconds that `time.time` is put forward or back by, from a call on.
    """

    at_event: int | None = None
    event: str = "kill"
    at_time: float | None = None
    action: Callable[[int], None] | None = None
    file_size: int | None = None
    obeys_permissions: bool = False
    clock: tuple[int, float] | None = None


@dataclass
class Ended:
    """How a process ended.

    Attributes:
        code: its exit code, or minus the signal that killed it.
        said: what it wrote to stderr.
        seconds: that it took.
        events: changes of files that it made.
    """

    code: int
    said: str
    seconds: float
    events: int = 0
    fired: bool = field(default=True)


def preload() -> None:
    """Import what commands import, once."""
    import clis_core.data.crawl.engine
    import clis_core.data.near_duplicates
    import clis_core.evaluation.evaluate
    import clis_core.jobs.crawl_google
    import clis_core.jobs.download
    import clis_core.jobs.export
    import clis_core.jobs.gen_regions
    import clis_core.jobs.predict
    import clis_core.jobs.report
    import clis_core.jobs.train  # noqa: F401

    with contextlib.suppress(ImportError):
        import onnxscript  # noqa: F401


def run(words: tuple[str, ...], folder: Path, how: Disturbance | None = None, limit: float = 300.0) -> Ended:
    """Run a command in a folder and disturb it."""
    how = how or Disturbance()
    said, counted = folder.parent / "said.txt", folder.parent / "events.txt"
    for file in (said, counted):
        file.write_bytes(b"")
        file.chmod(0o666)
    began = time.monotonic()
    process = os.fork()
    if process == 0:
        _child(words, folder, how, said, counted)
    fired = how.at_time is None
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            break
        passed = time.monotonic() - began
        if not fired and how.at_time is not None and passed >= how.at_time:
            fired = True
            assert how.action is not None
            how.action(process)
        if passed > limit:
            with contextlib.suppress(OSError):
                said.open("a").write(f"still running after {limit} s: {Path(f'/proc/{process}/wchan').read_text()}\n")
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)  # workers that outlive it by seconds
    code = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    said_text = said.read_text(errors="replace")
    return Ended(code, said_text, seconds, int(counted.read_text() or 0), fired)


def children_of(process: int) -> list[int]:
    """Processes that a process has started."""
    with contextlib.suppress(OSError):
        return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def _child(words: tuple[str, ...], folder: Path, how: Disturbance, said: Path, counted: Path) -> None:
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a shell's background
        os.chdir(folder)
        with said.open("wb") as file:
            os.dup2(file.fileno(), 2)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[attr-defined]
        _prepare(how)
        events = _Events(folder, how, os.open(counted, os.O_WRONLY))
        sys.addaudithook(events.hook)
        from clis_cli.app import main

        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except KeyboardInterrupt:
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        if code == -signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code)


def _prepare(how: Disturbance) -> None:
    from clis_core.data.crawl import engine
    from clis_core.data.shards import builder

    builder.CHECKPOINT_BYTES = 20_000  # small data, and yet more than one checkpoint
    guarded = engine.GuardedAdapter
    engine.GuardedAdapter = lambda **options: guarded(**{**options, "allow_private": True})  # type: ignore[assignment,misc]
    if how.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (how.file_size, how.file_size))
    if how.obeys_permissions and os.getuid() == 0:
        _obey_permissions()
    if how.clock is not None:
        _shift_clock(*how.clock)


def _obey_permissions() -> None:
    """Take from root what lets it pass over permissions: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capget(header, data):
        raise OSError(ctypes.get_errno(), "capget")
    for k in (0, 1):  # effective, permitted
        data[k] &= ~0b1110
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")


def _shift_clock(calls: int, seconds: float) -> None:
    """Put the clock forward or back, from some call on."""
    true_time, true_ns = time.time, time.time_ns
    count = 0

    def shift() -> float:
        nonlocal count
        count += 1
        return seconds if count > calls else 0.0

    time.time = lambda: true_time() + shift()
    time.time_ns = lambda: true_ns() + int(shift() * 1e9)


class _Events:
    """Counts the changes of files in a folder, and does at one of them what it is told."""

    def __init__(self, folder: Path, how: Disturbance, counted: int) -> None:
        self._start = str(folder)
        self._how, self._counted = how, counted
        self._process, self._count = os.getpid(), 0
        self._busy = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _WRITES:
            return
        if self._busy or os.getpid() != self._process or not self._changes(event, arguments):
            return
        self._busy = True
        try:
            self._happened(event, arguments)
        finally:
            self._busy = False

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _FLAGS):
            return False
        place = arguments[0]
        if not isinstance(place, (str, bytes, os.PathLike)):
            return False
        return os.path.abspath(os.fsdecode(place)).startswith(self._start)

    def _happened(self, event: str, arguments: tuple[Any, ...]) -> None:
        number, self._count = self._count, self._count + 1
        os.pwrite(self._counted, b"%d" % self._count, 0)
        if self._how.at_event is None or number < self._how.at_event:
            return
        if self._how.event == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if event not in ("os.remove", "os.rmdir"):  # which need no room
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))
