"""A list of regions that was made elsewhere in, boxes by key out."""

from __future__ import annotations

import csv
import hashlib
import io
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


class RegionList:
    """Boxes by key.

    Attributes:
        rows: the row of ``boxes`` of each key.
        boxes: xyxy relative to the picture (0..1), float32 ``[N, 4]``.
        sha256: of the file.
    """

    def __init__(self, rows: dict[str, int], boxes: NDArray[np.float32], sha256: str) -> None:
        self.rows, self.boxes, self.sha256 = rows, boxes, sha256

    def get(self, key: str) -> NDArray[np.float32] | None:
        """The box of a picture, float32 ``[4]``; None where the list has none."""
        row = self.rows.get(key)
        return None if row is None else self.boxes[row]


def read_region_list(path: Path) -> RegionList:
    """Read a list of regions.

    Args:
        path: ``.jsonl`` or ``.csv``.

    Raises:
        DataError: the file cannot be read, or a line of it is no region; names the line.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.", hint=_FORMAT) from None
    lines = _json_lines(text, path) if path.suffix.lower() in (".jsonl", ".json") else _csv_lines(text, path)
    rows: dict[str, int] = {}
    boxes: list[list[float]] = []
    for number, key, values in lines:
        if key in rows:
            raise DataError(f"{path}, line {number}: {key!r} occurs twice.", hint="Each picture has one region.")
        rows[key] = len(boxes)
        boxes.append(_box(values, path, number))
    if not boxes:
        raise DataError(f"{path} holds no region.", hint=_FORMAT)
    return RegionList(rows, np.array(boxes, np.float32), hashlib.sha256(data).hexdigest())


def _json_lines(text: str, path: Path) -> Iterator[tuple[int, str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            key, box = record["key"], record["box"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: no region ({error}).", hint=_FORMAT) from None
        yield number, str(key), box


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, str, Any]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        if next(reader, None) != ["key", "x1", "y1", "x2", "y2"]:
            raise DataError(f"{path}, line 1: the header key,x1,y1,x2,y2 is missing.", hint=_FORMAT)
        for row in reader:
            if row:
                yield reader.line_num, row[0], row[1:]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.", hint=_FORMAT) from None


def _box(values: Any, path: Path, number: int) -> list[float]:
    """Four numbers that are a box in float32 as well."""
    try:
        box = [float(v) for v in values] if isinstance(values, list) else []
    except (TypeError, ValueError, OverflowError):
        box = []
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise DataError(f"{path}, line {number}: {values!r} is no box of four numbers.", hint=_FORMAT)
    inside = 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1
    if not (inside and np.float32(box[0]) < np.float32(box[2]) and np.float32(box[1]) < np.float32(box[3])):
        raise DataError(
            f"{path}, line {number}: {values} is no box relative to its picture, x1 < x2 and y1 < y2 from 0 to 1.",
            hint=_FORMAT,
        )
    return box
