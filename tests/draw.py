"""A folder and a seed go in; a small data set of drawn scenes comes out, in the format of LVIS v1 or of COCO.

No photographs: textured shapes on a cluttered background, with tight boxes, seldom classes and frequent ones.

    python -m tests.draw data/drawn
"""

from __future__ import annotations

import argparse
import colorsys
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPES = ("disc", "square", "triangle", "ring", "cross", "diamond", "star", "crescent")
COLOURS = ("red", "yellow", "green", "teal", "blue", "violet")
_FINE = 4  # shapes are drawn this much larger, then shrunk: smooth edges
_HOST = "http://images.cocodataset.org"


@dataclass
class Scene:
    """A picture and what is in it; boxes are xywh in pixels."""

    pixels: NDArray[np.uint8]
    classes: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)


def draw_lvis(folder: Path, *, train: int = 24, val: int = 12, size: int = 96, classes: int = 6, seed: int = 0) -> Path:
    """Write a data set as LVIS v1 is downloaded: json files beside train2017/ and val2017/.

    As in LVIS, images have no file_name but a coco_url, some of val's lie in train2017, ids have gaps, and
    the classes are long-tailed in train; every class is in both.

    Returns:
        the folder.
    """
    rng = np.random.default_rng(seed)
    ids = [3 + 5 * i + i * i % 4 for i in range(classes)]
    tail = 1 / np.arange(1, classes + 1) ** 2.5
    number = 1
    splits = []
    for split, count, weights in (("train", train, tail), ("val", val, np.ones(classes))):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for k in range(count):
            scene = _scene(rng, _sides(rng, size), weights / weights.sum(), k if k < classes else None, classes)
            number += int(rng.integers(1, 9))
            place = "train2017" if split == "train" or k % 3 == 0 else "val2017"
            _save(scene.pixels, folder / place / f"{number:012d}.jpg")
            absent = [c for c in range(classes) if c not in scene.classes]
            asked = rng.random(len(absent)) < 0.7
            images.append(
                {
                    **_image(number, scene.pixels),
                    "coco_url": f"{_HOST}/{place}/{number:012d}.jpg",
                    "neg_category_ids": [ids[c] for c, ask in zip(absent, asked, strict=True) if ask],
                    "not_exhaustive_category_ids": [ids[c] for c in sorted(set(scene.classes)) if rng.random() < 0.1],
                }
            )
            annotations += _annotations(scene, number, ids, len(annotations) + 1)
        splits.append((split, images, annotations))
    images_of = _counts(splits[0][2], ids)
    categories = [
        {
            "id": ids[c],
            "name": name(c),
            "synset": f"{name(c)}.n.01",
            "synonyms": [name(c)],
            "def": f"a drawn {name(c).replace('_', ' ')}",
            "frequency": "r" if images_of[c] <= 10 else "c" if images_of[c] <= 100 else "f",
            "image_count": images_of[c],
            "instance_count": sum(a["category_id"] == ids[c] for a in splits[0][2]),
        }
        for c in range(classes)
    ]
    for split, images, annotations in splits:
        _write(folder / f"lvis_v1_{split}.json", images, annotations, categories)
    return folder


def draw_coco(folder: Path, *, train: int = 12, val: int = 6, size: int = 96, classes: int = 4, seed: int = 0) -> Path:
    """Write a data set as COCO is downloaded: annotations/instances_*.json, train2017/, val2017/.

    It has no fields of LVIS. Train holds a crowd box, a box without width and an image without boxes. The two
    folders have files of the same names.

    Returns:
        the folder.
    """
    rng = np.random.default_rng(seed)
    ids = [1 + 2 * i for i in range(classes)]
    categories = [{"id": ids[c], "name": name(c), "supercategory": "shape"} for c in range(classes)]
    for split, count in (("train", train), ("val", val)):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for k in range(count):
            empty = split == "train" and k == count - 1
            scene = _scene(rng, _sides(rng, size), np.ones(classes) / classes, None, 0 if empty else classes)
            file_name = f"{k + 1:06d}.jpg"
            _save(scene.pixels, folder / f"{split}2017" / file_name)
            images.append({**_image(k + 1, scene.pixels), "file_name": file_name})
            annotations += [{**a, "iscrowd": 0} for a in _annotations(scene, k + 1, ids, len(annotations) + 1)]
        if split == "train":
            for bbox, crowd in (([5.0, 5.0, 40.0, 30.0], 1), ([10.0, 10.0, 0.0, 12.0], 0)):
                odd = {"id": len(annotations) + 1, "image_id": 1, "category_id": ids[0], "iscrowd": crowd}
                annotations.append({**odd, "bbox": bbox, "area": bbox[2] * bbox[3], "segmentation": []})
        _write(folder / "annotations" / f"instances_{split}2017.json", images, annotations, categories)
    return folder


def draw_pictures(folder: Path, *, classes: int = 6, each: int = 6, size: int = 64, seed: int = 0) -> Path:
    """Write pictures with a class label alone: a folder for each class, one object in each picture.

    Returns:
        the folder.
    """
    rng = np.random.default_rng((seed, 1))
    for category in range(classes):
        for k in range(each):
            pixels = _background(rng, *_sides(rng, size))
            side = int(rng.uniform(0.4, 0.8) * min(pixels.shape[:2]))
            x, y = (int(rng.integers(0, pixels.shape[axis] - side)) for axis in (1, 0))
            _paint(rng, pixels, category, (x, y), side)
            _save(pixels, folder / name(category) / f"{k:03d}.jpg")
    return folder


def name(category: int) -> str:
    """Name of a class by its number from 0: each has its own shape or its own colour."""
    return f"{COLOURS[category % len(COLOURS)]}_{SHAPES[category % len(SHAPES)]}"


def _scene(
    rng: np.random.Generator,
    sides: tuple[int, int],
    weights: NDArray[np.float64],
    first: int | None,
    classes: int,
) -> Scene:
    """A scene of one to four objects that overlap little, the first of class ``first`` where it is given."""
    height, width = sides
    scene = Scene(_background(rng, height, width))
    for k in range(int(rng.integers(1, 5)) if classes else 0):
        category = first if k == 0 and first is not None else int(rng.choice(classes, p=weights))
        for _ in range(20):
            side = int(rng.uniform(0.2, 0.5) * min(height, width))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            if all(_overlap([x, y, side, side], box) < 0.1 for box in scene.boxes):
                scene.boxes.append(_paint(rng, scene.pixels, category, (x, y), side))
                scene.classes.append(category)
                break
    return scene


def _background(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """Greyish blotches with lines across."""
    coarse = rng.integers(70, 180, (height // 12 + 2, width // 12 + 2, 1)) + rng.integers(-15, 16, 3)
    image = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        ends = rng.integers(0, [width, height, width, height]).tolist()
        pen.line(ends, fill=(int(rng.integers(40, 210)),) * 3, width=int(rng.integers(1, 3)))
    noisy = np.asarray(image).astype(np.int16) + rng.integers(-8, 9, (height, width, 1))
    return noisy.clip(0, 255).astype(np.uint8)


def _paint(
    rng: np.random.Generator, pixels: NDArray[np.uint8], category: int, corner: tuple[int, int], side: int
) -> list[float]:
    """Paint one object into ``pixels``; its tight box, xywh."""
    mask = _mask(rng, SHAPES[category % len(SHAPES)], side)
    x, y = corner
    hue = (category % len(COLOURS)) / len(COLOURS)
    colour = 255 * np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.75, 1), rng.uniform(0.75, 1)))
    rows, columns = np.mgrid[:side, :side]
    stripes = np.sin((rows + (category + 1) * columns) * rng.uniform(0.5, 0.9))[..., None]
    paint = colour + 25 * stripes + rng.normal(0, 6, (side, side, 1))
    area = pixels[y : y + side, x : x + side]
    area[:] = (area * (1 - mask[..., None]) + paint * mask[..., None]).clip(0, 255).astype(np.uint8)
    in_rows, in_columns = np.flatnonzero(mask.max(axis=1) > 0.5), np.flatnonzero(mask.max(axis=0) > 0.5)
    top, bottom = int(in_rows[0]), int(in_rows[-1]) + 1
    left, right = int(in_columns[0]), int(in_columns[-1]) + 1
    return [float(x + left), float(y + top), float(right - left), float(bottom - top)]


def _mask(rng: np.random.Generator, shape: str, side: int) -> NDArray[np.float32]:
    """Coverage 0..1 of a shape, turned a little: float32 ``[side, side]``."""
    n = side * _FINE
    image = Image.new("L", (n, n))
    pen = ImageDraw.Draw(image)

    def polygon(points: list[tuple[float, float]]) -> None:
        pen.polygon([(x * n, y * n) for x, y in points], fill=255)

    def disc(x: float, y: float, radius: float, fill: int = 255) -> None:
        pen.ellipse([(x - radius) * n, (y - radius) * n, (x + radius) * n, (y + radius) * n], fill=fill)

    match shape:
        case "disc":
            disc(0.5, 0.5, 0.45)
        case "square":
            polygon([(0.15, 0.15), (0.85, 0.15), (0.85, 0.85), (0.15, 0.85)])
        case "triangle":
            polygon([(0.5, 0.08), (0.92, 0.88), (0.08, 0.88)])
        case "ring":
            disc(0.5, 0.5, 0.46)
            disc(0.5, 0.5, 0.24, fill=0)
        case "cross":
            polygon([(0.36, 0.06), (0.64, 0.06), (0.64, 0.94), (0.36, 0.94)])
            polygon([(0.06, 0.36), (0.94, 0.36), (0.94, 0.64), (0.06, 0.64)])
        case "diamond":
            polygon([(0.5, 0.03), (0.82, 0.5), (0.5, 0.97), (0.18, 0.5)])
        case "star":
            angles = np.arange(10) * np.pi / 5
            radii = np.where(np.arange(10) % 2, 0.2, 0.48)
            polygon([(0.5 + r * np.sin(a), 0.5 - r * np.cos(a)) for a, r in zip(angles, radii, strict=True)])
        case _:
            disc(0.5, 0.5, 0.46)
            disc(0.68, 0.42, 0.36, fill=0)
    turned = image.rotate(float(rng.uniform(-15, 15)), Image.Resampling.BILINEAR)
    return np.asarray(turned.resize((side, side), Image.Resampling.BOX)).astype(np.float32) / np.float32(255)


def _sides(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """(height, width): ``size`` by three quarters of it, or the other way round."""
    short = size * 3 // 4
    return (size, short) if rng.random() < 0.4 else (short, size)


def _overlap(a: list[int], b: list[float]) -> float:
    """Intersection over union of two xywh boxes."""
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0.0, w) * max(0.0, h)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def _image(number: int, pixels: NDArray[np.uint8]) -> dict[str, Any]:
    return {"id": number, "height": pixels.shape[0], "width": pixels.shape[1], "license": 1}


def _annotations(scene: Scene, image: int, ids: list[int], first: int) -> list[dict[str, Any]]:
    found = []
    for k, (category, (x, y, w, h)) in enumerate(zip(scene.classes, scene.boxes, strict=True)):
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        entry = {"id": first + k, "image_id": image, "category_id": ids[category], "bbox": [x, y, w, h]}
        found.append({**entry, "area": w * h, "segmentation": [corners]})
    return found


def _counts(annotations: list[dict[str, Any]], ids: list[int]) -> list[int]:
    """Number of images that hold each class."""
    return [len({a["image_id"] for a in annotations if a["category_id"] == i}) for i in ids]


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=92)


def _write(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    licences = [{"id": 1, "name": "drawn, free of rights", "url": ""}]
    content = {"info": {"description": "drawn by tests/draw.py"}, "licenses": licences}
    path.write_text(json.dumps({**content, "images": images, "annotations": annotations, "categories": categories}))


def main() -> None:
    """Draw a data set that a small detector learns something from within a minute."""
    parser = argparse.ArgumentParser(prog="python -m tests.draw", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("--images", type=int, default=400, help="training images; a quarter as many for val")
    parser.add_argument("--size", type=int, default=128, help="long side in pixels")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    val = max(given.classes, given.images // 4)
    draw_lvis(given.folder, train=given.images, val=val, size=given.size, classes=given.classes, seed=given.seed)
    print(f"{given.images} train and {val} val images of {given.classes} classes: {given.folder}")


if __name__ == "__main__":
    main()
