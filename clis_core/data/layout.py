"""A folder, or paths from the config, go in; the annotation json of a split and its image files come out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clis_core.config.data import DataConfig
from clis_core.data.annotations import AnnotationTable, load_annotations
from clis_core.data.images import ImageFiles, locate
from clis_core.data.voc import find_voc, is_voc, years_root
from clis_core.errors import ConfigError, DataError

SplitName = Literal["train", "val"]

_JSONS: dict[SplitName, tuple[str, ...]] = {
    "train": (
        "lvis_v1_train.json",
        "lvis_v0.5_train.json",
        "lvis_train.json",
        "instances_train2017.json",
        "instances_train2014.json",
        "instances_train.json",
        "train.json",
    ),
    "val": (
        "lvis_v1_val.json",
        "lvis_v0.5_val.json",
        "lvis_val.json",
        "instances_val2017.json",
        "instances_val2014.json",
        "instances_val.json",
        "val.json",
        "valid.json",
    ),
}
_ROBOFLOW = "_annotations.coco.json"
_ROBOFLOW_FOLDERS: dict[SplitName, tuple[str, ...]] = {"train": ("train",), "val": ("valid", "val")}
_IMAGE_FOLDERS = {
    "train": ("train2017", "train2014", "train"),
    "val": ("val2017", "val2014", "val", "valid"),
    "test": ("test2017", "test2014", "test"),
}
_INIT = "or make a workspace with `clis init`, whose clis.toml names the data"


@dataclass(frozen=True)
class Layout:
    """The annotation files of a data set.

    Attributes:
        root: its folder.
        train: json of the training images, None where there is none.
        val: json of the validation images, None where there is none.
    """

    root: Path
    train: Path | None
    val: Path | None


@dataclass(frozen=True)
class Split:
    """The images of a split and their boxes.

    Attributes:
        table: the boxes.
        files: where the images are, in the order of the table.
    """

    table: AnnotationTable
    files: ImageFiles


def find_dataset(root: Path) -> Layout:
    """Find the annotation files of a data set: an official download of LVIS, COCO or VOC, a Roboflow export, ...

    Raises:
        DataError: there is no such folder, nothing is found in it, or two files could be one split's.
    """
    layout = Layout(root, find_json(root, "train"), find_json(root, "val"))
    if layout.train is None and layout.val is None:
        raise DataError(
            f"{root} is not a data set: for train, {_looked_for('train')}; for val, {_looked_for('val')}.",
            hint=_how("train"),
        )
    return layout


def find_json(root: Path, split: SplitName) -> Path | None:
    """The annotation file of one split of a data set, None where there is none.

    Raises:
        DataError: there is no such folder, or two files could be the one.
    """
    if not root.is_dir():
        raise DataError(f"Data folder {root} does not exist or is a file.", hint=_how(split))
    places = [folder / name for folder in (root, root / "annotations") for name in _JSONS[split]]
    places += [root / folder / _ROBOFLOW for folder in _ROBOFLOW_FOLDERS[split]]
    found = list({p.resolve(): p for p in places if p.is_file()}.values())
    if not found and (voc := find_voc(root, split)):
        return voc
    if not found and split == "val" and (root / "test" / _ROBOFLOW).is_file():
        return root / "test" / _ROBOFLOW  # an export that was split in two has no other to validate on
    if len(found) > 1:
        raise DataError(
            f"{root} has {len(found)} annotation files for {split}: {', '.join(str(p) for p in found)}.",
            hint=f"Choose one, such as --set data.{split}={found[0]}",
        )
    return found[0] if found else None


def find_images(
    table: AnnotationTable,
    explicit_root: Path | None,
    json_path: Path,
    data_root: Path | None,
    split: SplitName = "train",
) -> ImageFiles:
    """Find the folder and the naming by which every image of a table exists.

    Args:
        table: the images' names.
        explicit_root: the folder that the user named; None searches.
        json_path: the annotation file; its folder and the one above are searched.
        data_root: folder of the data set; it is searched first.
        split: which of the config's folders the hint names.

    Raises:
        DataError: under no folder and naming are all the images there; says what is missing where.
    """
    hint = f"Name the folder that the file names start from: --set data.{split}_images=DIR"
    if explicit_root is not None and not explicit_root.is_dir():
        raise DataError(f"Image folder {explicit_root} does not exist or is a file.", hint=hint)
    return locate(table, *image_folders(explicit_root, json_path, data_root), hint)


def image_folders(explicit_root: Path | None, json_path: Path, data_root: Path | None) -> tuple[list[Path], list[Path]]:
    """Where the images of a json may lie: folders for any naming, and folders for that by ``coco_url`` alone.

    See `find_images` for the arguments.
    """
    if explicit_root is not None:
        return [explicit_root], [explicit_root.parent]
    if is_voc(json_path):
        return [years_root(json_path)], []
    parents = [json_path.parent, json_path.parent.parent]
    bases = list(dict.fromkeys([*([data_root] if data_root else []), *parents]))
    # Only folders of the json's own split: train/1.jpg and val/1.jpg may be two pictures.
    own = _IMAGE_FOLDERS.get(_split_of(json_path), ())
    folders = ["", "images", *own, *(f"images/{name}" for name in own)]
    roots = [base / folder for base in bases for folder in folders]
    return [r for r in roots if r.is_dir()], []


def open_split(config: DataConfig, split: SplitName, cache: Path | None) -> Split:
    """The boxes and images of a split, by explicit paths where the config has them, else by its folder.

    Training images bring their counts into the categories, and groups where the json has none.

    Args:
        config: the data section of a run.
        split: "train" or "val".
        cache: folder for arrays, see `load_annotations`.

    Raises:
        ConfigError: the config names neither a json for the split nor a folder.
        DataError: files are missing or damaged, or the folder holds no such split.
    """
    if config.root is None and (config.train if split == "train" else config.val) is None:
        raise ConfigError(f"No data set is named: data.{split} and data.root are empty.", hint=_how(split))
    path = json_of(config, split)
    if path is None:
        raise DataError(f"{config.root} has no annotations for {split}: {_looked_for(split)}.", hint=_how(split))
    table = load_annotations(path, cache)
    if split == "train":
        table = table.with_categories(table.categories.with_counts(table.image_counts().tolist()))
    explicit = config.train_images if split == "train" else config.val_images
    return Split(table, find_images(table, explicit, path, config.root, split))


def json_of(config: DataConfig, split: SplitName) -> Path | None:
    """The annotation file of a split: the one that the config names, else that of its folder; None for none.

    Raises:
        DataError: there is no such folder, or two files could be the one.
    """
    named = config.train if split == "train" else config.val
    if named is not None or config.root is None:
        return named
    return find_json(config.root, split)


def check_splits(train: Split, val: Split) -> None:
    """Check that train and val mean the same classes.

    Raises:
        DataError: val has a category that train has not, or names it otherwise.
    """
    train.table.categories.check_same(val.table.categories, str(train.table.path), str(val.table.path))


def _split_of(json_path: Path) -> str:
    """train, val, test or "" by the name of a json, or of its folder."""
    for text in (json_path.stem, json_path.parent.name):
        found = re.search(r"(?<![a-z])(train|val|test)", text.lower())
        if found:
            return found.group(1)
    return ""


def _looked_for(split: SplitName) -> str:
    folders = ", ".join(f"{name}/{_ROBOFLOW}" for name in _ROBOFLOW_FOLDERS[split])
    lists = "ImageSets/Main/*.txt and Annotations there and in folders of years, as VOC has them"
    return f"looked for {', '.join(_JSONS[split])} there and in annotations/, for {folders}, and for {lists}"


def _how(split: SplitName) -> str:
    return f"Name a folder with --data DIR, or a json with --set data.{split}=FILE, {_INIT}."
