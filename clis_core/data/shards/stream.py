"""Addresses of shards go in; their samples come out as a stream, each once an epoch over all processes.

For shards that are on a server or come from a command; a local folder is better read at random, by `Shards`. What is a
sample, how several addresses are written and how a buffer shuffles is webdataset's. Opening and walking tars is not:
webdataset 1.0.2 takes a tar that is cut short between two members for a whole one, leaves web addresses to the program
curl, and does not go on where a connection broke.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import webdataset.filters
import webdataset.tariterators

from clis_core.data.shards.places import ShardPlace, find_shards
from clis_core.data.shards.resuming import PATIENT, Access, ResumingBytes, opened
from clis_core.data.sources.tar_walk import DamagedTarError, EntryKind, TarWalk
from clis_core.errors import DataError
from clis_core.report import Reporter, SilentReporter

MAX_BYTES = 64 << 20
"""Larger members of a tar are passed over (64 MiB)."""
ENOUGH = 200
"""Samples to see before too many bad ones end a stream."""

_EPOCH = 21  # stream of random numbers of a seed: the order of the shards
_TOLD = 10  # bad samples that are told one by one


class Streamed(NamedTuple):
    """A sample.

    Attributes:
        key: of the sample.
        category: its id.
        jpeg: the picture's bytes.
        record: its json.
        shard: number of its shard among those that this worker reads in this epoch, from 0.
    """

    key: str
    category: int
    jpeg: bytes
    record: dict[str, Any]
    shard: int


def stream(
    source: Path | str | Sequence[str],
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    worker: int = 0,
    workers: int = 1,
    shuffle: int = 100,
    skip_shards: int = 0,
    max_bad_fraction: float = 0.01,
    access: Access = PATIENT,
    reporter: Reporter | None = None,
) -> Iterator[Streamed]:
    """Read a worker's samples of one epoch.

    The order is a function of (seed, epoch) and the worker. With as many shards as workers or more, a worker reads
    whole shards, so workers may have unequally many samples; with fewer, every worker reads all shards and takes its
    turns of their samples.

    A stream goes on by shard: with ``skip_shards`` a worker leaves its first shards out. Samples of begun shards come
    again then, and those that waited in the buffer do not come.

    Args:
        source: a local folder; ``https://host/folder/``; ``pipe:COMMAND`` with ``{}`` for the name of a file, as
            in ``pipe:aws s3 cp s3://bucket/shards/{} -``. These have a manifest, by which everything is counted. Or
            tars without one: paths, addresses or commands, in which braces stand for several:
            ``https://host/{00000..00099}.tar``; or a list of such.
        seed: of the order.
        epoch: from 0; each has an order of its own.
        rank: of ``world``.
        world: ranks of a distributed run.
        worker: of ``workers``.
        workers: of each rank's loader.
        shuffle: samples in the buffer from which the next one is drawn; shards are shuffled when they are built, so
            it need not be large. 0 leaves shards and samples in their order.
        skip_shards: shards of this worker's that are done.
        max_bad_fraction: give up when more than this part of the samples lacks a part or cannot be used.
        access: how patiently to read.
        reporter: is told of samples that are left out, and of places that are tried again.

    Raises:
        ConfigError: such a source is not read, or its command cannot be started.
        DataError: a shard cannot be read, is cut short, damaged, or holds another number of samples than the manifest
            says; or too many samples are bad.
    """
    if not (0 <= rank < world and 0 <= worker < workers):
        raise ValueError(f"no rank {rank} of {world}, or no worker {worker} of {workers}")
    manifest, shards = find_shards(source, access)
    order = list(range(len(shards)))
    if shuffle:
        bits = np.random.Philox(key=(seed, _EPOCH), counter=(0, 0, 0, epoch))
        order = np.random.Generator(bits).permutation(len(shards)).tolist()
    reader = _Reader(
        shards=[shards[k] for k in order],
        categories=frozenset(manifest.categories.ids) if manifest else None,
        number=worker * world + rank,
        readers=world * workers,
        max_bad_fraction=max_bad_fraction,
        access=access,
        reporter=reporter or SilentReporter(),
    )
    samples = reader.samples(skip_shards)
    if not shuffle:
        return samples
    digest = hashlib.blake2b(b"%d %d %d" % (seed, epoch, reader.number), digest_size=8).digest()
    dice = random.Random(int.from_bytes(digest, "little"))  # webdataset's own adds epoch to seed: (0, 1) was (1, 0)
    mixed: Iterator[Streamed] = webdataset.filters.shuffle(shuffle, initial=shuffle, rng=dice)(samples)
    return mixed


@dataclass
class _Reader:
    """Reads one worker's part of an epoch, and counts.

    Attributes:
        shards: all of them, in the order of the epoch.
        categories: ids that a sample may have; None allows all.
        number: of this worker among all.
        readers: workers of all ranks.
        max_bad_fraction: see `stream`.
        access: see `stream`.
        reporter: see `stream`.
        seen: samples so far.
        bad: of them left out.
        retries: how often a place was tried again.
    """

    shards: list[ShardPlace]
    categories: frozenset[int] | None
    number: int
    readers: int
    max_bad_fraction: float
    access: Access
    reporter: Reporter
    seen: int = 0
    bad: int = 0
    retries: int = 0

    def samples(self, skip: int) -> Iterator[Streamed]:
        """The samples, from a shard on."""
        by_sample = len(self.shards) < self.readers
        mine = self.shards if by_sample else self.shards[self.number :: self.readers]
        for turn, shard in enumerate(mine[skip:], start=skip):
            for place, item in enumerate(_items(shard, self.access, self._broke)):
                if by_sample and (turn + place) % self.readers != self.number:
                    continue
                self.seen += 1
                try:
                    yield self._sample(item, turn)
                except _BadSampleError as error:
                    self._count_bad(f"{shard.place.name}: {item['__key__']} {error}")
        self._judge()
        if self.retries:
            self.reporter.warn(f"Reading broke off and went on {self.retries} times; no sample was lost.")

    def _broke(self, what: str) -> None:
        self.retries += 1
        if self.retries <= _TOLD:
            self.reporter.warn(what)

    def _sample(self, item: dict[str, Any], turn: int) -> Streamed:
        for part in ("jpg", "json", "cls"):
            if part not in item:
                raise _BadSampleError(f"has no {part}")
        digits = item["cls"].strip()
        if not digits.isdigit() or len(digits) > 18:
            raise _BadSampleError("has a cls that is no category id")
        category = int(digits)
        if self.categories is not None and category not in self.categories:
            raise _BadSampleError(f"is of category {category}, which the manifest does not have")
        try:
            record = json.loads(item["json"])
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise _BadSampleError("has a json that is no object")
        if item["jpg"][:2] != b"\xff\xd8":
            raise _BadSampleError("has a jpg that is no JPEG")
        return Streamed(item["__key__"], category, item["jpg"], record, turn)

    def _count_bad(self, what: str) -> None:
        self.bad += 1
        if self.bad <= _TOLD:
            self.reporter.warn(f"{what}; it is left out.")
        if self.seen >= ENOUGH:
            self._judge(what)

    def _judge(self, last: str = "") -> None:
        """Give up if too many samples are bad."""
        if self.bad > self.max_bad_fraction * self.seen:
            raise DataError(
                f"{self.bad} of {self.seen} samples cannot be used" + (f", the last one: {last}." if last else "."),
                hint="Each must have a jpg, a json and a cls; copy the shards once more, or build them anew.",
            )
        if self.bad and not last:
            self.reporter.warn(f"{self.bad} of {self.seen} samples were left out.")


class _BadSampleError(Exception):
    """A sample that cannot be used; the text says why."""


def _items(shard: ShardPlace, access: Access, broke: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The samples of a shard, as webdataset groups the members of a tar: by name, with a key for each ending.

    Raises:
        DataError: it cannot be read, is cut short or damaged, or has another number of samples than it must.
    """
    name, found = shard.place.name, 0
    with opened(shard.place, shard.size, access, broke) as stream:
        try:
            for item in webdataset.tariterators.group_by_keys(_members(stream, name)):
                yield item
                found += 1
        except (DamagedTarError, ValueError) as error:
            raise DataError(f"{name} is damaged: {error}.", hint="Copy it once more, or build it anew.") from None
    if shard.samples is not None and found != shard.samples:
        raise DataError(
            f"{name} holds {found} samples, but the manifest says {shard.samples}.",
            hint="Copy it there once more, together with its manifest.",
        )


def _members(stream: ResumingBytes, name: str) -> Iterator[dict[str, Any]]:
    """The files of a tar, as webdataset has them."""
    walk = TarWalk(stream)
    for entry in walk:
        if entry.kind is EntryKind.FILE and entry.size <= MAX_BYTES:
            yield {"fname": entry.path, "data": walk.read(entry), "__url__": name}
