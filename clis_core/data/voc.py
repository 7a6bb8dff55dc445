"""A folder in the layout of PASCAL VOC goes in; the image list of a split, and all that its XML files say, come out.

N images, A objects. A list is ``YEAR/ImageSets/Main/trainval.txt``; a folder with several years beside each other
(``VOCdevkit``) stands for the training images of all of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Categories, Category
from clis_core.errors import DataError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""Those of VOC 2007 to 2012, in their order."""
_MAIN = Path("ImageSets", "Main")
_LARGEST = 4 << 20  # bytes of an XML file
_MOST_PIXELS = 2**31 - 1  # along a side
_ANNOTATED = "Annotations"
_OF_ALL_YEARS = re.compile(r"\d{4}_\d{6}")  # names of images from 2008 on, which later years have again


@dataclass(frozen=True)
class VocSet:
    """What the XML files of a list's images say.

    Attributes:
        categories: the classes.
        names: of the images, below the folder that holds the years: ``VOC2007/JPEGImages/000005.jpg``.
        sizes: int32 ``[N, 2]``, (height, width) in pixels.
        image_of: int64 ``[A]``, place of the image that an object is in.
        category_ids: int64 ``[A]``.
        xywh: float64 ``[A, 4]``, left, top, width, height in pixels, the first pixel being from 0 to 1.
        difficult: bool ``[A]``; these are neither learnt nor looked for.
    """

    categories: Categories
    names: list[str]
    sizes: NDArray[np.int32]
    image_of: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    xywh: NDArray[np.float64]
    difficult: NDArray[np.bool_]


def is_voc(path: Path) -> bool:
    """Whether a path is an image list in the layout of VOC, or a folder with years of it."""
    if path.is_dir():
        return bool(_years(path))
    return path.suffix == ".txt" and path.parent.parts[-2:] == _MAIN.parts


def find_voc(root: Path, split: Literal["train", "val"]) -> Path | None:
    """The list of a split of a year's folder, or of the years in a folder; None where there is none.

    Validated is on 2007's test images where they are there with their objects, else on those of the newest year, on
    ``test`` before ``val``; the other images are trained on.

    Args:
        root: a year, or years.
        split: which.
    """
    years = [root] if _is_year(root) else _years(root)
    if not years:
        return None
    val = _val_list(years)
    if split == "val":
        return val
    lists = _train_lists(years, val)
    return lists[0] if len(lists) == 1 else root if lists else None


def years_root(path: Path) -> Path:
    """The folder that the names of `VocSet` start from."""
    return path if path.is_dir() else path.absolute().parents[3]


def read_voc(path: Path) -> VocSet:
    """Read a list's XML files.

    From 2008 on a year has the images of those before it again: of several years each is read once, from the newest,
    and none that is validated on. The classes are the twenty of VOC where the folder has VOC's own lists of them
    (``aeroplane_*.txt``), else all that occur in its XML files, in alphabetical order; ids are 1, 2, ...

    Args:
        path: of `find_voc`.

    Raises:
        DataError: a file is missing or is not what VOC has; names file and object.
    """
    years = _years(path)
    val = _val_list(years)
    lists = _train_lists(years, val) if years else [path.absolute()]
    files = [(found.parents[2], name) for found in lists for name in _names(found)]
    if years:
        files = _once(files, set(_names(val)) if val else set())
    if not files:
        raise DataError(f"{path}: no images are listed.", hint="Give a list with a name of an image in each line.")
    images = [_read_xml(year / _ANNOTATED / f"{name}.xml") for year, name in files]
    classes = _classes(lists)
    number = {name: i for i, name in enumerate(classes, start=1)}
    rows: list[tuple[int, int, bool]] = []
    boxes: list[tuple[float, float, float, float]] = []
    for place, ((year, name), image) in enumerate(zip(files, images, strict=True)):
        for found in image.objects:
            if found.name not in number:
                xml = year / _ANNOTATED / f"{name}.xml"
                raise DataError(f"{xml}: {found.name!r} is no class of VOC.", hint=f"Known: {', '.join(classes)}.")
            rows.append((place, number[found.name], found.difficult))
            boxes.append(found.xywh)
    columns = np.array(rows, np.int64).reshape(-1, 3)
    return VocSet(
        Categories(Category(i, name) for name, i in number.items()),
        [f"{year.name}/JPEGImages/{i.file or f'{n}.jpg'}" for (year, n), i in zip(files, images, strict=True)],
        np.array([image.size for image in images], np.int32),
        columns[:, 0],
        columns[:, 1],
        np.array(boxes, np.float64).reshape(-1, 4),
        columns[:, 2].astype(np.bool_),
    )


@dataclass(frozen=True)
class _Object:
    name: str
    xywh: tuple[float, float, float, float]
    difficult: bool


@dataclass(frozen=True)
class _Image:
    file: str
    size: tuple[int, int]
    objects: list[_Object]


def _is_year(folder: Path) -> bool:
    return (folder / _MAIN).is_dir() and (folder / _ANNOTATED).is_dir()


def _years(folder: Path) -> list[Path]:
    """The years in a folder, the oldest first."""
    return sorted(f for f in folder.iterdir() if f.is_dir() and _is_year(f)) if folder.is_dir() else []


def _val_list(years: list[Path]) -> Path | None:
    newest = sorted(years, key=lambda year: (not year.name.endswith("2007"), -years.index(year)))
    candidates = [*(y / _MAIN / "test.txt" for y in newest), *(y / _MAIN / "val.txt" for y in reversed(years))]
    return next((found for found in candidates if found.is_file() and _has_objects(found)), None)


def _has_objects(found: Path) -> bool:
    """Whether the XML files of a list are there: those of VOC 2012's test images were never given out."""
    first = next(iter(_names(found)), None)
    return first is not None and (found.parents[2] / _ANNOTATED / f"{first}.xml").is_file()


def _train_lists(years: list[Path], val: Path | None) -> list[Path]:
    lists = []
    for year in years:
        wanted = ["train.txt"] if val == year / _MAIN / "val.txt" else ["trainval.txt", "train.txt"]
        lists += [found for name in wanted if (found := year / _MAIN / name).is_file()][:1]
    return lists


def _once(files: list[tuple[Path, str]], held_out: set[str]) -> list[tuple[Path, str]]:
    """Year and name of each image once, and of none that is validated on."""
    kept: dict[str, tuple[Path, str]] = {}
    for year, name in files:
        again = _OF_ALL_YEARS.fullmatch(name)
        if not (again and name in held_out):
            kept[name if again else f"{year.name}/{name}"] = year, name
    return list(kept.values())


def _names(path: Path) -> list[str]:
    """The names in a list; lists of a class have a number behind each."""
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the image list {path}: {error}.", hint="Check the path.") from None
    names = [line.split()[0] for line in lines if line.strip()]
    for name in names:
        if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", ".."):
            raise DataError(f"{path}: {name!r} is no name of an image.", hint="A line holds a name such as 000005.")
    return names


def _classes(lists: list[Path]) -> list[str]:
    if any(any(found.parent.glob("aeroplane_*.txt")) for found in lists):
        return list(CLASSES)
    folders = {found.parents[2] / _ANNOTATED for found in lists}
    files = [xml for folder in folders for xml in folder.glob("*.xml")]
    names = {found.name for xml in files for found in _read_xml(xml).objects}
    if not names:
        raise DataError(f"{lists[0]}: not a single object in the XML files.", hint="Objects need a <name>.")
    return sorted(names)


def _read_xml(path: Path) -> _Image:
    hint = "Correct the file, or take its name out of the list."
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: larger than {_LARGEST >> 20} MB.", hint=hint)
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.", hint=hint) from None
    # Entities can grow without bound, and in UTF-16, which has zero bytes, nobody would see them.
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data or b"\0" in data:
        raise DataError(f"{path}: declares a document type or is in UTF-16, as no file of VOC.", hint=hint)
    try:
        top = ElementTree.fromstring(data)
        return _image(top)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise DataError(f"{path}: not an annotation of VOC: {error}.", hint=hint) from None


def _image(top: ElementTree.Element) -> _Image:
    height, width = (int(_number(top, f"size/{side}")) for side in ("height", "width"))
    if not (0 < height <= _MOST_PIXELS and 0 < width <= _MOST_PIXELS):
        raise ValueError(f"size says that it has {'no' if min(height, width) < 1 else 'too many'} pixels")
    objects = []
    for found in top.findall("object"):
        left, top_, right, bottom = (_number(found, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
        # Pixels are counted from 1, and the last one belongs to the box.
        xywh = (left - 1, top_ - 1, right - left + 1, bottom - top_ + 1)
        difficult = (found.findtext("difficult") or "0").strip() not in ("", "0")
        objects.append(_Object(_text(found, "name"), xywh, difficult))
    name = (top.findtext("filename") or "").strip().replace("\\", "/").rpartition("/")[2]
    return _Image(name if Path(name).suffix else "", (height, width), objects)


def _text(element: ElementTree.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"there is no {path}")
    return text


def _number(element: ElementTree.Element, path: str) -> float:
    value = float(_text(element, path))
    if not math.isfinite(value):
        raise ValueError(f"{path} is not a finite number")
    return value
