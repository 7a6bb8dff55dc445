"""What a crawl has found and fetched goes in, and lies in a folder; a crawl that was killed finds it there again.

``DIR/.crawl`` holds

- ``plan.json``: what makes it the same crawl;
- ``searches.jsonl``: one line for each answered search of a category, with its hits; or for one that was not answered;
- ``records.jsonl``: one line for each hit that was fetched or given up, with what became of it; where a hit was tried
  again, its last line counts;
- ``pictures/ab/ab12...``: the pictures that were kept, as they were sent, under their sha256. A picture is there
  before its record is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from clis_core.data.crawl.backends.backend import Hit
from clis_core.data.crawl.log import JsonLog
from clis_core.data.crawl.record import Record, Task, now
from clis_core.data.crawl.search import Found
from clis_core.errors import JSON_DAMAGE, DataError
from clis_core.files import TEMPORARY, replacing, write_text

NAME = ".crawl"


class _Done(NamedTuple):
    """A record, without what is on the disk."""

    offset: int
    outcome: str
    passing: bool


class CrawlFolder:
    """The folder ``.crawl`` of a crawl; used by several threads.

    Args:
        out: the folder around it.
        plan: what makes it the same crawl, JSON values.

    Attributes:
        path: the folder.
        problems: why the last search of a category went unanswered, by its id.

    Raises:
        DataError: it holds another crawl, is damaged, or cannot be written.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any]) -> None:
        self.path = out / NAME
        self._lock = threading.Lock()
        self._found: dict[int, list[int]] = {}
        self.problems: dict[int, str] = {}
        self._done: dict[int, dict[int, _Done]] = {}
        self._addresses: dict[bytes, int] = {}
        self._check(plan)
        for left in self.path.glob(f"pictures/*/.*{TEMPORARY}"):  # of a process that was killed
            left.unlink()
        with contextlib.ExitStack() as opened:
            self._searches = opened.enter_context(JsonLog(self.path / "searches.jsonl"))
            self._records = opened.enter_context(JsonLog(self.path / "records.jsonl"))
            self._read()
            opened.pop_all()

    def _read(self) -> None:
        """Know again what earlier processes found and fetched."""
        for at, line in self._searches.lines():
            self._note_search(at, line)
        for at, line in self._records.lines():
            self._note_record(at, self._record(line))

    def is_searched(self, category: int) -> bool:
        """Whether a search for a category has been answered."""
        return category in self._found

    def add_search(self, category: int, backend: str, found: Sequence[Found]) -> None:
        """Keep the hits of a category, behind those that it has."""
        hits = [{"query": f.text, **_given(asdict(f.hit))} for f in found]
        line = {"category": category, "backend": backend, "time": now(), "hits": hits}
        self._note_search(self._searches.append(line), line)

    def add_problem(self, category: int, backend: str, what: str) -> None:
        """Note that a search was not answered."""
        line = {"category": category, "backend": backend, "time": now(), "problem": what}
        self._note_search(self._searches.append(line), line)

    def tasks(self, category: int) -> list[Task]:
        """All hits of a category, in order."""
        tasks: list[Task] = []
        for at in self._found.get(category, ()):
            line = self._searches.read(at)
            for values in line["hits"]:
                hit = Hit(**{k: v for k, v in values.items() if k != "query"})
                tasks.append(Task(category, len(tasks) + 1, hit, values["query"], line["backend"]))
        return tasks

    def is_done(self, task: Task) -> bool:
        """Whether a hit has a record; one whose outcome may pass does not count."""
        with self._lock:
            done = self._done.get(task.category, {}).get(task.rank)
        return done is not None and not done.passing

    def known(self, address: str) -> Record | None:
        """The record of an address that needs not be fetched again, for whatever category it was."""
        with self._lock:
            at = self._addresses.get(_key(address))
        return None if at is None else self._record(self._records.read(at))

    def add(self, record: Record, picture: bytes | None = None) -> None:
        """Keep what became of a hit, and before that its picture.

        Raises:
            OSError: the disk is full.
        """
        if picture is not None and record.sha256 is not None:
            path = self.picture(record.sha256)
            if not path.is_file():
                with replacing(path) as temporary:
                    temporary.write_bytes(picture)
        self._note_record(self._records.append(_given(asdict(record))), record)

    def records(self, category: int) -> Iterator[Record]:
        """What became of the hits of a category, in order."""
        with self._lock:
            mine = sorted(self._done.get(category, {}).items())
        for _, done in mine:
            yield self._record(self._records.read(done.offset))

    def picture(self, sha256: str) -> Path:
        """Path of a kept picture."""
        return self.path / "pictures" / sha256[:2] / sha256

    def outcomes(self) -> Counter[str]:
        """How many hits had which outcome."""
        with self._lock:
            return Counter(done.outcome for ranks in self._done.values() for done in ranks.values())

    def close(self) -> None:
        """Bring everything to the disk; threads that are still busy cannot add anything any more."""
        self._searches.close()
        self._records.close()

    def __enter__(self) -> CrawlFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, plan: Mapping[str, Any]) -> None:
        path = self.path / "plan.json"
        with contextlib.suppress(FileNotFoundError):
            try:
                before = json.loads(path.read_text(encoding="utf-8"))
            except JSON_DAMAGE:
                before = None
            if not isinstance(before, dict):
                raise DataError(f"{path} is damaged.", hint="Crawl into another folder: -o DIR")
            other = sorted(key for key in {*before, *plan} if before.get(key) != plan.get(key))
            if other:
                raise DataError(
                    f"{self.path.parent} holds another crawl: it differs in {', '.join(other)}.",
                    hint="Use the same options as before to go on, or another folder: -o DIR",
                )
            return
        write_text(path, json.dumps(dict(plan), indent=1) + "\n")

    def _note_search(self, at: int, line: Mapping[str, Any]) -> None:
        try:
            category = int(line["category"])
            if "problem" in line:
                self.problems[category] = f"{line['backend']} {line['problem']}"
                return
            for values in line["hits"]:
                Hit(**{k: v for k, v in values.items() if k != "query"})
                values["query"]
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._damaged(self._searches, at) from None
        self.problems.pop(category, None)
        self._found.setdefault(category, []).append(at)

    def _note_record(self, at: int, record: Record) -> None:
        with self._lock:
            done = _Done(at, record.outcome, record.passing)
            self._done.setdefault(record.category, {})[record.rank] = done
            if not record.passing:
                self._addresses[_key(record.address)] = at

    def _record(self, line: Mapping[str, Any]) -> Record:
        values: dict[str, Any] = {**dict.fromkeys(_MAY_MISS), **line}
        try:
            return Record(**values)
        except TypeError:
            raise self._damaged(self._records, None) from None

    def _damaged(self, log: JsonLog, at: int | None) -> DataError:
        where = "" if at is None else f" at byte {at}"
        return DataError(f"{log.path} is damaged{where}.", hint="Crawl into another folder: -o DIR")


_MAY_MISS = ("page", "licence", "creator", "title")


def _key(address: str) -> bytes:
    return hashlib.blake2b(address.encode("utf-8", errors="replace"), digest_size=12).digest()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not known, but with a licence that is not known: that is worth saying."""
    always = ("licence", "query")
    return {k: v for k, v in values.items() if k in always or not (v is None or v is False or v == "")}
