"""Detections in and out as a COCO results json: the list that everybody's detector writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from clis_core.data.segmentation import as_json
from clis_core.errors import DataError
from clis_core.evaluation.detections import SUFFIX, Detections
from clis_core.evaluation.records import CategoryId, ImageId, decode, read_bytes
from clis_core.files import replacing

CHUNK = 4096
"""Records that are Python objects at one time; these still fit a processor's cache."""


class _Result(msgspec.Struct, gc=False):
    image_id: ImageId
    category_id: CategoryId
    bbox: tuple[float, float, float, float]
    score: float


class _MaskResult(msgspec.Struct, gc=False, omit_defaults=True):
    image_id: int
    category_id: int
    score: float
    segmentation: dict[str, Any]
    bbox: list[float] | None = None


_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])
_RESULTS = msgspec.json.Decoder(list[_Result])


def read_detections(path: Path) -> Detections:
    """Read detections: our compact file by its suffix ``.npz``, anything else as a COCO results json.

    Raises:
        DataError: the file is missing, damaged or malformed.
    """
    return Detections.load(path) if path.suffix == SUFFIX else from_coco_json(path)


def from_coco_json(path: Path) -> Detections:
    """Read a COCO or LVIS results json; further fields of its records, such as masks, are passed over.

    Returns:
        Boxes and scores in float64, exactly as the file gives them.

    Raises:
        DataError: the file is missing or is not such a list; the message names record and field.
    """
    raw = decode(read_bytes(path), _RECORDS, path)
    count = len(raw)
    image_ids, category_ids = np.empty(count, np.int64), np.empty(count, np.int32)
    xywh, scores = np.empty((count, 4)), np.empty(count)
    for start in range(0, count, CHUNK):
        part = b"[" + b",".join(raw[start : start + CHUNK]) + b"]"
        results = decode(part, _RESULTS, path, first=start)
        here = slice(start, start + len(results))
        image_ids[here] = [r.image_id for r in results]
        category_ids[here] = [r.category_id for r in results]
        xywh[here] = [r.bbox for r in results]
        scores[here] = [r.score for r in results]
    return Detections(
        image_ids=image_ids,
        category_ids=category_ids,
        boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        scores=scores,
        sizes=xywh[:, 2:],
        source=str(path),
    )


def to_coco_json(detections: Detections, path: Path, *, boxes: bool = True) -> None:
    """Write a COCO results json; every number is written in full, so that others compute the same metrics.

    Detections with masks have a ``segmentation`` as well.

    Args:
        detections: finite numbers.
        path: it appears whole or not at all.
        boxes: write the ``bbox``. Without it, evaluators take a detection's area to be that of its mask.

    Raises:
        DataError: a box or a score is not a finite number.
    """
    xywh = detections.xywh()
    scores = detections.scores.astype(np.float64)
    finite = np.isfinite(scores) & np.isfinite(xywh).all(axis=1)
    if not finite.all():
        raise DataError(
            f"Detection {int(np.argmin(finite))} of {detections.source} has a box or a score that is not a "
            "finite number, which json cannot hold.",
            hint="Leave such detections out, or look into the model that made them.",
        )
    masks = None if detections.masks is None else detections.masks.records()
    encoder = msgspec.json.Encoder()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(b"[")
        for start in range(0, len(detections), CHUNK):
            part = slice(start, start + CHUNK)
            ids = detections.image_ids[part].tolist(), detections.category_ids[part].tolist()
            results: Iterable[_Result | _MaskResult]
            if masks is None:
                results = map(_Result, *ids, xywh[part].tolist(), scores[part].tolist())
            else:
                corners = xywh[part].tolist() if boxes else [None] * len(ids[0])
                results = map(_MaskResult, *ids, scores[part].tolist(), map(as_json, masks[part]), corners)
            file.write((b",\n" if start else b"") + encoder.encode(list(results))[1:-1])
        file.write(b"]\n")
