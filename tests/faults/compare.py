"""Two folders of results go in; what differs and should not comes out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from clis_core.detectors.checkpoint import content_hash

_TIMES = ("time", "images_per_second", "data_wait", "memory_mb", "seconds")
_IGNORED = re.compile(r"(^|/)(\.cache/|\.lock$|\.crawl/|\.download/)")
_LITTER = re.compile(r"\.tmp($|/)|\.damaged$|\.part$")


def digests(folder: Path) -> dict[str, str]:
    """What each file holds, less what is of the clock."""
    return {
        name: _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _IGNORED.search(name := str(path.relative_to(folder)))
    }


def litter(found: dict[str, str]) -> list[str]:
    """Temporary files that were left."""
    return [name for name in found if _LITTER.search(name)]


def differences(want: dict[str, str], found: dict[str, str], varying: set[str]) -> list[str]:
    """Files that are missing, too many, or of other content.

    Args:
        want: of an undisturbed run.
        found: of the other.
        varying: files that differ between two undisturbed runs as well.
    """
    left = set(litter(found))
    names = sorted((want.keys() | found.keys()) - left)
    told = []
    for name in names:
        if name not in found:
            told.append(f"{name} is missing")
        elif name not in want:
            told.append(f"{name} is too many")
        elif want[name] != found[name] and name not in varying:
            told.append(f"{name} differs")
    return told


def _digest(path: Path) -> str:
    return hashlib.sha256(_content(path)).hexdigest()


def _content(path: Path) -> bytes:
    """The bytes of a file, less times and what depends on them."""
    if path.suffix == ".pt":  # equal texts are written once or twice, by whether they are one object
        with contextlib.suppress(Exception):  # of a damaged one
            return content_hash(torch.load(path, weights_only=True)).encode()
    if path.name == "log.jsonl":
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        kept = [_without(line, _TIMES) for line in lines if line["kind"] in ("train", "eval")]
        return json.dumps(kept).encode()
    if path.name == "manifest.json" and '"crawl-google"' in path.read_text():
        content = json.loads(path.read_bytes())
        content["shards"] = [_without(shard, ("sha256", "index_sha256", "size")) for shard in content["shards"]]
        return json.dumps(content).encode()
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            return repr([_member(tar, member) for member in tar]).encode()
    if path.suffix == ".safetensors":  # the order of its metadata is drawn
        data = path.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        return json.dumps(json.loads(data[8:end]), sort_keys=True).encode() + data[end:]
    return path.read_bytes()


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, bytes]:
    file = tar.extractfile(member)
    data = file.read() if file else b""
    if member.name.endswith(".json"):
        data = json.dumps(_without(json.loads(data), ("fetched",))).encode()
    return member.name, data


def _without(record: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in keys}
