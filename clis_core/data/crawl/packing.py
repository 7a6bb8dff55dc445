"""A crawl's choice of pictures goes in; a folder of shards comes out, whose samples say where they are from."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from clis_core import __version__
from clis_core.categories import Categories
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.record import Record
from clis_core.data.crawl.selection import Choice, kept_pictures
from clis_core.data.picture import RefusedPictureError, check_picture
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.manifest import Manifest
from clis_core.data.shards.sample import Sample
from clis_core.errors import DataError, Interrupted
from clis_core.report import Reporter

BYTES_A_SHARD = 1_000_000_000


def pack(
    out: Path,
    folder: CrawlFolder,
    categories: Categories,
    asked: Collection[int],
    *,
    seed: int,
    check: Callable[[], None],
    reporter: Reporter,
) -> Manifest:
    """Write the chosen pictures as shards; goes on where an earlier process stopped.

    Args:
        out: folder of the shards.
        folder: of the crawl.
        categories: the classes of the shards.
        asked: ids of those that were searched for.
        seed: of the order of the samples.
        check: is called after each picture; raises Interrupted to end the packing.
        reporter: gets progress.

    Raises:
        DataError: the crawl's folder is damaged, or the disk is full.
        Interrupted: by ``check``; what was packed is kept.
    """
    names = {category.id: category.name for category in categories}
    known = hashlib.sha256()
    total, size, backends = 0, 0, set()
    for choice in kept_pictures(folder):
        record = choice.record
        known.update(repr((record.category, record.rank, record.sha256, choice.reason)).encode())
        backends.add(record.backend)
        total += 1
        size += record.size or 0 if choice.picture is not None else 0
    shards = max(1, -(-size // BYTES_A_SHARD))
    plan = {"command": "crawl-google", "choice": known.hexdigest()[:16], "backends": sorted(backends)}
    with ShardBuilder(out, categories, plan, shards=shards, seed=seed) as builder:
        start = builder.cursor or 0
        for number, choice in enumerate(islice(kept_pictures(folder), start, None), start=start + 1):
            _add(builder, choice, names[choice.record.category])
            builder.passed(number)
            reporter.progress("samples", number, total)
            try:
                check()
            except Interrupted:
                builder.checkpoint(number)
                raise
        return builder.finish(
            unmatched=_unmatched(categories, asked, folder, builder.counts),
            made={"clis": __version__, **plan},
            reporter=reporter,
        )


def _add(builder: ShardBuilder, choice: Choice, class_name: str) -> None:
    record = choice.record
    if choice.picture is None:
        builder.refuse(class_name, record.address, choice.reason, choice.detail)
        return
    try:
        data = choice.picture.read_bytes()
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise RefusedPictureError("its sha256 is not that of its record")
        picture = check_picture(data, record.address)
    except FileNotFoundError:
        raise DataError(f"{choice.picture} is missing.", hint="Crawl into another folder: -o DIR") from None
    except RefusedPictureError as error:  # the file was damaged since
        raise DataError(
            f"{choice.picture} is damaged: {error.reason}.", hint="Crawl into another folder: -o DIR"
        ) from None
    builder.add(
        Sample(
            prefix=class_name,
            name=f"{record.rank:04d}",
            category=record.category,
            jpeg=picture.data,
            height=picture.height,
            width=picture.width,
            record=_facts(record, picture.changed),
        )
    )


def _facts(record: Record, changed: tuple[str, ...]) -> dict[str, Any]:
    """What a sample says about where it is from."""
    facts: dict[str, Any] = {
        "source": record.backend,
        "url": record.address,
        "page": record.page,
        "licence": record.licence,
        "creator": record.creator,
        "title": record.title,
        "query": record.query,
        "rank": record.rank,
        "fetched": record.time,
        "original_sha256": record.sha256,
    }
    return {**facts, "changed": list(changed)} if changed else facts


def _unmatched(
    categories: Categories, asked: Collection[int], folder: CrawlFolder, counts: Mapping[int, int]
) -> dict[int, str]:
    """Why each category without a picture has none."""
    why = {}
    for category in (c.id for c in categories if not counts.get(c.id)):
        outcomes = Counter(record.outcome for record in folder.records(category))
        if category not in asked:
            why[category] = "not asked for"
        elif outcomes:
            why[category] = "none of its hits is of use: " + ", ".join(f"{n} {o}" for o, n in outcomes.most_common(3))
        elif category in folder.problems:
            why[category] = f"not searched: {folder.problems[category]}"
        else:
            why[category] = "no hits" if folder.is_searched(category) else "not searched"
    return why
