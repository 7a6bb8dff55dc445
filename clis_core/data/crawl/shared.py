"""How a crawl shall behave goes in; what its threads share comes out: when to stop, what went wrong, queues."""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from requests.adapters import BaseAdapter

from clis_core.data.crawl.backends.backend import Blocked
from clis_core.data.crawl.fetch import Limits, StoppedError
from clis_core.data.crawl.filters import Filter
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.errors import DataError

TICK = 0.05
"""Seconds after which a waiting thread looks whether it shall stop."""
END = object()
"""Stands at the end of a queue."""


@dataclass(frozen=True)
class CrawlOptions:
    """How a crawl behaves.

    Attributes:
        per_category: hits of a category that are fetched.
        threads: that fetch pictures.
        limits: of each fetch.
        filter: which pictures are of no use.
        blocked: categories in a row without an answer after which the search is given up.
        silent: hosts in a row without an answer after which the network is taken to be down.
        robots: obey each host's robots.txt.
        contact: how the owner of a host can reach the user; stands in the User-Agent.
        seed: of the random part of waiting.
        allow_private: fetch from addresses that are none of the public internet.
        adapters: of the session, by the beginning of addresses, beside the usual ones.
    """

    per_category: int = 100
    threads: int = 8
    limits: Limits = field(default_factory=Limits)
    filter: Filter = field(default_factory=Filter)
    blocked: int = 5
    silent: int = 40
    robots: bool = True
    contact: str | None = None
    seed: int = 0
    allow_private: bool = False
    adapters: Mapping[str, BaseAdapter] = field(default_factory=dict)


class Shared:
    """What the threads of a crawl share.

    Args:
        folder: keeps what was found and fetched.
        options: how to behave.
        backend: what to call the place that is searched.
        repeat: search again for categories that have been searched: a list of addresses may have grown.

    Attributes:
        stop: is set when everything shall end.
        failure: the first error; None as long as there is none.
        given_up: what came instead of answers when the search was given up.
        warnings: that a person should see.
    """

    def __init__(self, folder: CrawlFolder, options: CrawlOptions, backend: str, *, repeat: bool) -> None:
        self.folder, self.options, self.backend, self.repeat = folder, options, backend, repeat
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self.given_up: Blocked | None = None
        self.warnings: queue.SimpleQueue[str] = queue.SimpleQueue()

    def fail(self, error: BaseException) -> None:
        """End the crawl for an error."""
        if self.failure is None and not isinstance(error, StoppedError):
            self.failure = _explained(error, self.folder)
        self.stop.set()

    def put(self, to: queue.Queue[Any], item: object) -> None:
        """Put something into a queue.

        Raises:
            StoppedError: the crawl is to end.
        """
        while not self.stop.is_set():
            try:
                return to.put(item, timeout=TICK)
            except queue.Full:
                continue
        raise StoppedError

    def take(self, source: queue.Queue[Any]) -> Any:
        """Take something from a queue; None at its end.

        Raises:
            StoppedError: the crawl is to end.
        """
        while not self.stop.is_set():
            try:
                item = source.get(timeout=TICK)
            except queue.Empty:
                continue
            return None if item is END else item
        raise StoppedError


def _explained(error: BaseException, folder: CrawlFolder) -> BaseException:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk of {folder.path} is full; what was fetched is kept.",
            hint="Make room and run the same command again to go on.",
        )
    return error
