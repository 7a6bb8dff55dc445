"""Vocabularies, odd files and short ways to build, for the tests of builds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clis_core.data.shards.manifest import Manifest
from clis_core.data.shards.reader import Shards
from clis_core.jobs.build_imagenet_subset import build_imagenet_subset, plan_subset
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.report import Reporter, SilentReporter

CATEGORIES = [
    {"id": 3, "name": "tench", "synset": "tench.n.01", "synonyms": ["tench", "Tinca tinca"], "frequency": "r"},
    {"id": 5, "name": "dog", "synset": "dog.n.01", "synonyms": ["dog"], "frequency": "c"},
    {"id": 9, "name": "orange_(fruit)", "synset": "orange.n.01", "synonyms": ["orange"], "frequency": "f"},
    {"id": 12, "name": "zebra", "synset": "zebra.n.01", "synonyms": ["zebra"], "frequency": "f"},
    {"id": 14, "name": "stop_sign", "synset": "stop_sign.n.01", "synonyms": ["stop_sign"], "frequency": "r"},
]
"""The classes of `tests.pack.WNIDS`, one that sources could have, and one that ImageNet does not have."""
IDS = {"n01440764": 3, "n02084071": 5, "n07747607": 9}


def vocabulary(path: Path, categories: Sequence[dict[str, Any]] = CATEGORIES) -> Path:
    """A training json of one image without boxes."""
    image = {"id": 1, "file_name": "1.jpg", "height": 8, "width": 8}
    content = {"images": [image], "annotations": [], "categories": [{**c, "image_count": 7} for c in categories]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def build_subset(
    source: Path,
    out: Path,
    json: Path,
    *,
    options: BuildOptions | None = None,
    reporter: Reporter | None = None,
    **how: Any,
) -> Manifest:
    """`clis build-imagenet-subset` in this process."""
    plan = plan_subset([source], json, **how)
    return build_imagenet_subset(plan, out, options or BuildOptions(), reporter=reporter or SilentReporter())


def build_own(
    source: Path,
    out: Path,
    json: Path,
    *,
    options: BuildOptions | None = None,
    reporter: Reporter | None = None,
    **how: Any,
) -> Manifest:
    """`clis build-images` in this process."""
    plan = plan_images([source], json, **how)
    return build_images(plan, out, options or BuildOptions(), reporter=reporter or SilentReporter())


def samples(folder: Path) -> list[tuple[str, str, int]]:
    """Name, SHA-256 and category of every sample, sorted; their bytes are hashed here."""
    shards = Shards(folder)
    found = []
    for number in range(len(shards)):
        record, digest = shards.record(number), hashlib.sha256(shards.data(number)).hexdigest()
        assert record["sha256"] == digest
        assert record["category_id"] == shards.categories[int(shards.labels[number]) - 1].id
        found.append((record["filename"], digest, record["category_id"]))
    return sorted(found)


def refused(folder: Path) -> list[dict[str, str]]:
    """The lines of refused.jsonl."""
    return [json.loads(line) for line in (folder / "refused.jsonl").read_text(encoding="utf-8").splitlines()]


def content(folder: Path) -> dict[str, str]:
    """Hash of every file by name."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.is_file()}


def drawn(kind: str = "JPEG", mode: str = "RGB", seed: int = 0, **options: Any) -> bytes:
    """A picture of 32 x 24 in another format."""
    random = np.random.default_rng(seed)
    pixels = np.kron(random.integers(0, 256, (3, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind, **options)
    return out.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A PNG of some kilobytes that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(side + 1) * 32)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def odd_files() -> tuple[list[tuple[str, bytes]], dict[str, tuple[str, ...]], dict[str, str]]:
    """Files by name; what is changed of those that are taken, by name; why the others are refused, by name."""
    turned = Image.Exif()
    turned[0x0112] = 6
    good = drawn(quality=90)
    taken: dict[str, tuple[bytes, tuple[str, ...]]] = {
        "good.JPEG": (good, ()),
        "grey.JPEG": (drawn(mode="L"), ()),
        "progressive.JPEG": (drawn(progressive=True), ()),
        "packed.JPEG": (gzip.compress(drawn(seed=1)), ("gzip",)),
        "png.JPEG": (drawn("PNG"), ("PNG",)),
        "cmyk.JPEG": (drawn(mode="CMYK"), ("CMYK or 12 bits",)),
        "gif.JPEG": (drawn("GIF", "P"), ("GIF",)),
        "webp.JPEG": (drawn("WEBP"), ("WEBP",)),
        "turned.JPEG": (drawn(exif=turned), ("turned upright",)),
    }
    bad: dict[str, tuple[bytes, str]] = {
        "empty.JPEG": (b"", "empty"),
        "cut.JPEG": (good[: len(good) // 2], "cut short"),
        "page.JPEG": (b"<!DOCTYPE html><html>404</html>", "a web page or text"),
        "noise.JPEG": (bytes(range(256)), "no picture"),
        "bomb.JPEG": (bomb(), "more than 89478485 pixels"),
        "small.JPEG": (encoded_small(), "a side below 16 pixels"),
    }
    files = [(name, data) for name, (data, _) in taken.items()] + [(name, data) for name, (data, _) in bad.items()]
    return (
        files,
        {name: changed for name, (_, changed) in taken.items()},
        {name: reason for name, (_, reason) in bad.items()},
    )


def encoded_small() -> bytes:
    """A JPEG of 8 x 8."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    return out.getvalue()
