"""The manifest of a folder of shards: what is in it, how it was made, and the hash of every file.

A folder of shards holds

- ``00000.tar``, ``00001.tar``, ...: for each sample three members that follow each other, ``KEY.jpg`` (an upright RGB
  or grey JPEG), ``KEY.json`` (one object) and ``KEY.cls`` (the category id in digits);
- ``00000.index.npy``, ...: one `INDEX` entry a sample, in the order of the tar;
- ``manifest.json``: the fields of `Manifest`, written last: a folder without it is not finished;
- ``refused.jsonl``: one line for each member that was refused, with its reason.

Files of a finished folder never change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clis_core.categories import Categories
from clis_core.errors import JSON_DAMAGE, DataError, format_hint
from clis_core.files import write_text

FORMAT = 1
MANIFEST = "manifest.json"
REFUSED = "refused.jsonl"
INDEX = np.dtype(
    [
        ("offset", "<i8"),  # of the JPEG's first byte in the tar
        ("size", "<i4"),  # of the JPEG, in bytes
        ("record", "<i8"),  # offset of the json's first byte
        ("record_size", "<i4"),  # of the json, in bytes
        ("category", "<i8"),  # its id
        ("height", "<i4"),  # pixels
        ("width", "<i4"),
    ]
)


@dataclass(frozen=True)
class ShardFile:
    """One shard.

    Attributes:
        name: of the tar, such as ``00000.tar``.
        samples: number of samples.
        size: of the tar, in bytes.
        sha256: of the tar.
        index_sha256: of the index file beside it.
    """

    name: str
    samples: int
    size: int
    sha256: str
    index_sha256: str

    @property
    def index_name(self) -> str:
        """Name of the index file beside the tar."""
        return self.name.removesuffix(".tar") + ".index.npy"


@dataclass(frozen=True)
class Manifest:
    """What a folder of shards holds.

    Attributes:
        categories: the classes that a sample may have, of the data set that the shards were made for.
        shards: the files.
        counts: samples by category id; a category without a picture is not in it.
        unmatched: why a category got no picture from the source, by category id.
        refused: members that were refused, by reason.
        made: how: clis's version, the command's options, the source.
    """

    categories: Categories
    shards: tuple[ShardFile, ...]
    counts: Mapping[int, int]
    unmatched: Mapping[int, str] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples in all shards."""
        return sum(shard.samples for shard in self.shards)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; it is there whole or not at all."""
    content = {
        "format": FORMAT,
        "samples": manifest.samples,
        "made": dict(manifest.made),
        "shards": [vars(shard) for shard in manifest.shards],
        "categories": manifest.categories.to_records(),
        "counts": {str(k): v for k, v in manifest.counts.items()},
        "unmatched": {str(k): v for k, v in manifest.unmatched.items()},
        "refused": dict(manifest.refused),
    }
    write_text(folder / MANIFEST, json.dumps(content, indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished folder of shards.

    Raises:
        DataError: there is none, or it is damaged or of a newer format.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{folder} holds no finished shards: {path.name} cannot be read ({error.strerror or error}).",
            hint="Make them with clis build-imagenet-subset; a build that was stopped goes on when it is run again.",
        ) from None
    except UnicodeDecodeError:
        raise _damaged(path, "it is no UTF-8 text") from None
    return parse_manifest(text, path)


def parse_manifest(text: str, path: Path | str) -> Manifest:
    """A manifest from its text.

    Args:
        text: the json.
        path: what to call it in a message.

    Raises:
        DataError: it is damaged or of a newer format.
    """
    try:
        content = json.loads(text)
        number = content["format"]
    except (*JSON_DAMAGE, TypeError, KeyError) as error:
        raise _damaged(path, str(error)) from None
    if number != FORMAT:
        raise DataError(
            f"{path}: shards of format {number}, but this clis reads {FORMAT}.", hint=format_hint(number, FORMAT)
        )
    try:
        manifest = Manifest(
            categories=Categories.from_records(content["categories"]),
            shards=tuple(_shard(record) for record in content["shards"]),
            counts={int(k): int(v) for k, v in content["counts"].items()},
            unmatched={int(k): str(v) for k, v in content["unmatched"].items()},
            refused={str(k): int(v) for k, v in content["refused"].items()},
            made=dict(content["made"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, DataError) as error:
        raise _damaged(path, str(error)) from None
    if len({shard.name for shard in manifest.shards}) != len(manifest.shards):
        raise _damaged(path, "it names a shard twice")
    if sum(manifest.counts.values()) != manifest.samples:
        raise _damaged(path, "its counts by category do not sum to its samples")
    return manifest


def _shard(record: Mapping[str, Any]) -> ShardFile:
    shard = ShardFile(
        name=str(record["name"]),
        samples=int(record["samples"]),
        size=int(record["size"]),
        sha256=str(record["sha256"]),
        index_sha256=str(record["index_sha256"]),
    )
    if Path(shard.name).name != shard.name or not shard.name.endswith(".tar"):
        raise ValueError(f"{shard.name!r} is no name of a shard")
    if shard.samples < 1 or shard.size < 1:
        raise ValueError(f"{shard.name} is said to hold {shard.samples} samples in {shard.size} bytes")
    return shard


def _damaged(path: Path | str, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}.", hint="Build the shards anew, into another folder.")
