"""Queries go in; three pools of threads hand them on to each other, and every hit ends in one record.

icrawler gives the pools. Their loops are our own: icrawler's drop a page that fails three times without a word, end the
downloads when no hit has come for five seconds, and end a thread on an error.
"""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from icrawler import Feeder, ImageDownloader, Parser

from clis_core.data.crawl.backends.backend import Blocked
from clis_core.data.crawl.fetch import Fetcher
from clis_core.data.crawl.filters import examine
from clis_core.data.crawl.queries import Query
from clis_core.data.crawl.record import KEPT, Record, Task
from clis_core.data.crawl.response import FetchError
from clis_core.data.crawl.search import Search
from clis_core.data.crawl.shared import END, Shared
from clis_core.data.picture import RefusedPictureError
from clis_core.errors import DataError


class QueryFeeder(Feeder):  # type: ignore[misc]
    """Feeds the queries, in order."""

    def __init__(self, thread_num: int, signal: Any, session: Any, shared: Shared) -> None:
        super().__init__(thread_num, signal, session)
        self._shared = shared
        self.out_queue: queue.Queue[Any] = queue.Queue(
            maxsize=2
        )  # icrawler's own remembers everything that went through

    def worker_exec(self, queries: Iterable[Query]) -> None:
        """Feed them."""
        try:
            for query in queries:
                self._shared.put(self.out_queue, query)
            self._shared.put(self.out_queue, END)
        except BaseException as error:
            self._shared.fail(error)


class SearchParser(Parser):  # type: ignore[misc]
    """Searches for one category after the other; its hits go on to the downloader.

    Attributes:
        categories: that were handed on, searched or given up.
    """

    def __init__(self, thread_num: int, signal: Any, session: Any, shared: Shared, search: Search) -> None:
        super().__init__(thread_num, signal, session)
        self._shared = shared
        self._search_for = search
        self._in_a_row = 0
        self.categories = 0
        self.out_queue: queue.Queue[Any] = queue.Queue(maxsize=4 * shared.options.threads)

    def worker_exec(self) -> None:
        """Search until there are no more queries, or until nothing is answered any more."""
        shared = self._shared
        again: list[Query] = []
        try:
            while (query := shared.take(self.in_queue)) is not None:
                if not self._search(query):
                    again.append(query)
            for query in again:
                self._search(query)
            for _ in range(shared.options.threads):
                shared.put(self.out_queue, END)
        except BaseException as error:
            shared.fail(error)

    def _search(self, query: Query) -> bool:
        """Find the hits of a category and hand on those that have no record; False if the search went unanswered."""
        shared, folder, category = self._shared, self._shared.folder, query.category.id
        if shared.repeat or not folder.is_searched(category):
            if shared.given_up is not None:
                return True
            found = self._search_for(query, shared.options.per_category)
            if isinstance(found, Blocked):
                self._note(query, found)
                return False
            self._in_a_row = 0
            have = {task.hit.address for task in folder.tasks(category)}
            room = max(0, shared.options.per_category - len(have))
            new = [f for f in found if f.hit.address not in have][:room]
            if new or not shared.repeat:
                folder.add_search(category, shared.backend, new)
        for task in folder.tasks(category):
            if not folder.is_done(task):
                shared.put(self.out_queue, task)
        self.categories += 1
        return True

    def _note(self, query: Query, blocked: Blocked) -> None:
        """Say that a search went unanswered; after some in a row the place is given up."""
        shared = self._shared
        shared.folder.add_problem(query.category.id, shared.backend, blocked.what)
        self._in_a_row += 1
        shared.warnings.put(f"No answer for {query.category.name!r}: {shared.backend} {blocked.what}.")
        if blocked.final or self._in_a_row >= shared.options.blocked:
            shared.given_up = blocked


class PictureDownloader(ImageDownloader):  # type: ignore[misc]
    """Fetches pictures; every hit ends in one record.

    Attributes:
        kept: pictures that were kept in this run.
        refused: hits that were not.
    """

    def __init__(
        self, thread_num: int, signal: Any, session: Any, storage: Any, shared: Shared, fetcher: Fetcher
    ) -> None:
        super().__init__(thread_num, signal, session, storage)
        self._shared = shared
        self._fetcher = fetcher
        self._waiting: dict[str, list[Task]] = {}
        self._silent: set[str] = set()
        self.kept = self.refused = 0

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Start the threads."""
        self.init_workers()
        for worker in self.workers:
            worker.start()

    def worker_exec(self) -> None:
        """Fetch until there are no more hits."""
        shared = self._shared
        try:
            while (task := shared.take(self.in_queue)) is not None:
                self.download(task)
        except BaseException as error:
            shared.fail(error)

    def download(self, task: Task, *args: Any, **kwargs: Any) -> None:
        """Fetch a picture and note what became of it, for every hit with this address."""
        address = task.hit.address
        with self.lock:
            if address in self._waiting:  # another thread fetches it just now
                self._waiting[address].append(task)
                return
            self._waiting[address] = []
        try:
            known = self._shared.folder.known(address)
            record, data = (known.moved_to(task), None) if known else self.keep_file(task, None)
            self.process_meta(record, data)
        finally:
            with self.lock:
                others = self._waiting.pop(address)
        for other in others:
            self.process_meta(record.moved_to(other), None)

    def keep_file(self, task: Task, response: None, **kwargs: Any) -> tuple[Record, bytes | None]:
        """Fetch a picture and look at it: its record, and its bytes if it is of use."""
        shared = self._shared
        try:
            fetched = self._fetcher.picture(task.hit.address)
        except FetchError as error:
            self._note_silence(task, error)
            more = {"detail": error.detail, "passing": error.passing, "status": error.status}
            return Record.of(task, error.reason, **more), None
        with self.lock:
            self._silent.clear()
        try:
            facts = examine(fetched.body, task.hit.address[:200], shared.options.filter)
        except RefusedPictureError as error:
            return Record.of(task, error.reason, detail=error.detail[:200], status=fetched.status), None
        named = {**facts._asdict(), "hash": f"{facts.hash:016x}"}
        return Record.of(task, KEPT, status=fetched.status, **named), fetched.body

    def process_meta(self, record: Record, data: bytes | None) -> None:
        """Keep what became of a hit."""
        self._shared.folder.add(record, data)
        with self.lock:
            self.kept += record.outcome == KEPT
            self.refused += record.outcome != KEPT

    def _note_silence(self, task: Task, error: FetchError) -> None:
        """Count hosts that did not answer; a long row of them means that the network is down, not they.

        Raises:
            DataError: the network is down.
        """
        with self.lock:
            if error.status is not None or not error.passing:
                self._silent.clear()
                return
            self._silent.add(urlsplit(task.hit.address).netloc)
            count = len(self._silent)
        if count >= self._shared.options.silent:
            raise DataError(
                f"{count} hosts in a row did not answer (the last: {error.reason}); is the network down? "
                f"What was fetched is kept in {self._shared.folder.path}.",
                hint="Run the same command again to go on.",
            )
