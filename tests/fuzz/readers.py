"""Every reader of files that others write: a name to a good file and a function that reads it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clis_core.categories import Categories, Category
from clis_core.config.load import load_config
from clis_core.config.workspace import read_workspace
from clis_core.data import annotation_cache
from clis_core.data.annotations import load_annotations
from clis_core.data.crawl.backends.urls import read_addresses
from clis_core.data.decode import decode
from clis_core.data.map_file import read_map
from clis_core.data.region_list import read_region_list
from clis_core.data.regions import REGION, REGIONS, read_about, read_part
from clis_core.data.shards.index import index_tar, read_index
from clis_core.data.shards.manifest import read_manifest
from clis_core.data.shards.resuming import Access
from clis_core.data.shards.stream import stream
from clis_core.data.sources.label_from import parse_label_from
from clis_core.data.sources.listing import Listing
from clis_core.data.sources.open import open_source
from clis_core.data.taxonomy import concepts
from clis_core.data.voc import _names, _read_xml
from clis_core.detectors.checkpoint import categories_of, config_of, read_checkpoint
from clis_core.detectors.export.about import from_json
from clis_core.detectors.weights import read_state
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import read_ground_truth
from clis_core.evaluation.results_json import from_coco_json
from clis_core.jobs.build_imagenet_subset import _Listed
from clis_core.jobs.report_runs import read_evaluation
from clis_core.jobs.run_log import read_log
from tests.pack import draw_items, tar_bytes

CATEGORIES = Categories([Category(3, "cat", "cat.n.01", "f", 9), Category(7, "dog", "dog.n.01", "r", 2)])


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: of the file that it reads; what stands beside it is good.
        good: bytes of good files.
        read: reads the file at a path.
        beside: other files of the folder, by name.
    """

    name: str
    good: tuple[bytes, ...]
    read: Callable[[Path], Any]
    beside: dict[str, bytes]


@cache
def readers() -> dict[str, Reader]:
    """All of them, by what they read."""
    images = [{"id": n, "width": 40, "height": 30, "file_name": f"{n}.jpg", "neg_category_ids": [7]} for n in (1, 2)]
    for image in images:
        image |= {"not_exhaustive_category_ids": [], "coco_url": f"http://x.org/train2017/{image['id']}.jpg"}
    boxes = [{"id": n, "image_id": 1, "category_id": 3, "bbox": [1.5, 2, 20, 10], "area": 200} for n in (5, 6)]
    for box in boxes:
        box |= {"iscrowd": 0, "segmentation": [[1, 2, 3, 4, 5, 6]]}
    classes = [{**c, "synonyms": [c["name"]], "def": "an animal", "frequency": "f"} for c in CATEGORIES.to_records()]
    for each in classes:
        each |= {"image_count": 1, "instance_count": 2}
    truth = json.dumps({"images": images, "annotations": boxes, "categories": classes}).encode()
    results = [{"image_id": 1, "category_id": 3, "bbox": [1.5, 2, 20, 10], "score": 0.5} for _ in range(3)]
    detic = {"images": [{"id": 1, "file_name": "a.jpg", "pos_category_ids": [3]}], "categories": classes}
    shard, index, manifest, keys = _shards()
    regions = np.zeros(2, REGION)
    regions["box"], regions["rank"] = (0.1, 0.2, 0.9, 0.8), 1
    jpeg = draw_items(each=1)[0].data
    config = b"preset = 'baseline-tiny'\n[data]\nroot = 'd'\n[train]\niterations = 5\nlr = 0.1\n[eval]\nengine='lvis'\n"
    space = b"[workspace]\nruns = 'runs'\npreset = 'clis-tiny'\npictures = ['a']\n[data]\nroot = 'd'\n"
    log = b'{"kind": "train", "time": 1.5, "step": 1, "loss": 2.0, "lr": 0.1}\n{"kind": "info", "text": "x"}\n'
    box_lines = b'{"key": "n1_1", "box": [0.1, 0.2, 0.9, 0.8]}\n{"key": "n1_2", "box": [0, 0, 1, 1]}\n'
    found = {
        "annotations": Reader("a.json", (truth,), lambda path: load_annotations(path, None), {}),
        "taxonomy": Reader("a.json", (truth,), concepts, {}),
        "ground truth": Reader("a.json", (truth,), read_ground_truth, {}),
        "results json": Reader("r.json", (json.dumps(results).encode(),), from_coco_json, {}),
        "detections": Reader("d.npz", (_detections(),), Detections.load, {}),
        "manifest": Reader("manifest.json", (manifest,), lambda path: read_manifest(path.parent), {}),
        "shard index": Reader("i.npy", (index,), lambda path: read_index(path, keys, len(shard)), {}),
        "shard": Reader("s.tar", (shard,), index_tar, {}),
        "shard as a stream": Reader("s.tar", (shard,), _stream, {}),
        "tar of pictures": Reader("p.tar", _tars(), _members, {}),
        "regions": Reader("r.npy", (_npy(regions),), lambda path: read_part(path, 2), {}),
        "regions.json": Reader(
            REGIONS,
            (b'{"format": 1, "rule": "centre", "shards": {"0.tar": "ab"}}',),
            lambda p: read_about(p.parent),
            {},
        ),
        "region list": Reader("l.jsonl", (box_lines,), read_region_list, {}),
        "region csv": Reader("l.csv", (b"key,x1,y1,x2,y2\nn1_1,0.1,0.2,0.9,0.8\n",), read_region_list, {}),
        "config": Reader("c.toml", (config,), load_config, {}),
        "clis.toml": Reader("clis.toml", (space,), read_workspace, {}),
        "checkpoint": Reader("c.pt", (_checkpoint(),), _read_checkpoint, {}),
        "weights": Reader("w.pth", (_saved({"state_dict": {"module.a": torch.ones(2)}}),), read_state, {}),
        "safetensors": Reader("w.safetensors", (_safetensors(),), read_state, {}),
        "about": Reader("about.json", (b'{"format": 1, "config": {}, "categories": []}',), _read_about, {}),
        "map csv": Reader("m.csv", (b"label,category\nkitty,cat\npuppy,7\nx,-\n",), read_map, {}),
        "map json": Reader("m.json", (b'{"kitty": "cat", "puppy": 7, "x": null}',), read_map, {}),
        "split file": Reader("s.txt", (b"n02084071\nn01440764 # x\n", b"a/b.jpg\nc.jpg\n"), _Listed.read, {}),
        "class list": Reader("c.txt", (b"cat\ndog\n",), lambda path: parse_label_from("cls", path), {}),
        "addresses csv": Reader("u.csv", (b"category,url,licence\ncat,https://x.org/1.jpg,cc0\n",), _addresses, {}),
        "addresses json": Reader("u.jsonl", (b'{"category": 3, "url": "https://x.org/1.jpg"}\n',), _addresses, {}),
        "list csv": Reader("l.csv", (b"path,label\na.jpg,cat\nb.jpg,dog\n",), _listing, {}),
        "list jsonl": Reader("l.jsonl", (b'{"path": "a.jpg", "label": "cat"}\n',), _listing, {}),
        "list json": Reader("l.json", (json.dumps(detic).encode(),), _listing, {}),
        "picture": Reader("p.jpg", (jpeg, _png()), lambda path: decode(path.read_bytes(), "it"), {}),
        "log": Reader("log.jsonl", (log,), read_log, {}),
        "voc xml": Reader("a.xml", (_xml(),), _read_xml, {}),
        "voc list": Reader("l.txt", (b"000005  1\n2008_000001\n",), _names, {}),
        "annotation cache": _cache(truth),
    }
    return {**found, **_evaluations()}


def _xml() -> bytes:
    box = b"<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>30</xmax><ymax>20</ymax></bndbox>"
    thing = b"<object><name>cat</name><difficult>0</difficult>" + box + b"</object>"
    size = b"<size><width>40</width><height>30</height></size>"
    return b"<annotation><filename>a.jpg</filename>" + size + 2 * thing + b"</annotation>"


def _stream(path: Path) -> None:
    for _ in stream(path, seed=0, epoch=0, access=Access(1, 0, 0), max_bad_fraction=1.0):
        pass


def _members(path: Path) -> None:
    source = open_source(path)
    for member in source.members(lambda _: True):
        assert "/" not in member.name


def _listing(path: Path) -> None:
    listing = Listing(path)
    for _ in listing.members(lambda _: True):
        pass


def _addresses(path: Path) -> None:
    read_addresses(path, CATEGORIES, 10)


def _read_checkpoint(path: Path) -> None:
    content = read_checkpoint(path)
    categories_of(content, path)
    config_of(content, path)


def _read_about(path: Path) -> None:
    from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _saved(content: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def _checkpoint() -> bytes:
    """Of a detector with one weight; building it is not what is tried."""
    detector = {"head.fc_cls.weight": torch.arange(6.0).reshape(2, 3)}
    categories = json.dumps(CATEGORIES.to_records())
    return _saved(
        {
            "format": 1,
            "step": 3,
            "detector_config": json.dumps({"kind": "faster-rcnn"}),
            "categories": categories,
            "detector": detector,
        }
    )


def _safetensors() -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(8)


def _png() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("P", (5, 4)).save(out, "PNG")
    return out.getvalue()


def _tars() -> tuple[bytes, ...]:
    items = draw_items(each=1)
    folders = [(f"{item.label}/{item.name}", item.data) for item in items]
    pax = tar_bytes([("n01440764/" + "é" * 120 + ".JPEG", items[0].data)], format=tarfile.PAX_FORMAT)
    gnu = tar_bytes([("n01440764/" + "x" * 120 + ".JPEG", items[0].data)], format=tarfile.GNU_FORMAT)
    inner = tar_bytes([(items[0].name, items[0].data)])
    return tar_bytes(folders), pax, gnu, tar_bytes([("n01440764.tar", inner)]), tar_bytes(folders[:1], "w:gz")


@cache
def _shards() -> tuple[bytes, bytes, bytes, int]:
    """A tar, its index, a manifest, and how many samples."""
    import tempfile

    from tests.data.shards.world import build, samples

    with tempfile.TemporaryDirectory() as name:
        build(Path(name), samples(3), shards=1)
        files = [Path(name) / each for each in ("00000.tar", "00000.index.npy", "manifest.json")]
        tar, index, manifest = (file.read_bytes() for file in files)
    return tar, index, manifest, 3


@cache
def _detections() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "d.npz"
        two = np.zeros((2, 4), np.float32)
        Detections(np.array([1, 2]), np.array([3, 7], np.int32), two, np.ones(2, np.float32)).save(path)
        return path.read_bytes()


def _cache(truth: bytes) -> Reader:
    """The facts of an annotation cache."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "a.json").write_bytes(truth)
        folder = load_annotations(Path(name) / "a.json", Path(name) / "cache").folder
        assert folder is not None
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    facts = files.pop("facts.json")
    return Reader("facts.json", (facts,), lambda path: annotation_cache.load(path.parent), files)


def _evaluations() -> dict[str, Reader]:
    """The records that clis report reads."""
    import tempfile

    from clis_core.evaluation.evaluate import evaluate_in_full, prepare
    from clis_core.jobs.eval_files import write_records
    from tests.draw import draw_lvis

    with tempfile.TemporaryDirectory() as name:
        folder = draw_lvis(Path(name) / "w", train=3, val=3, size=48)
        path = folder / "lvis_v1_val.json"
        content = json.loads(path.read_bytes())
        boxes = content["annotations"]
        detections = Detections(
            np.array([b["image_id"] for b in boxes]),
            np.array([b["category_id"] for b in boxes], np.int32),
            np.array([[b["bbox"][0], b["bbox"][1], b["bbox"][0] + 9, b["bbox"][1] + 9] for b in boxes], np.float32),
            np.linspace(0.1, 0.9, len(boxes), dtype=np.float32),
        )
        metrics = evaluate_in_full(prepare(path, "hotcoco", None), detections)
        write_records(Path(name) / "eval", metrics, {"step": 1, "images": 3, "detections": len(boxes)})
        files = {file.name: file.read_bytes() for file in (Path(name) / "eval").iterdir()}

    def reader(which: str) -> Reader:
        beside = {other: data for other, data in files.items() if other != which}
        return Reader(which, (files[which],), lambda path: read_evaluation("a", path.parent, None), beside)

    return {which: reader(which) for which in sorted(files) if which.endswith(".json")}
