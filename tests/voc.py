"""A drawn data set in the format of COCO goes in; the same in the layout of PASCAL VOC comes out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.draw import draw_coco


def draw_voc(folder: Path, year: str = "VOC2007", *, val: str = "val", seed: int = 0) -> Path:
    """Write a year as VOC is unpacked, with ``train`` and ``val`` (or ``test``) images; the first object is difficult.

    Returns:
        the folder of the year.
    """
    made = folder / year
    source = draw_coco(folder / f".{year}", seed=seed)
    listed: dict[str, list[str]] = {}
    for split, name in (("train", "train"), ("val", val)):
        content = json.loads((source / "annotations" / f"instances_{split}2017.json").read_text())
        classes = {c["id"]: c["name"] for c in content["categories"]}
        first = True
        for image in content["images"]:
            stem = f"{year[-4:]}_{split}{image['id']:06d}"
            boxes = [a for a in content["annotations"] if a["image_id"] == image["id"] and min(a["bbox"][2:]) >= 1]
            objects = []
            for a in boxes:
                x, y, w, h = (round(v) for v in a["bbox"])
                objects.append((classes[a["category_id"]], (x + 1, y + 1, x + w, y + h), first))
                first = False
            write_xml(made, stem, (image["height"], image["width"]), objects)
            target = made / "JPEGImages" / f"{stem}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / f"{split}2017" / image["file_name"], target)
            listed.setdefault(name, []).append(stem)
    if val == "val":
        listed["trainval"] = [*listed["train"], *listed["val"]]
    else:
        listed["trainval"] = listed["train"]
    for name, stems in listed.items():
        write_list(made, name, stems)
    shutil.rmtree(source)
    return made


def write_list(year: Path, name: str, stems: Iterable[str]) -> Path:
    path = year / "ImageSets" / "Main" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stem}\n" for stem in stems))
    return path


Object = tuple[str, tuple[float, float, float, float], bool]


def write_xml(year: Path, stem: str, size: tuple[int, int], objects: Iterable[Object], file: str | None = None) -> Path:
    """One image's file; a box is left, top, right, bottom as VOC counts pixels."""
    parts = [
        f"<object><name>{name}</name><difficult>{int(difficult)}</difficult><part><name>head</name></part><bndbox>"
        f"<xmax>{box[2]}</xmax><xmin>{box[0]}</xmin><ymax>{box[3]}</ymax><ymin>{box[1]}</ymin></bndbox></object>"
        for name, box, difficult in objects
    ]
    path = year / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{file or stem + '.jpg'}</filename><size><width>{size[1]}</width>"
        f"<height>{size[0]}</height><depth>3</depth></size>{''.join(parts)}</annotation>"
    )
    return path
