"""One set of labelled pictures goes in; it is written in every packing that a source reads."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from clis_core.categories import Categories, Category
from clis_core.data.shards.builder import ShardBuilder
from clis_core.data.shards.sample import Sample
from clis_core.report import SilentReporter

WNIDS = ("n01440764", "n02084071", "n07747607")


class Item(NamedTuple):
    """One labelled picture."""

    label: str
    name: str
    data: bytes


def draw_items(labels: Iterable[str] = WNIDS, each: int = 4, seed: int = 0) -> list[Item]:
    """Small JPEGs, ``each`` for a label, named as ImageNet names them; no two are alike."""
    rng = np.random.default_rng(seed)
    return [Item(label, f"{label}_{k}.JPEG", draw_jpeg(rng)) for label in labels for k in range(each)]


def draw_jpeg(rng: np.random.Generator, height: int = 24, width: int = 32) -> bytes:
    """A picture of smooth noise."""
    noise = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    file = io.BytesIO()
    noise.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def tar_bytes(files: Iterable[tuple[str, bytes]], mode: str = "w", format: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar of regular files, and of folders where a path ends in a slash; ``mode`` "w", "w:gz", "w:bz2" or "w:xz"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as tar:  # type: ignore[call-overload]
        for path, data in files:
            info = tarfile.TarInfo(path)
            info.size = len(data)
            info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def write(path: Path, data: bytes) -> Path:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def by_label(items: Iterable[Item]) -> dict[str, list[Item]]:
    """The items of each label, in order."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.label, []).append(item)
    return found


def class_tar(items: Iterable[Item]) -> bytes:
    """One class's tar, members flat as in ImageNet."""
    return tar_bytes((item.name, item.data) for item in items)


def class_tars(folder: Path, items: Iterable[Item]) -> Path:
    """``LABEL.tar`` for each label."""
    for label, some in by_label(items).items():
        write(folder / f"{label}.tar", class_tar(some))
    return folder


def tar_of_tars(path: Path, items: Iterable[Item], mode: str = "w", below: str = "") -> Path:
    """A tar of class tars, as ImageNet's fall11_whole.tar."""
    inner = ((f"{below}{label}.tar", class_tar(some)) for label, some in by_label(items).items())
    return write(path, tar_bytes(inner, mode))


def tar_of_folders(path: Path, items: Iterable[Item], mode: str = "w", below: str = "") -> Path:
    """A tar of class folders, as ImageNet's winter21_whole.tar.gz."""
    return write(path, tar_bytes(((f"{below}{i.label}/{i.name}", i.data) for i in items), mode))


def class_folders(folder: Path, items: Iterable[Item], below: str = "") -> Path:
    """A folder for each label."""
    for item in items:
        write(folder / item.label / below / item.name, item.data)
    return folder


def imagenet_21k_p(folder: Path, items: Iterable[Item]) -> Path:
    """The three folders of ImageNet-21K-P: of each class some to train and some to val, the last class is small."""
    groups = by_label(items)
    for label, some in groups.items():
        if label == max(groups) and len(groups) > 1:
            class_folders(folder / "imagenet21k_small_classes", some)
        else:
            class_folders(folder / "imagenet21k_val", some[:1])
            class_folders(folder / "imagenet21k_train", some[1:])
    return folder


def csv_list(path: Path, items: Iterable[Item]) -> Path:
    """A CSV beside the pictures' folder."""
    rows = [(f"pictures/{i.label}/{i.name}", i.label) for i in items]
    class_folders(path.parent / "pictures", items)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file_name", "class_name"), *rows])
    return path


def jsonl_list(path: Path, items: Iterable[Item]) -> Path:
    """A JSONL beside the pictures' folder."""
    class_folders(path.parent / "pictures", items)
    lines = [json.dumps({"path": f"pictures/{i.label}/{i.name}", "label": i.label, "more": [1]}) for i in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def image_json(path: Path, items: Iterable[Item]) -> Path:
    """A json of images with one category each, as Detic's."""
    class_folders(path.parent, items)
    ids = {label: 10 * k + 3 for k, label in enumerate(by_label(items))}
    images = [
        {"id": k, "file_name": f"{i.label}/{i.name}", "pos_category_ids": [ids[i.label]]} for k, i in enumerate(items)
    ]
    categories = [{"id": number, "name": label, "synset": "x.n.01"} for label, number in ids.items()]
    path.write_text(json.dumps({"images": images, "categories": categories}), encoding="utf-8")
    return path


def webdataset(
    folder: Path,
    items: Iterable[Item],
    fields: Callable[[Item], Mapping[str, Any]] | None = None,
    number: Mapping[str, int] | None = None,
    per_shard: int = 5,
) -> Path:
    """Shards ``00000.tar``, ... of ``KEY.jpeg``, and ``KEY.json`` or ``KEY.cls`` where they are given."""
    rows = list(items)
    for first in range(0, len(rows), per_shard):
        files: list[tuple[str, bytes]] = []
        for item in rows[first : first + per_shard]:
            key = item.name.partition(".")[0]
            files.append((item.name, item.data))
            if fields is not None:
                files.append((f"{key}.json", json.dumps(fields(item)).encode()))
            if number is not None:
                files.append((f"{key}.cls", str(number[item.label]).encode()))
        write(folder / f"{first // per_shard:05d}.tar", tar_bytes(files))
    return folder


def own_shards(folder: Path, items: Iterable[Item], shards: int = 2, *, wnid: bool = True) -> Path:
    """Shards as clis writes them; the labels are WordNet ids, or the names of classes."""
    rows = list(items)
    ids = {label: k for k, label in enumerate(by_label(rows), start=1)}
    categories = Categories(Category(k, f"class {label}" if wnid else label) for label, k in ids.items())
    with ShardBuilder(folder, categories, {"command": "test"}, shards=shards) as builder:
        for item in rows:
            record = {"wnid": item.label} if wnid else {}
            builder.add(Sample(item.label, item.name, ids[item.label], item.data, 24, 32, record))
        builder.finish(unmatched={}, made={}, reporter=SilentReporter())
    return folder


def class_list(path: Path, labels: Iterable[str] = WNIDS) -> Path:
    """One class a line."""
    path.write_text("\n".join(labels) + "\n", encoding="utf-8")
    return path


class Packed(NamedTuple):
    """A written set, and the arguments of `open_source` that it needs."""

    path: Path
    arguments: dict[str, Any]


def _filename(item: Item) -> dict[str, Any]:
    return {"filename": f"train/{item.label}/{item.name}"}


def _flat_filename(item: Item) -> dict[str, Any]:
    return {"filename": item.name, "label": 5}


def _class_name(item: Item) -> dict[str, Any]:
    return {"label": 7, "class_name": item.label}


PACKINGS: dict[str, Callable[[Path, list[Item]], Packed]] = {
    "class tars": lambda d, i: Packed(class_tars(d / "s", i), {}),
    "class tars by option": lambda d, i: Packed(class_tars(d / "s", i), {"label_from": "tar"}),
    "tar of tars": lambda d, i: Packed(tar_of_tars(d / "whole.tar", i), {}),
    "tar of tars in a folder": lambda d, i: Packed(tar_of_tars(d / "whole.tar", i, below="fall11/"), {}),
    "tar.gz of tars": lambda d, i: Packed(tar_of_tars(d / "whole.tar.gz", i, "w:gz"), {}),
    "tar.bz2 of tars": lambda d, i: Packed(tar_of_tars(d / "whole.tar.bz2", i, "w:bz2"), {}),
    "tar.xz of tars": lambda d, i: Packed(tar_of_tars(d / "whole.tar.xz", i, "w:xz"), {}),
    "class folders": lambda d, i: Packed(class_folders(d / "s", i), {}),
    "nested class folders": lambda d, i: Packed(class_folders(d / "s", i, below="a/b"), {}),
    "ImageNet-1k folders": lambda d, i: Packed(class_folders(d / "s" / "train", i).parent, {}),
    "ImageNet-21K-P": lambda d, i: Packed(imagenet_21k_p(d / "s", i), {}),
    "tar of folders": lambda d, i: Packed(tar_of_folders(d / "whole.tar", i), {}),
    "tar.gz of folders": lambda d, i: Packed(tar_of_folders(d / "whole.tar.gz", i, "w:gz", "winter21/a/"), {}),
    "tar.xz of folders": lambda d, i: Packed(tar_of_folders(d / "whole.tar.xz", i, "w:xz"), {}),
    "CSV": lambda d, i: Packed(csv_list(d / "list.csv", i), {}),
    "CSV with a root": lambda d, i: Packed(csv_list(d / "l.csv", i).rename(d.parent / f"{d.name}.csv"), {"root": d}),
    "JSONL": lambda d, i: Packed(jsonl_list(d / "list.jsonl", i), {}),
    "image json": lambda d, i: Packed(image_json(d / "list.json", i), {}),
    "shards json": lambda d, i: Packed(webdataset(d / "s", i, _class_name), {"label_from": "json:class_name"}),
    "shards key-prefix": lambda d, i: Packed(webdataset(d / "s", i), {"label_from": "key-prefix"}),
    "shards filename": lambda d, i: Packed(webdataset(d / "s", i, _filename), {"label_from": "filename"}),
    "shards flat filename": lambda d, i: Packed(webdataset(d / "s", i, _flat_filename), {"label_from": "filename"}),
    "shards cls": lambda d, i: Packed(
        webdataset(d / "s", i, number={label: k for k, label in enumerate(WNIDS)}),
        {"label_from": "cls", "class_list": class_list(d / "classes.txt")},
    ),
    "shards by pattern": lambda d, i: Packed(
        webdataset(d / "s", i) / f"{{00000..{(len(i) - 1) // 5:05d}}}.tar", {"label_from": "key-prefix"}
    ),
    "own shards": lambda d, i: Packed(own_shards(d / "s", i), {}),
}
"""Every packing: a folder and the items (labels of `WNIDS`) in, what was written out."""
