"""A list of regions that was made elsewhere in, boxes by key out."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.errors import DataError

_FORMAT = (
    'A .jsonl file has lines {"key": "n02084071_1", "box": [0.1, 0.2, 0.9, 0.8]}, a .csv file the columns '
    "key,x1,y1,x2,y2; boxes are xyxy, relative to the picture, 0 to 1."
)


def read_region_list(path: Path) -> tuple[dict[str, NDArray[np.float32]], str]:
    """Read a list of regions.

    Args:
        path: ``.jsonl`` or ``.csv``.

    Returns:
        xyxy relative to the picture, float32 ``[4]``, by key; and the file's SHA-256.

    Raises:
        DataError: the file cannot be read, or a line of it is no region; names the line.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", hint=_FORMAT) from None
    rows = _json_lines(text, path) if path.suffix.lower() in (".jsonl", ".json") else _csv_lines(text, path)
    boxes: dict[str, NDArray[np.float32]] = {}
    for number, key, values in rows:
        if key in boxes:
            raise DataError(f"{path}, line {number}: {key!r} occurs twice.", hint="Each picture has one region.")
        boxes[key] = _box(values, path, number)
    if not boxes:
        raise DataError(f"{path} holds no region.", hint=_FORMAT)
    return boxes, hashlib.sha256(data).hexdigest()


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, str, Any]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            yield number, str(record["key"]), record["box"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}, line {number}: no region ({error}).", hint=_FORMAT) from None


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, str, Any]]:
    rows = csv.reader(text.splitlines())
    if next(rows, None) != ["key", "x1", "y1", "x2", "y2"]:
        raise DataError(f"{path}, line 1: the header key,x1,y1,x2,y2 is missing.", hint=_FORMAT)
    for number, row in enumerate(rows, start=2):
        if row:
            yield number, row[0], row[1:]


def _box(values: Any, path: Path, number: int) -> NDArray[np.float32]:
    try:
        box = [float(v) for v in values]
    except (TypeError, ValueError):
        box = []
    if len(box) != 4 or not all(math.isfinite(v) for v in box):
        raise DataError(f"{path}, line {number}: {values!r} is no box of four numbers.", hint=_FORMAT)
    if not (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1):
        raise DataError(
            f"{path}, line {number}: {box} is no box relative to its picture, x1 < x2 and y1 < y2 from 0 to 1.",
            hint=_FORMAT,
        )
    return np.array(box, np.float32)
