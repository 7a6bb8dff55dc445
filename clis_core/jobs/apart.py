"""A job and its arguments in; what it returns, from a process of its own, out.

Its peak memory is then its own, and what kills it leaves this process alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing import connection
from typing import Any, TypeVar

from clis_core.errors import ClisError, Interrupted
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest

T = TypeVar("T")
LOOK = 0.2
"""Seconds between two looks at whether someone wants to stop."""
PATIENCE = 10.0
"""Seconds that a process has to end after its answer."""
AGAIN = "Run the same command again to go on."


def apart(
    job: Callable[..., T], *words: Any, reporter: Reporter, tick: Callable[[], None] | None = None, **options: Any
) -> T:
    """Call ``job(*words, reporter=..., **options)`` in a process of its own; SIGINT and SIGTERM are passed on to it.

    Args:
        job: a function of a module.
        words: its arguments; they and its result are sent between the processes.
        reporter: gets what the job says.
        tick: called when the job begins, once its process has read the program, and now and then while it runs.
        options: further arguments by name.

    Raises:
        ClisError: what the job raises, or its process was killed.
        Interrupted: SIGINT or SIGTERM.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, words, options, theirs))
    with StopRequest() as stop:
        with _ignoring_ctrl_c():
            process.start()
        theirs.close()
        told = answered = begun = False
        try:
            while True:
                ready = connection.wait([ours, process.sentinel], LOOK)
                if tick is not None and begun:
                    tick()
                if stop.name and not told:
                    process.terminate()  # after a Ctrl-C it has that already, which this does not change
                    told = True
                if ours in ready:
                    kind, value = _received(ours)
                    if kind == "begin":
                        begun = True
                    elif kind in ("info", "warn", "progress", "record"):
                        getattr(reporter, kind)(*value)
                    else:
                        answered = True
                        found: T = _result(kind, value)
                        break
                elif ready:
                    raise _WordlessEnd
        except _WordlessEnd:
            process.join()
            raise _ended(stop.name, process.exitcode) from None
        finally:
            process.join(PATIENCE if answered else 0)
            process.kill()
            process.join()
            ours.close()
        if stop.name:  # which the job has not heard of any more
            raise Interrupted(f"Stopped by {stop.name}.", hint=AGAIN)
    return found


class _WordlessEnd(Exception):
    """The process has ended without an answer, or in the middle of one."""


def _received(pipe: connection.Connection) -> tuple[str, Any]:
    try:
        kind, value = pipe.recv()
    except (EOFError, OSError):
        raise _WordlessEnd from None
    return kind, value


def _result(kind: str, value: Any) -> Any:
    if kind == "result":
        return value
    if isinstance(value, Interrupted):
        raise Interrupted(value.message, hint=AGAIN)
    raise value


def _ended(stopped: str | None, code: int | None) -> ClisError:
    """Why a process ended without an answer."""
    if stopped:
        return Interrupted(f"Stopped by {stopped}.", hint=AGAIN)
    if code == -signal.SIGKILL:
        return ClisError(
            "Its process was killed, as the system does when memory is full.",
            hint="End other programs and run the same command again; or less at a time, in another folder: "
            "--set train.batch=N --set data.workers=1 -o FOLDER",
        )
    return ClisError(f"Its process ended with code {code}.", hint=AGAIN)


@contextlib.contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C, until it catches it itself: no traceback of a process that begins."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Relay:
    """Sends everything to the other process."""

    def __init__(self, pipe: connection.Connection) -> None:
        self._pipe = pipe

    def info(self, text: str) -> None:
        self._pipe.send(("info", (text,)))

    def warn(self, text: str) -> None:
        self._pipe.send(("warn", (text,)))

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        self._pipe.send(("progress", (task, done, total, figures)))

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        self._pipe.send(("record", (kind, dict(values))))


def _child(
    job: Callable[..., Any], words: tuple[Any, ...], options: dict[str, Any], pipe: connection.Connection
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        pipe.send(("begin", None))
        pipe.send(("result", job(*words, reporter=_Relay(pipe), **options)))
    except KeyboardInterrupt:  # the second Ctrl-C; the other process has it as well
        pass
    except Exception as error:
        error.add_note(traceback.format_exc())
        pipe.send(("error", _picklable(error)))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent() -> None:
    """Die as the process that asked did: one that was killed cannot say so, and its successor wants the run folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
