"""What brings a file to disk goes in; a thread does it while the file is still written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

ENOUGH = 64 << 20
"""Bytes of a file after which the disk may well begin."""


class EarlySync:
    """Lets the disk begin early, so that the fsync that counts has little left to do.

    A system tells a failed fsync once: what `wait` raises must not be passed over.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[object] | None = None

    def begin(self, sync: Callable[[], object]) -> bool:
        """Run ``sync`` in the thread, which has to keep its file open; False: it is still busy.

        Raises:
            OSError: the one before failed.
        """
        if self._running is not None and not self._running.done():
            return False
        self.wait()
        self._running = self._thread.submit(sync)
        return True

    def wait(self) -> None:
        """Wait for what was begun.

        Raises:
            OSError: it failed.
        """
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """Wait, and end the thread."""
        self._thread.shutdown()
