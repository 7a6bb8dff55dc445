"""The data set and the shards of a config in; whether they are there, and their counts, out. No image is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clis_core.categories import Categories
from clis_core.config.methods import learns_from_pictures, pictures_for
from clis_core.config.run import RunConfig
from clis_core.data import annotation_cache
from clis_core.data.layout import Split, SplitName, check_splits, json_of, open_split
from clis_core.data.shards.reader import Shards
from clis_core.errors import ClisError
from clis_core.jobs.doctor.checks import Check, of_error

LARGE = 200_000_000
"""Bytes of an annotation json that takes longer to read than a look may take, unless it is cached."""


def data(config: RunConfig, runs: Path) -> tuple[list[Check], Categories | None]:
    """The data set: every image file is asked for, none is read.

    Args:
        config: names it.
        runs: folder of the runs, with the cache of annotations.

    Returns:
        what was found, and the classes with their counts in train; None where train was not read.
    """
    if config.data.root is None and config.data.train is None:
        hint = "clis init --data DIR, or clis download lvis-v1"
        return [Check("data", "note", "No data set is named: nothing to look at.", hint)], None
    found: list[Check] = []
    opened: dict[SplitName, Split] = {}
    for split in ("train", "val"):
        checks, one = _split(config, split, runs / ".cache")
        found += checks
        if one is not None:
            opened[split] = one
    if "train" in opened and "val" in opened:
        try:
            check_splits(opened["train"], opened["val"])
        except ClisError as error:
            found.append(of_error("data", error))
    if opened:
        found.append(Check("data", "note", "Whether images and boxes are sound was not looked at.", "clis data check"))
    return found, opened["train"].table.categories if "train" in opened else None


def shards(config: RunConfig, categories: Categories | None) -> list[Check]:
    """The shards of labelled pictures: their manifest, and whether every file is there in its size.

    Args:
        config: names them, and the regions.
        categories: of the data set; None where it was not read.
    """
    folder, learns = config.pictures.shards, learns_from_pictures(config.method) and config.pictures.s > 0
    if folder is None:
        if not learns:
            return []
        text = f"The method {config.method.kind} learns from labelled pictures, and no shards of them are named."
        return [Check("shards", "error", text, "--shards DIR; or make them: clis build-imagenet-subset")]
    from clis_core.data.companions import open_pictures

    try:
        opened = Shards(folder)
        manifest = opened.manifest
        figures: dict[str, Any] = {
            "folder": str(folder),
            "pictures": len(opened),
            "shards": len(manifest.shards),
            "categories": len(opened.categories),
            "bytes": sum(shard.size for shard in manifest.shards),
        }
        text = (
            f"{len(opened)} pictures of {len(opened.categories)} categories in {len(manifest.shards)} shards: {folder}"
        )
        if learns and categories is not None:
            pictures = open_pictures(pictures_for(config.method, config.pictures), categories, opened)
            figures |= {"of_classes": len(pictures.numbers), "classes": len(set(pictures.labels.tolist()))}
            text += f"; {figures['of_classes']} are of {figures['classes']} of the {len(categories)} classes"
    except ClisError as error:
        return [of_error("shards", error, "error" if learns else "warning")]
    unread = Check("shards", "note", "Whether every byte of them is right was not looked at.", "clis shards verify")
    return [Check("shards", "fine", f"{text}.", None, figures), unread]


def weights(config: RunConfig) -> list[Check]:
    """Whether the backbone's first weights are there, or will have to be fetched when training starts."""
    backbone = config.detector.backbone
    if backbone.init == "none":
        return []
    if backbone.init not in ("torchvision", "timm"):
        from clis_core.detectors.weights import BACKBONE

        path = Path(backbone.init)
        if path.is_file() or (path / BACKBONE).is_file():
            return [Check("weights", "fine", f"First weights: {path}.")]
        return [
            Check("weights", "error", f"First weights: {path} does not exist.", "--set detector.backbone.init=FILE")
        ]
    if backbone.init == "timm":
        return [Check("weights", "note", f"timm fetches weights of {backbone.name} when training starts.")]
    return _of_torchvision(backbone.name)


def _of_torchvision(name: str) -> list[Check]:
    import torch
    from torchvision.models import get_model_weights

    try:
        known = get_model_weights(name)
    except ValueError:
        return []
    best = known["DEFAULT" if name.startswith("mobilenet") else "IMAGENET1K_V1"]  # as where they are read
    file = Path(torch.hub.get_dir()) / "checkpoints" / best.url.rpartition("/")[2]
    if file.is_file():
        return [Check("weights", "fine", f"First weights of {name}: {file}.", None, {"file": str(file)})]
    text = f"First weights of {name} will be fetched when training starts: {best.url}"
    hint = f"Without network there: copy the file to {file}, or --init FILE, or --init none"
    return [Check("weights", "note", text, hint, {"file": str(file), "url": best.url})]


def _split(config: RunConfig, split: SplitName, cache: Path) -> tuple[list[Check], Split | None]:
    try:
        path = json_of(config.data, split)
        if path is None and split == "val":
            text = "No annotations for val: nothing can be evaluated."
            hint = "--set data.val=FILE, or train with --set train.eval_at_end=false"
            return [Check("data", "error" if config.train.eval_at_end else "warning", text, hint)], None
        if path is not None and path.is_file() and path.stat().st_size > LARGE:
            if not cache.is_dir() or annotation_cache.load(cache / annotation_cache.content_hash(path, cache)) is None:
                text = f"{split}: {path} is there, {path.stat().st_size / 1e9:.1f} GB; it was not read."
                return [Check("data", "note", text, "clis data check --no-files", {"split": split})], None
            opened = open_split(config.data, split, cache)
        else:
            opened = open_split(config.data, split, None)
    except ClisError as error:
        return [of_error("data", error)], None
    table = opened.table
    figures = {
        "split": split,
        "file": str(table.path),
        "images": len(table),
        "boxes": len(table.boxes),
        "classes": len(table.categories),
        "folder": str(opened.files.root),
    }
    text = f"{split}: {len(table)} images, all there, {len(table.boxes)} boxes of {len(table.categories)} classes"
    if split == "train" and not len(table.boxes):
        return [Check("data", "error", f"{text}: nothing to learn.", "clis data check", figures)], None
    return [Check("data", "fine", f"{text}: {table.path}", None, figures)], opened
