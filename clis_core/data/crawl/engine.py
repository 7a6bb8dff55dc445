"""Queries go in; they are searched for, and what became of every hit lies in the crawl's folder."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import DefaultCookiePolicy

from icrawler import Crawler

from clis_core import __version__
from clis_core.data.crawl.backends.backend import Backend, Blocked
from clis_core.data.crawl.fetch import Fetcher
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.guard import GuardedAdapter
from clis_core.data.crawl.pools import PictureDownloader, QueryFeeder, SearchParser
from clis_core.data.crawl.queries import Query
from clis_core.data.crawl.search import AddressList, WebSearch
from clis_core.data.crawl.shared import TICK, CrawlOptions, Shared
from clis_core.report import Reporter

AGENT = f"clis/{__version__} (collects pictures for research; icrawler"
"""Begins the User-Agent; a contact and the closing bracket follow."""
_GRACE = 5.0
"""Seconds that threads have to end after a stop; what they do later is dropped."""


class PictureCrawler(Crawler):  # type: ignore[misc]
    """Searches for pictures and fetches them into a folder; runs once.

    Args:
        folder: keeps what was found and fetched.
        place: what is searched: a place of the web, or addresses that the user has collected.
        options: how to behave.
    """

    def __init__(self, folder: CrawlFolder, place: Backend | AddressList, options: CrawlOptions) -> None:
        listed = isinstance(place, AddressList)
        self._options = options
        self._shared = Shared(folder, options, "urls" if isinstance(place, AddressList) else place.name, repeat=listed)
        self.set_session()
        stop = self._shared.stop
        fetcher = Fetcher(self.session, options.limits, stop, seed=options.seed, robots=options.robots)
        search = place if isinstance(place, AddressList) else WebSearch(place, fetcher)
        super().__init__(
            QueryFeeder,
            SearchParser,
            PictureDownloader,
            downloader_threads=options.threads,
            storage={"root_dir": str(folder.path)},  # not used: the folder keeps pictures itself
            extra_feeder_args={"shared": self._shared},
            extra_parser_args={"shared": self._shared, "search": search},
            extra_downloader_args={"shared": self._shared, "fetcher": fetcher},
        )

    def set_logger(self, log_level: int = logging.INFO) -> None:
        """Leave the root logger alone, which icrawler would configure."""
        self.logger = logging.getLogger(__name__)

    def set_session(self, headers: Mapping[str, str] | None = None) -> None:
        """Make a session, once, that says who it is, keeps no cookies and reads neither proxies nor passwords."""
        if hasattr(self, "session"):
            return
        options = self._options
        self.set_proxy_pool()
        super().set_session({"User-Agent": AGENT + (f"; {options.contact})" if options.contact else ")")})
        self.session.trust_env = False
        self.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for start in ("http://", "https://"):
            guard = GuardedAdapter(allow_private=options.allow_private, seconds=options.limits.seconds)
            self.session.mount(start, guard)
        for start, adapter in options.adapters.items():
            self.session.mount(start, adapter)

    def run(self, queries: Sequence[Query], *, stopped: Callable[[], object], reporter: Reporter) -> Blocked | None:
        """Search and fetch until everything has a record, or until told to stop.

        Args:
            queries: what to search for.
            stopped: is asked now and then; true ends the crawl.
            reporter: gets progress and warnings.

        Returns:
            What came instead of answers, if the search was given up; None otherwise.

        Raises:
            DataError: the network is down, or the disk is full.
        """
        shared = self._shared
        self.feeder.start(queries=queries)
        self.parser.start()
        self.downloader.start()
        waited = 0.0
        while any(pool.is_alive() for pool in (self.feeder, self.parser, self.downloader)) and waited < _GRACE:
            if stopped():
                shared.stop.set()
            waited += TICK if shared.stop.is_set() else 0.0
            self._tell(len(queries), reporter)
            threading.Event().wait(TICK)
        self._tell(len(queries), reporter, ends=True)
        self.session.close()
        if shared.failure is not None:
            raise shared.failure
        return shared.given_up

    def _tell(self, total: int, reporter: Reporter, *, ends: bool = False) -> None:
        while not self._shared.warnings.empty():
            reporter.warn(self._shared.warnings.get())
        figures = {"kept": self.downloader.kept, "refused": self.downloader.refused}
        done = self.parser.categories if ends else min(self.parser.categories, total - 1)
        reporter.progress("categories", done, total, figures)
