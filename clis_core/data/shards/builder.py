"""Labelled pictures in the order of their source go in; a folder of shards, each a random mix of them, comes out.

Two passes, in the memory of some MB: each sample goes to the end of a part that is drawn for it, and when the source
has ended the parts become shards, each in a random order. What comes out depends on the samples, their order and the
seed alone, however often the process was killed in between.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import struct
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from clis_core.categories import Categories
from clis_core.data.shards.keys import SeenKeys, hash_of_content, key_of
from clis_core.data.shards.manifest import FORMAT, REFUSED, Manifest, write_manifest
from clis_core.data.shards.members import json_bytes, members
from clis_core.data.shards.out_folder import check_own, finished_already, is_finished, tidy, writing
from clis_core.data.shards.packing import pack
from clis_core.data.shards.sample import Sample
from clis_core.data.shards.staging import LOCK, STAGING, Staging
from clis_core.errors import DataError
from clis_core.files import locked, replacing
from clis_core.report import Reporter

DUPLICATE = "duplicate"
CHECKPOINT_BYTES = 256 << 20
CHECKPOINT_SECONDS = 30.0

_ROW = struct.Struct("<iqiiqiiQQ")  # `ROW`


class ShardBuilder:
    """Writes a folder of shards, each sample exactly once.

    A context manager: it holds the folder, and goes on where the last checkpoint of an earlier process was. Leaving
    it before `finish` keeps what the last checkpoint holds. All calls in one thread::

        with ShardBuilder(out, categories, plan, shards=8) as builder:
            for sample, position in source_from(builder.cursor):
                builder.add(sample)
                builder.passed(position)
            builder.finish(unmatched={}, made=plan, reporter=reporter)

    Once `finish` was begun the source is complete: if the process is killed then, the next one finds ``complete``
    True, and `add`, `refuse` and `passed` leave everything as it is.

    Args:
        out: the folder.
        categories: the classes that a sample may have.
        plan: what makes the same build (source, options), plain json values; an unfinished folder goes on with the
            same plan only.
        shards: about how many; with few samples some stay empty and are left out.
        seed: of the order.

    Attributes:
        cursor: where the source stood at the last checkpoint; None at the very start.
        counts: samples so far, by category id.

    Raises:
        DataError: on entering: the folder is finished, in use, was begun with another plan, or holds other files; in
            any call: the disk is full or cannot be written.
    """

    def __init__(
        self, out: Path, categories: Categories, plan: Mapping[str, Any], *, shards: int, seed: int = 0
    ) -> None:
        if shards < 1:
            raise ValueError("a folder has one shard or more")
        self._out, self._categories, self._seed = out, categories, seed
        self._plan = {
            **plan,
            "shards": shards,
            "seed": seed,
            "categories": categories.to_records(),
            "format": FORMAT,
        }
        self._names = {category.id: category.name for category in categories}
        self._seen = SeenKeys()
        self._staging = Staging(out / STAGING, shards)
        self._held = contextlib.ExitStack()
        self._passed: Any = None
        self._number = 0  # of samples
        self._kept = 0  # of them in the last checkpoint
        self._time = time.monotonic()
        self._usable = False
        self.counts: Counter[int] = Counter()

    @property
    def cursor(self) -> Any:
        """Where the source stood at the last checkpoint; None at the very start."""
        return self._staging.cursor

    @property
    def complete(self) -> bool:
        """Whether an earlier process had everything, and was killed while it finished."""
        return self._staging.complete

    @property
    def refused(self) -> Mapping[str, int]:
        """Members refused so far, by reason."""
        return self._staging.refused

    def __enter__(self) -> Self:
        if is_finished(self._out):
            shutil.rmtree(self._out / STAGING, ignore_errors=True)  # of a process that was killed at the very end
            raise finished_already(self._out)
        with self._disk(), contextlib.ExitStack() as held:
            check_own(self._out)
            (self._out / STAGING).mkdir(parents=True, exist_ok=True)
            if not held.enter_context(locked(self._out / STAGING / LOCK)):
                raise DataError(
                    f"{self._out}: another process is building shards in this folder.",
                    hint="Wait until it has ended, or take another folder: -o FOLDER",
                )
            if is_finished(self._out):  # in this moment
                raise finished_already(self._out)
            tidy(self._out)
            self._staging.start(self._plan)
            self._restore()
            self._held = held.pop_all()
        self._passed = self.cursor
        self._usable = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._usable = False
        self._staging.close()
        self._held.close()

    def add(self, sample: Sample) -> bool:
        """Add a picture.

        Returns:
            False: the same picture of the same name and category is there already; it counts as refused.

        Raises:
            DataError: its category is not one of the shards', or the disk is full.
        """
        self._check_usable()
        if self.complete:
            return True
        if sample.category not in self._names:
            raise DataError(
                f"{sample.name}: category {sample.category} is none of the shards' {len(self._names)} categories.",
                hint="Use the categories that the shards are built for.",
            )
        sha256 = sample.sha256 or hashlib.sha256(sample.jpeg).hexdigest()
        content = hash_of_content(sha256, sample.category)
        key, hashed, taken = self._seen.free(key_of(sample.prefix, sample.name, sha256), sha256, content)
        if taken:
            self.refuse(sample.prefix, sample.name, DUPLICATE, key)
            return False
        self._write(sample, key, sha256, hashed, content)
        return True

    def refuse(self, label: str, name: str, reason: str, detail: str = "") -> None:
        """Note a member that does not become a sample.

        Args:
            label: as its source has it.
            name: as its source has it.
            reason: in words that can be counted.
            detail: more about this one.
        """
        self._check_usable()
        if not self.complete:
            line = {"label": label, "name": name, "reason": reason, "detail": detail}
            self._staging.refuse({k: v for k, v in line.items() if v}, reason)

    def passed(self, cursor: Any) -> None:
        """Say that everything before this cursor has been added or refused; makes a checkpoint now and then.

        Args:
            cursor: where the source stands, a json value.
        """
        self._check_usable()
        self._passed = cursor
        late = time.monotonic() - self._time >= CHECKPOINT_SECONDS
        if late or self._staging.unsaved >= CHECKPOINT_BYTES:
            self.checkpoint(cursor)

    def checkpoint(self, cursor: Any) -> None:
        """Make everything so far last, whatever happens then.

        Args:
            cursor: where the source stands, a json value.
        """
        self._check_usable()
        self._passed = cursor
        if not self.complete:
            self._save(complete=False)

    def finish(self, *, unmatched: Mapping[int, str], made: Mapping[str, Any], reporter: Reporter) -> Manifest:
        """Write the shards and the manifest; nothing can be added then.

        Args:
            unmatched: why a category got no picture, by its id.
            made: how the shards were made, plain json values.
            reporter: gets progress.

        Raises:
            DataError: there is no sample, or the disk is full.
        """
        self._check_usable()
        if not self._number:
            refused = ", ".join(f"{n} {reason}" for reason, n in self.refused.items()) or "none"
            raise DataError(
                f"{self._out}: not one picture to put into shards; refused: {refused}.",
                hint="Look at the source, and at how its labels are matched to the categories.",
            )
        if not self.complete:
            self._save(complete=True)
        self._seen = SeenKeys()  # not needed any more
        with self._disk():
            total = sum(size > 0 for size in self._staging.sizes)
            shards = []
            for shard in pack(self._staging, self._out / STAGING, self._out, self._seed):
                shards.append(shard)
                reporter.progress("shards", len(shards), total)
            with replacing(self._out / REFUSED) as temporary:
                shutil.copyfile(self._staging.refused_file, temporary)
            manifest = Manifest(
                categories=self._categories,
                shards=tuple(shards),
                counts=dict(sorted(self.counts.items())),
                unmatched=dict(sorted(unmatched.items())),
                refused=dict(sorted(self.refused.items())),
                made={"seed": self._seed, **made},
            )
            write_manifest(self._out, manifest)
        self._usable = False
        shutil.rmtree(self._out / STAGING, ignore_errors=True)
        return manifest

    def _write(self, sample: Sample, key: str, sha256: str, hashed: int, content: int) -> None:
        """Write a sample that is new."""
        data = json_bytes(sample.to_record(key, self._names[sample.category], sha256))
        drawn = hashlib.blake2b(b"%d %d" % (self._seed, self._number), digest_size=8).digest()
        bucket = int.from_bytes(drawn, "little") % len(self._staging.sizes)
        with self._disk():
            start = self._staging.append(bucket, members(key, sample.jpeg, data, sample.category))
        sizes = (len(sample.jpeg), len(data), sample.category, sample.height, sample.width)
        self._staging.note(_ROW.pack(bucket, start, *sizes, hashed, content))
        self._seen.add(hashed, content)
        self._number += 1
        self.counts[sample.category] += 1

    def _save(self, *, complete: bool) -> None:
        with self._disk():
            self._staging.checkpoint(self._passed, complete=complete)
        self._kept = self._number
        self._time = time.monotonic()

    def _restore(self) -> None:
        """Know again what the last checkpoint holds."""
        rows = self._staging.rows()
        if not self.complete:
            self._seen.fill(rows["key"], rows["content"])
        self.counts = Counter(
            dict(zip(*(a.tolist() for a in np.unique(rows["category"], return_counts=True)), strict=True))
        )
        self._number = self._kept = len(rows)

    def _check_usable(self) -> None:
        if not self._usable:
            raise RuntimeError("a ShardBuilder is used within its with block, until finish or a full disk")

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Say what is kept when the folder cannot be written; nothing can be added then."""
        kept = f"The {self._kept} pictures of the last checkpoint are kept." if self._kept else "Nothing is kept."
        try:
            with writing(self._out, kept):
                yield
        except DataError:
            self._usable = False  # a sample may be written in part
            raise
