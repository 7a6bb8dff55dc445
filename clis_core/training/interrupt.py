"""SIGINT and SIGTERM in, a flag out: a loop looks at it where stopping is safe."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

IMPATIENT = 1.0
"""Seconds after the first signal from which on a SIGINT is a person who does not want to wait."""


class StopRequest:
    """While the ``with`` block runs, the first SIGINT or SIGTERM sets `name`; a later SIGINT interrupts at once.

    Schedulers send SIGTERM to a process and to its group, so that it comes twice: further ones change nothing.

    In a thread other than the main one nothing is caught, since Python lets only the main thread do so.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def _catch(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.name is None:
            self.name, self._since = signal.Signals(number).name, now
        elif number == signal.SIGINT and now - self._since >= IMPATIENT:
            self._restore()
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
