"""What was found in pictures in; a json, a table, COCO results and drawn pictures out.

Boxes are xyxy in pixels of the upright picture.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image
from torch import Tensor

from clis_core.categories import Categories
from clis_core.data.mask_paste import paste_mask
from clis_core.data.named_pictures import Failure, NamedPicture
from clis_core.data.segmentation import as_json
from clis_core.drawing.boxes import draw_boxes
from clis_core.drawing.colours import colour_of
from clis_core.evaluation.detections import DetectionBuilder
from clis_core.evaluation.results_json import to_coco_json
from clis_core.files import replacing, write_text
from clis_core.jobs.inference import NamedDetections

PICTURES, JSON, CSV = "pictures", "detections.json", "detections.csv"
COCO, COCO_IMAGES = "coco-results.json", "coco-images.json"
FORMAT, VERSION = "clis-predictions", 1
COLUMNS = ("source", "category_id", "name", "group", "score", "x1", "y1", "x2", "y2")
QUALITY = 92
"""Of JPEGs."""
_ROOMY = 320
"""Pixels: the labels of a picture with a smaller mean side would cover it, so that it is drawn larger."""
_LONGEST = 160
"""Bytes of a name's part; file systems take 255 in all."""


class Done(NamedTuple):
    """A picture that was looked at.

    Attributes:
        source: its path or address.
        found: what is in it.
        drawn: the drawn picture, from the folder of the results; None where none is drawn.
    """

    source: str
    found: NamedDetections
    drawn: str | None


def to_record(
    about: dict[str, Any], threshold: float, done: Sequence[Done], failures: Sequence[Failure]
) -> dict[str, Any]:
    """Everything as one json-able record; see docs/predict.md."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": about,
        "threshold": threshold,
        "images": [
            {
                "source": one.source,
                "width": one.found.size[1],
                "height": one.found.size[0],
                "drawn": one.drawn,
                "detections": _detections(one.found),
            }
            for one in done
        ],
        "failures": [{"source": f.name, "reason": f.reason} for f in failures],
    }


def _detections(found: NamedDetections) -> list[dict[str, Any]]:
    names = ("category_id", "name", "group", "score", "box")
    records: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in _rows(found)]
    for record, rle in zip(records, found.rles() or (), strict=False):
        record["mask"] = as_json(rle)
    return records


def _rows(found: NamedDetections) -> Iterator[tuple[int, str, str | None, float, list[float]]]:
    """Category id, name, group, score and box of each detection; a thousandth of a pixel is more than they are good."""
    for c, score, box in zip(found.classes, found.scores.tolist(), found.boxes.tolist(), strict=True):
        yield c.id, c.name, c.group, round(score, 6), [round(side, 3) for side in box]


def write_json(record: dict[str, Any], path: Path) -> None:
    """Write the record of `to_record`."""
    write_text(path, json.dumps(record, indent=1) + "\n")


def write_csv(done: Sequence[Done], path: Path) -> None:
    """Write a table of `COLUMNS`, a line for each detection."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for one in done:
            writer.writerows([one.source, *row[:4], *row[4]] for row in _rows(one.found))


def write_coco(categories: Categories, done: Sequence[Done], folder: Path) -> None:
    """Write COCO results, and the images and categories that their ids mean as a COCO json without annotations.

    Files of COCO and LVIS are named by their image ids: where all names are different numbers, these are the ids. Else
    the pictures are numbered from 1.
    """
    stems = [Path(urlsplit(one.source).path if "://" in one.source else one.source).stem for one in done]
    numbers = [int(stem) for stem in stems if re.fullmatch(r"[0-9]{1,15}", stem)]
    ids = numbers if len(set(numbers)) == len(done) else list(range(1, len(done) + 1))
    builder, category_ids = DetectionBuilder(), np.asarray(categories.ids)
    for image_id, one in zip(ids, done, strict=True):
        found = one.found
        ids_of = category_ids[found.labels.numpy() - 1]
        builder.add(image_id, ids_of, found.boxes.numpy(), found.scores.numpy(), found.rles())
    images = [
        {"id": image_id, "file_name": one.source, "width": one.found.size[1], "height": one.found.size[0]}
        for image_id, one in zip(ids, done, strict=True)
    ]
    known = [{"id": c.id, "name": c.name} for c in categories]
    write_text(folder / COCO_IMAGES, json.dumps({"images": images, "annotations": [], "categories": known}) + "\n")
    to_coco_json(builder.build(), folder / COCO)


def write_picture(pixels: Tensor, found: NamedDetections, path: Path, max_labels: int | None) -> None:
    """Draw what was found: box, mask, name, group and score of each; a PNG or a JPEG file by the name.

    A small picture is drawn two, three, ... times as large.

    Args:
        pixels: uint8 ``[3, h, w]``.
        found: in it.
        path: the file; it appears whole or not at all.
        max_labels: see `draw_boxes`.
    """
    captions = [
        f"{c.name}{f' ({c.group})' if c.group else ''} {score:.2f}"
        for c, score in zip(found.classes, found.scores.tolist(), strict=True)
    ]
    picture = Image.fromarray(pixels.cpu().permute(1, 2, 0).numpy())
    times = math.ceil(_ROOMY / math.sqrt(picture.width * picture.height))
    boxes, masks = found.boxes.numpy() * times, None
    if found.masks is not None:
        size = picture.height * times, picture.width * times
        masks = [paste_mask(mask, box, size) for mask, box in zip(found.masks.numpy(), boxes, strict=True)]
    drawn = draw_boxes(
        picture.resize((picture.width * times, picture.height * times), Image.Resampling.BICUBIC),
        boxes,
        captions,
        [colour_of(c.name) for c in found.classes],
        max_labels=max_labels,
        masks=masks,
    )
    with replacing(path) as temporary:
        _save(drawn, temporary, path.suffix)


def _save(image: Image.Image, path: Path, suffix: str) -> None:
    if suffix == ".png":
        image.save(path, "PNG", compress_level=3)
    else:
        image.save(path, "JPEG", quality=QUALITY)


def drawn_names(pictures: Sequence[NamedPicture]) -> list[str]:
    """A file name for each drawn picture, no two alike, capital letters or not.

    The picture's own name where no other has it; else with as many of its folders before it as it takes, and with a
    number where that does not help. PNG files stay PNG, all others become JPEG.
    """
    parts = [_parts(picture) for picture in pictures]
    depth = [1] * len(parts)

    def name(index: int) -> str:
        return "-".join(parts[index][-depth[index] :])

    while True:
        names = [name(n) for n in range(len(parts))]
        count = Counter(n.casefold() for n in names)
        alike = [n for n in range(len(parts)) if count[names[n].casefold()] > 1 and depth[n] < len(parts[n])]
        if not alike:
            break
        for n in alike:
            depth[n] += 1
    return _numbered(names)


def _numbered(names: list[str]) -> list[str]:
    """The names; of those that are alike all but the first with a number that makes them different."""
    taken, out = {n.casefold() for n in names}, []
    seen: set[str] = set()
    for name in names:
        new, number = name, 2
        while new.casefold() in seen or (new != name and new.casefold() in taken):
            new, number = f"{Path(name).stem}-{number}{Path(name).suffix}", number + 1
        seen.add(new.casefold())
        out.append(new)
    return out


def _parts(picture: NamedPicture) -> list[str]:
    """Folders and name of a picture, the last with the suffix of the drawn one."""
    if picture.path is not None:
        *folders, last = picture.path.absolute().parts[1:]
    else:
        address = urlsplit(picture.name)
        words = [re.sub(r"[^\w.-]+", "_", unquote(w)).lstrip(".") for w in [address.netloc, *address.path.split("/")]]
        *folders, last = [w for w in words if w] or ["picture"]
    stem, suffix = os.path.splitext(last)
    folders = [_short(f) for f in folders if f != ".."][-8:]
    return [*folders, _short(stem) + (".png" if suffix.lower() == ".png" else ".jpg")]


def _short(part: str) -> str:
    return os.fsdecode(os.fsencode(part)[: _LONGEST // 4]) if len(os.fsencode(part)) > _LONGEST else part
