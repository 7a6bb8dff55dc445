"""A folder and a seed go in; a data set of drawn scenes with a long tail, and labelled pictures, come out in it.

No photographs and no network: enough to see in minutes what a method does for rare classes.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clis_core.categories import group_of_count
from clis_core.data.drawn.plan import Plan, make_plan
from clis_core.data.drawn.scene import draw_picture, draw_scene, scene_sides
from clis_core.data.drawn.shapes import class_names
from clis_core.data.drawn.style import SCENE, SKETCH, Range, Style, mix, style_between
from clis_core.errors import ConfigError, DataError
from clis_core.files import TEMPORARY, sync_folder

Packing = Literal["tars", "folders"]

_MIN_SIDE = 32
_QUALITY = 92
_LARGE: Range = (0.62, 0.9)  # side of the object of a far picture, as a part of the picture's short side
_PLAN, _TRAIN, _VAL, _PICTURES = range(4)  # streams of random numbers


@dataclass(frozen=True)
class DrawnSet:
    """Where a drawn data set lies.

    Attributes:
        folder: the data set, for ``--data``.
        train: its training json.
        val: its validation json.
        pictures: the labelled pictures, for `clis build-images`.
        names: of the classes.
        images: training scenes that hold each class, by class.
    """

    folder: Path
    train: Path
    val: Path
    pictures: Path
    names: list[str]
    images: list[int]


def draw_data_set(
    folder: Path,
    *,
    seed: int = 0,
    scenes: int = 300,
    val: int = 150,
    pictures_per_class: int = 60,
    classes: int = 16,
    size: tuple[int, int] = (128, 128),
    picture_size: tuple[int, int] = (64, 64),
    gap: float = 1.0,
    pack: Packing = "tars",
    style: Style = SCENE,
    far: Style = SKETCH,
) -> DrawnSet:
    """Draw a data set in LVIS format, and pictures of its classes that are more or less unlike its scenes.

    ``folder`` gets train.json, val.json, the scenes in train/ and val/, and the pictures in pictures/. A class is a
    shape and a fill. A third of the classes are rare (in at most 10 training scenes), a third common (11 to 100), the
    others frequent. Every scene says of every class whether it is there. The same arguments give the same bytes;
    the scenes do not depend on the gap, nor on the number of pictures. The folder appears when it is whole.

    Args:
        folder: where to write; it must not exist or be empty.
        seed: of everything.
        scenes: training scenes, 200 or more.
        val: validation scenes; each class is in 16 of them or more.
        pictures_per_class: labelled pictures of each class.
        classes: 12, 16, 20 or 24.
        size: width and height of a scene, pixels.
        picture_size: width and height of a picture, pixels.
        gap: 0 to 1: 0 draws pictures as the scenes are, 1 in the style ``far``.
        pack: a tar for each class, as ImageNet is packed, or a folder for each.
        style: of the scenes.
        far: of the pictures at a gap of 1.

    Raises:
        ConfigError: a number is out of range.
        DataError: the folder holds something, or cannot be written to.
    """
    _check(seed, pictures_per_class, size, picture_size, gap)
    names = class_names(classes)
    plan = make_plan(np.random.default_rng((seed, _PLAN)), classes=classes, scenes=scenes, val=val)
    _refuse_used(folder)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")
    try:
        temporary.mkdir(parents=True)
        train = _write_split(temporary, "train", plan, names, (seed, _TRAIN), size, style)
        _write_split(temporary, "val", plan, names, (seed, _VAL), size, style, after=train)
        sides = picture_sides(size, picture_size, gap)
        between = style_between(style, far, gap)
        for category, name in enumerate(names):
            rngs = (np.random.default_rng((seed, _PICTURES, category, k)) for k in range(pictures_per_class))
            pictures = [_jpeg(draw_picture(rng, category, picture_size, sides, between, size)) for rng in rngs]
            _pack(temporary / "pictures", name, pictures, pack)
        _settle(temporary, folder)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written: {error.strerror or error}.",
            hint="Name a folder on a disk with room, where you may write.",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return DrawnSet(folder, folder / "train.json", folder / "val.json", folder / "pictures", names, plan.images)


def picture_sides(size: tuple[int, int], picture_size: tuple[int, int], gap: float) -> Range:
    """Sides of the objects of the pictures: those of the scenes at a gap of 0, most of the picture at 1 (pixels)."""
    short = min(picture_size)
    low, high = scene_sides(min(size))
    near = min(low, 0.8 * short), min(high, 0.8 * short)
    return mix(near[0], _LARGE[0] * short, gap), mix(near[1], _LARGE[1] * short, gap)


def _write_split(
    folder: Path,
    split: Literal["train", "val"],
    plan: Plan,
    names: list[str],
    seed: tuple[int, int],
    size: tuple[int, int],
    style: Style,
    after: int = 0,
) -> int:
    """Draw the scenes of a split and write them with their json; the number of the last image, from ``after``."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / split).mkdir()
    held = plan.train if split == "train" else plan.val
    for k, categories in enumerate(held):
        scene = draw_scene(np.random.default_rng((*seed, k)), categories, *size, style)
        number = after + k + 1
        name = f"{split}/{number:06d}.jpg"
        (folder / name).write_bytes(_jpeg(scene.pixels))
        images.append(_image(number, name, size, set(range(len(names))) - set(categories)))
        annotations += [
            {
                "id": len(annotations) + i + 1,
                "image_id": number,
                "category_id": drawn.category + 1,
                "bbox": list(drawn.box),
                "area": drawn.area,
            }
            for i, drawn in enumerate(scene.objects)
        ]
    content = {
        "info": {"description": "drawn by clis", "version": "1"},
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "images": images,
        "annotations": annotations,
        "categories": _categories(names, plan),
    }
    (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    return after + len(held)


def _image(number: int, name: str, size: tuple[int, int], absent: set[int]) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": name,
        "width": size[0],
        "height": size[1],
        "license": 1,
        "neg_category_ids": sorted(category + 1 for category in absent),
        "not_exhaustive_category_ids": [],
    }


def _categories(names: list[str], plan: Plan) -> list[dict[str, Any]]:
    """As LVIS has them; the counts are of the training scenes in both files."""
    objects = [category for scene in plan.train for category in scene]
    return [
        {
            "id": category + 1,
            "name": name,
            "synonyms": [name],
            "def": f"a {name.replace('_', ' ')}, drawn",
            "frequency": group_of_count(plan.images[category]),
            "image_count": plan.images[category],
            "instance_count": objects.count(category),
        }
        for category, name in enumerate(names)
    ]


def _pack(folder: Path, name: str, pictures: list[bytes], pack: Packing) -> None:
    """Write the pictures of a class: as ``NAME.tar``, members flat, or as files in ``NAME/``."""
    files = {f"{name}_{k}.JPEG": data for k, data in enumerate(pictures)}
    if pack == "folders":
        (folder / name).mkdir(parents=True)
        for file, data in files.items():
            (folder / name / file).write_bytes(data)
        return
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for file, data in files.items():
            member = tarfile.TarInfo(file)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _refuse_used(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise DataError(
            f"{folder} is not an empty folder: a data set is drawn into one of its own.",
            hint=f"Draw into another, such as {folder.with_name(folder.name + '-2')}, or remove this one.",
        )


def _settle(temporary: Path, folder: Path) -> None:
    """Put everything on disk, then give the folder its name."""
    if sys.platform != "win32":
        os.sync()  # one call: thousands of small files, each synced alone, take longer than drawing them
    if folder.is_dir():  # empty; not every system renames over it
        folder.rmdir()
    temporary.rename(folder)
    sync_folder(folder.parent)


def _check(
    seed: int, pictures_per_class: int, size: tuple[int, int], picture_size: tuple[int, int], gap: float
) -> None:
    for what, good, wanted in (
        ("seed", seed >= 0, "0 or more"),
        ("pictures_per_class", pictures_per_class >= 1, "1 or more"),
        ("size", min(size) >= 2 * _MIN_SIDE, f"two numbers of {2 * _MIN_SIDE} pixels or more"),
        ("picture_size", min(picture_size) >= _MIN_SIDE, f"two numbers of {_MIN_SIDE} pixels or more"),
        ("gap", 0 <= gap <= 1, "0 to 1"),
    ):
        if not good:
            raise ConfigError(f"{what} of a drawn data set has to be {wanted}.", hint=f"Give {what}: {wanted}.")
