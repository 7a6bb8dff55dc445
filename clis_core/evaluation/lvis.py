"""LVIS ground truth and detections in, curves of the federated evaluation out, by one of two engines.

Gupta et al., "LVIS: A dataset for large vocabulary instance segmentation", 2019, and its package lvis 0.5.3.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.data.segmentation import as_json
from clis_core.errors import DataError
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import LVIS_CAP
from clis_core.evaluation.metrics import Curves
from clis_core.evaluation.results_json import to_coco_json
from clis_core.evaluation.rles import Rles
from clis_core.evaluation.rows import hotcoco_truth, mask_records, result_rows


def check_federated(truth: GroundTruth, groups: Mapping[int, Group]) -> None:
    """Refuse what the protocol is not defined for; without this, hotcoco would give a number all the same.

    Raises:
        DataError: an image does not say which classes were looked for, or a class has no group.
    """
    for name, lists in (
        ("neg_category_ids", truth.negatives),
        ("not_exhaustive_category_ids", truth.not_exhaustive),
    ):
        for index, ids in enumerate(lists):
            if ids is None:
                raise DataError(
                    f"{truth.path}, images {index} (id {truth.image_ids[index]}): no {name}, "
                    "though this is an LVIS file.",
                    hint=f'Add "{name}": [] where the list is empty; for COCO metrics remove the federated '
                    "fields from all images.",
                )
    for index, category in enumerate(truth.category_ids.tolist()):
        if category not in groups:
            raise DataError(
                f"{truth.path}, category {category} ({truth.names[index]!r}): no frequency.",
                hint='LVIS categories have "frequency": "r", "c" or "f"; the training annotations '
                "(--train-gt FILE) can stand in for it.",
            )


def check_marks(truth: GroundTruth) -> None:
    """Refuse boxes that hotcoco does not treat as lvis does.

    Raises:
        DataError: boxes have ``ignore`` or ``iscrowd`` set.
    """
    for name, marked in (("ignore", truth.ignored), ("iscrowd", truth.crowd)):
        if marked.any():
            index = int(np.argmax(marked))
            raise DataError(
                f"{truth.path}: {int(marked.sum())} boxes have {name} set, the first of them in image "
                f"{truth.box_image_ids[index]}, category {truth.box_category_ids[index]}; "
                "the engine hotcoco cannot judge them as LVIS does.",
                hint="Remove these boxes, or choose the engine lvis (slow; crowd boxes count as others do).",
            )


def by_hotcoco(
    truth: GroundTruth, detections: Detections, counted: NDArray[np.bool_], *, capped: bool = True
) -> Curves:
    """The fast engine; equal to `by_lvis` to 1e-12 for all that `check_federated` and `check_marks` let through.

    Args:
        truth: what was read and checked.
        detections: any.
        counted: which of them count, by `counted_detections`.
        capped: whether they were capped.
    """
    from hotcoco import LVISeval, LVISResults

    gt = hotcoco_truth(truth, truth.areas > 0)  # lvis passes over boxes without area, hotcoco does not
    rows = result_rows(detections, counted) if truth.masks is None else mask_records(detections, counted)
    dt = LVISResults(gt, rows, max_dets=-1)
    engine: Any = LVISeval(gt, dt, "bbox" if truth.masks is None else "segm")
    engine.evaluate()
    engine.accumulate()
    return Curves(
        engine.eval["precision"], engine.eval["recall"], list(engine.params.cat_ids), [LVIS_CAP if capped else -1]
    )


def by_lvis(truth: GroundTruth, detections: Detections, groups: Mapping[int, Group], *, capped: bool = True) -> Curves:
    """The authority: the package lvis as it is, which reads the annotation file itself.

    Args:
        truth: what was read and checked.
        detections: any.
        groups: by category id, of every class.
        capped: whether an image's best 300 count, or all.
    """
    lvis = _import_lvis()
    cap = LVIS_CAP if capped else -1
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        found = detections if len(detections) else _nothing(truth, detections)
        to_coco_json(found, results, boxes=truth.masks is None)
        gt = lvis.LVIS(str(_readable(truth, groups, Path(folder))))
        dt = lvis.LVISResults(gt, str(results), max_dets=cap)
    engine = lvis.LVISEval(gt, dt, "bbox" if truth.masks is None else "segm")
    with numpy_with_float():
        engine.evaluate()
        engine.accumulate()
    precision, recall = engine.eval["precision"], engine.eval["recall"]  # [T, R, C, A], [T, C, A]
    return Curves(precision[..., None], recall[..., None], list(engine.params.cat_ids), [cap])


def _readable(truth: GroundTruth, groups: Mapping[int, Group], folder: Path) -> Path:
    """The annotation file itself, or a mended copy where lvis could not read it or would misread it."""
    if not truth.mended and groups == truth.groups and truth.masks is None:
        return truth.path
    content = json.loads(truth.path.read_bytes())
    if truth.masks is not None:
        _take_masks(content, truth)
    for number, box in enumerate(content["annotations"], start=1):
        box["id"] = number
        if box.get("area") is None:
            box["area"] = box["bbox"][2] * box["bbox"][3]
    for category in content["categories"]:
        category["frequency"] = groups[category["id"]]
    copy = folder / "annotations.json"
    copy.write_text(json.dumps(content), encoding="utf-8")
    return copy


def _take_masks(content: dict[str, Any], truth: GroundTruth) -> None:
    """Put the objects that have a mask, and what is not exhaustively marked, in the place of the file's own."""
    assert truth.masks is not None
    columns = (truth.box_image_ids, truth.box_category_ids, truth.xywh, truth.areas, truth.ignored.astype(int))
    names = ("image_id", "category_id", "bbox", "area", "ignore")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    content["annotations"] = [
        {**dict(zip(names, row, strict=True)), "segmentation": as_json(mask)}
        for row, mask in zip(rows, truth.masks, strict=True)
    ]
    for image, inexhaustive in zip(content["images"], truth.not_exhaustive, strict=True):
        image["not_exhaustive_category_ids"] = inexhaustive


def _nothing(truth: GroundTruth, detections: Detections) -> Detections:
    """One box without area, which lvis drops: it raises IndexError when there is none at all."""
    return replace(
        detections,
        image_ids=truth.image_ids[:1],
        category_ids=truth.category_ids[:1].astype(np.int32),
        boxes=np.zeros((1, 4), np.float32),
        scores=np.zeros(1, np.float32),
        sizes=None,
        masks=None if truth.masks is None else Rles.of([{"size": [1, 1], "counts": b"1"}]),
    )


def _import_lvis() -> Any:
    """Import lvis, and take back the logging.basicConfig that its import does to the whole process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        import lvis
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return lvis


class _NumpyWithFloat:
    """NumPy, with the name that lvis 0.5.3 asks for and NumPy 1.24 took away."""

    def __getattr__(self, name: str) -> Any:
        return float if name == "float" else getattr(np, name)


@contextmanager
def numpy_with_float() -> Iterator[None]:
    """Let lvis.eval, and nobody else, see ``np.float`` for a while."""
    import lvis.eval

    before = lvis.eval.np
    lvis.eval.np = _NumpyWithFloat()
    try:
        yield
    finally:
        lvis.eval.np = before
