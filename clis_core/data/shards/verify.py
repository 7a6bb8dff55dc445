"""A folder of shards goes in; whether every byte is as it was written, and every sample whole, comes out."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.decode import decode
from clis_core.data.shards.index import PARTS, index_tar, read_index
from clis_core.data.shards.keys import SeenKeys, hash_of_key
from clis_core.data.shards.manifest import MANIFEST, Manifest, ShardFile, read_manifest
from clis_core.data.shards.open_files import OpenFile, read_at
from clis_core.data.shards.origin import read_origin, tars_elsewhere
from clis_core.data.shards.out_folder import is_finished
from clis_core.data.shards.staging import STAGING
from clis_core.errors import DataError
from clis_core.report import Reporter

_PIECE = 1 << 20
_BLOCK = 512
_MANY = 256  # samples that threads check before progress is told


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be.

    Attributes:
        shard: name of the file; empty for the folder as a whole.
        key: of the sample; empty for the file as a whole.
        what: what is wrong, as the end of a sentence that starts with the above.
    """

    shard: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.shard}{': ' if self.key else ''}{self.key} {self.what}".strip()


@dataclass
class Report:
    """What a check found.

    Attributes:
        samples: that were looked at.
        problems: in the order in which they were found.
    """

    samples: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems

    def to_record(self) -> dict[str, Any]:
        """For json."""
        return {"ok": self.ok, "samples": self.samples, "problems": [vars(problem) for problem in self.problems]}


def verify(folder: Path, *, decode: bool = True, reporter: Reporter) -> Report:
    """Check a folder of shards against its manifest, and every sample against its record.

    Args:
        folder: of the shards.
        decode: decode every picture as well.
        reporter: gets progress.

    Raises:
        DataError: the folder holds no shards at all, its tars are on a server, or its manifest is damaged.
    """
    report = Report()
    if not is_finished(folder) and (folder / STAGING).is_dir():
        what = "is not finished: run the command that builds it again, and it goes on"
        report.problems.append(Problem("", "", f"{folder} {what}"))
        return report
    manifest = read_manifest(folder)
    if (origin := read_origin(folder)) is not None:
        raise tars_elsewhere(folder, origin)
    counts: Counter[int] = Counter()
    seen = SeenKeys()
    for shard in manifest.shards:
        for checked in _check_shard(folder, shard, manifest, decode):
            report.samples += checked.samples
            report.problems += checked.problems
            counts.update(checked.categories)
            for key in checked.keys:
                hashed = hash_of_key(key)
                if seen.content(hashed) is None:
                    seen.add(hashed, 0)
                else:
                    report.problems.append(Problem(shard.name, key, "is there twice"))
            reporter.progress("samples", report.samples, manifest.samples)
    if report.ok and counts != Counter(dict(manifest.counts)):
        report.problems.append(Problem(MANIFEST, "", "counts other samples by category than the shards hold"))
    known = {shard.name for shard in manifest.shards}
    for path in sorted(folder.glob("*.tar")):
        if path.name not in known:
            report.problems.append(Problem(path.name, "", "is not in the manifest"))
    return report


@dataclass
class _Checked:
    """What was found in some samples."""

    samples: int = 0
    problems: list[Problem] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


def _check_shard(folder: Path, shard: ShardFile, manifest: Manifest, decoding: bool) -> Iterator[_Checked]:
    path = folder / shard.name
    found = _Checked(problems=[*_check_hash(path, shard.sha256, shard.size)])
    found.problems += _check_hash(path.with_name(shard.index_name), shard.index_sha256, None)
    yield found
    entries, problems = _entries(path, shard)
    yield _Checked(problems=problems)
    if entries is None or not path.exists():
        return
    file, ids = OpenFile(path, os.O_RDONLY), set(manifest.categories.ids)

    def check(entry: Any) -> tuple[int, str, list[str]]:
        return _check_sample(file, entry, ids, decoding)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(entries), _MANY):
            some = _Checked()
            for category, key, faults in pool.map(check, entries[start : start + _MANY]):
                some.samples += 1
                some.categories.append(category)
                some.keys.append(key)
                some.problems += [Problem(shard.name, key, fault) for fault in faults]
            yield some


def _entries(path: Path, shard: ShardFile) -> tuple[NDArray[Any] | None, list[Problem]]:
    """`INDEX` entries of a tar, by its headers or else by its index, and what is wrong with either."""
    walked = index = None
    faults = []
    try:
        walked = index_tar(path)
    except DataError as error:
        faults.append(Problem(shard.name, "", f"cannot be walked: {error.message}"))
    try:
        index = read_index(path.with_name(shard.index_name), shard.samples, shard.size)
    except DataError as error:
        faults.append(Problem(shard.index_name, "", f"cannot be used: {error.message}"))
    if walked is not None and len(walked) != shard.samples:
        faults.append(Problem(shard.name, "", f"holds {len(walked)} samples instead of {shard.samples}"))
    elif walked is not None and index is not None:
        wrong = np.flatnonzero(walked != np.asarray(index)).tolist()
        faults += [Problem(shard.index_name, "", f"says something else of sample {k} than the tar") for k in wrong]
    return walked if walked is not None else index, faults


def _check_hash(path: Path, sha256: str, size: int | None) -> Iterator[Problem]:
    """Compare a file with what the manifest says of it."""
    digest, there = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                there += len(piece)
    except OSError as error:
        yield Problem(path.name, "", f"cannot be read: {error.strerror or error}")
        return
    if size is not None and there != size:
        yield Problem(path.name, "", f"has {there} bytes instead of {size}")
    elif digest.hexdigest() != sha256:
        yield Problem(path.name, "", "has changed since it was written: its sha256 is not the manifest's")


def _check_sample(file: OpenFile, entry: Any, ids: set[int], decoding: bool) -> tuple[int, str, list[str]]:
    """Category and key of a sample, and what is wrong with it; ``entry`` is its `INDEX` entry by the tar itself."""
    header = read_at(file, _BLOCK, int(entry["offset"]) - _BLOCK)
    key = header[:100].partition(b"\0")[0].decode("ascii", "replace").removesuffix(PARTS[0])
    jpeg = read_at(file, int(entry["size"]), int(entry["offset"]))
    category, faults = int(entry["category"]), []
    try:
        record = dict(json.loads(read_at(file, int(entry["record_size"]), int(entry["record"]))))
    except (ValueError, TypeError, RecursionError):
        return category, key, ["has a damaged json"]
    if hashlib.sha256(jpeg).hexdigest() != record.get("sha256"):
        faults.append("has changed: its sha256 is not that of its record")
    if record.get("key") != key or record.get("category_id") != category:
        faults.append("has a record of another key or category")
    if category not in ids:
        faults.append(f"is of category {category}, which the manifest does not have")
    if decoding:
        try:
            shape = tuple(decode(jpeg, "it").shape[1:])
        except DataError as error:
            faults.append(f"cannot be decoded: {error.message}")
        else:
            if shape != (entry["height"], entry["width"]):
                faults.append(f"is {shape[1]} x {shape[0]} pixels, but its record says otherwise")
    return category, key, faults
