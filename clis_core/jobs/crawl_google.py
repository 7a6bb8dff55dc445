"""`clis crawl-google`: names of categories in, a folder of shards of web pictures out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from clis_core.categories import Categories, Group
from clis_core.config.data import DataConfig
from clis_core.data.crawl.backends.backend import Backend, Blocked
from clis_core.data.crawl.backends.open import BackendName, open_backend
from clis_core.data.crawl.backends.urls import read_addresses
from clis_core.data.crawl.engine import PictureCrawler
from clis_core.data.crawl.folder import NAME, CrawlFolder
from clis_core.data.crawl.packing import pack
from clis_core.data.crawl.queries import Query, make_queries, query_table
from clis_core.data.crawl.record import KEPT
from clis_core.data.crawl.search import AddressList
from clis_core.data.crawl.selection import choose, is_chosen
from clis_core.data.crawl.shared import CrawlOptions
from clis_core.data.layout import open_split
from clis_core.data.shards.manifest import Manifest, read_manifest
from clis_core.data.shards.out_folder import is_finished
from clis_core.data.taxonomy import concepts
from clis_core.errors import DataError, Interrupted
from clis_core.files import locked
from clis_core.report import Reporter
from clis_core.training.interrupt import StopRequest


def crawl_queries(lvis: str | Path = "v1", only: Collection[Group] = ()) -> str:
    """What would be searched for, as CSV; contacts nobody.

    Args:
        lvis: "v1", "v0.5" or an LVIS or COCO json.
        only: the groups; empty takes all.

    Raises:
        DataError: the json cannot be read, or has no such groups.
    """
    return query_table(make_queries(concepts(lvis), only))


def crawl_google(
    out: Path,
    *,
    lvis: str | Path = "v1",
    only: Collection[Group] = (),
    backend: BackendName | Literal["urls"] = "google",
    urls: Path | None = None,
    key_file: Path | None = None,
    data: DataConfig | None = None,
    partial: bool = False,
    seed: int = 0,
    options: CrawlOptions = CrawlOptions(),  # noqa: B008  (frozen)
    reporter: Reporter,
) -> Manifest:
    """Search for pictures of categories, fetch them, and write those that are of use as shards.

    What was found and fetched lies in ``out/.crawl`` and is used again: the same call goes on after any end. Once
    everything has been fetched, the choice of pictures is made and stays.

    Args:
        out: folder of the shards.
        lvis: the categories: "v1", "v0.5" or an LVIS or COCO json.
        only: categories of these groups alone; empty takes all.
        backend: the place that is searched.
        urls: file of categories and addresses instead of a search; see `read_addresses`.
        key_file: text file with the key or token of the place.
        data: the data set whose validation images no sample may repeat.
        partial: write the shards even if some categories could not be searched.
        seed: of the order of the samples.
        options: how to behave towards the hosts, and which pictures are of no use.
        reporter: gets progress and messages.

    Returns:
        The manifest of the finished shards.

    Raises:
        DataError: a file cannot be used, the place gave no answers, no picture was found, or the disk is full.
        ConfigError: a key is missing.
        Interrupted: SIGINT or SIGTERM; the same call goes on.
    """
    if is_finished(out):
        reporter.info(f"{out} is finished; there is nothing to do.")
        return read_manifest(out)
    vocabulary = concepts(lvis)
    categories = Categories(concept.category for concept in vocabulary)
    queries = make_queries(vocabulary, only)
    place = _place(backend, urls, key_file, categories, options.per_category)
    validation = _validation_images(data)
    plan = {"categories": _digest(categories), "per_category": options.per_category, **asdict(options.filter)}
    (out / NAME).mkdir(parents=True, exist_ok=True)
    with locked(out / NAME / ".lock") as held:
        if not held:
            raise DataError(f"{out}: another process crawls into this folder.", hint="Take another folder: -o DIR")
        asked = [query.category.id for query in queries]
        with StopRequest() as stop, CrawlFolder(out, plan) as folder:

            def check() -> None:
                _check_stop(stop, out)

            if not is_chosen(folder):
                _introduce(place, queries, reporter)
                crawler = PictureCrawler(folder, place, options)
                given_up = crawler.run(queries, stopped=lambda: stop.name, reporter=reporter)
                check()
                _check_answers(folder, queries, place, given_up, out, partial=partial)
                choose(folder, asked, validation, check=check, reporter=reporter)
            return pack(out, folder, categories, asked, seed=seed, check=check, reporter=reporter)


def _place(
    backend: BackendName | Literal["urls"], urls: Path | None, key_file: Path | None, categories: Categories, most: int
) -> Backend | AddressList:
    if urls is not None:
        return AddressList(read_addresses(urls, categories, most))
    if backend == "urls":
        raise DataError("The backend urls needs a file of addresses.", hint="Name one: --urls FILE")
    return open_backend(backend, key_file)


def _introduce(place: Backend | AddressList, queries: Sequence[Query], reporter: Reporter) -> None:
    """Say what the user must know of the place that is searched."""
    if not isinstance(place, AddressList):
        if place.warning:
            reporter.warn(place.warning)
        return
    without = sum(query.category.id not in place.hits for query in queries)
    if without:
        reporter.info(f"The list has no address for {without} of {len(queries)} categories.")


def _validation_images(data: DataConfig | None) -> list[Path]:
    if data is None:
        return []
    files = open_split(data, "val", None).files
    return [files.path(i) for i in range(len(files))]


def _check_stop(stop: StopRequest, out: Path) -> None:
    if stop.name:
        raise Interrupted(
            f"Stopped by {stop.name}; what was found and fetched is kept in {out / NAME}.",
            hint="Run the same command again to go on.",
        )


def _check_answers(
    folder: CrawlFolder,
    queries: Sequence[Query],
    place: Backend | AddressList,
    given_up: Blocked | None,
    out: Path,
    *,
    partial: bool,
) -> None:
    """Say loudly if searches went unanswered, or if nothing at all was found.

    Raises:
        DataError: both cases.
    """
    if isinstance(place, AddressList):
        other = "Look at the addresses, and at the reasons in " + str(folder.path / "records.jsonl")
    else:
        other = _other_ways(place.name, out)
        missing = [q for q in queries if not folder.is_searched(q.category.id)]
        if missing and not partial:
            why = folder.problems[missing[-1].category.id] if given_up is None else f"{place.name} {given_up.what}"
            raise DataError(
                f"{len(missing)} of {len(queries)} categories could not be searched: {why}. "
                f"All that was found and fetched is kept in {folder.path}.",
                hint=f"Run the same command again later, or search elsewhere: {other}; "
                "or add --partial to take what there is.",
            )
    outcomes = folder.outcomes()
    if not outcomes[KEPT]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in outcomes.most_common(5)) or "no hit for any category"
        raise DataError(f"Not one picture was found for {len(queries)} categories: {reasons}.", hint=other)


def _other_ways(name: str, out: Path) -> str:
    ways = {
        "openverse": f"clis crawl-google -o {out} --backend openverse",
        "flickr": f"clis crawl-google -o {out} --backend flickr --key-file FILE",
        "urls": f"clis crawl-google -o {out} --urls FILE",
    }
    return ", or ".join(way for other, way in ways.items() if other != name)


def _digest(categories: Categories) -> str:
    return hashlib.sha256(repr([(c.id, c.name) for c in categories]).encode()).hexdigest()[:16]
