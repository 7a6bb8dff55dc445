"""COCO ground truth and detections in, curves of the COCO evaluation out, by one of two engines.

Lin et al., "Microsoft COCO: Common objects in context", 2014. Crowd boxes are ignored: a detection in one
counts neither as right nor as wrong.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth
from clis_core.evaluation.judged import COCO_CAP
from clis_core.evaluation.metrics import Curves
from clis_core.evaluation.rows import hotcoco_truth, mask_records, result_rows

CAPS = [1, 10, COCO_CAP]
"""Detections of a class in an image that count."""


def by_pycocotools(truth: GroundTruth, detections: Detections, *, capped: bool = True) -> Curves:
    """The authority, for boxes, or for masks where the ground truth has them.

    Without ``capped``, all detections count in the place of the last of the `CAPS`.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    # Sizes are asked for, and not used: the masks have their own.
    images = [{"id": i, "height": 0, "width": 0} for i in truth.image_ids.tolist()]
    columns = (truth.box_image_ids, truth.box_category_ids, truth.xywh, truth.areas, truth.crowd.astype(int))
    objects: list[dict[str, Any]] = [
        {"id": number, "image_id": i, "category_id": c, "bbox": b, "area": a, "iscrowd": k}
        for number, (i, c, b, a, k) in enumerate(zip(*(column.tolist() for column in columns), strict=True), start=1)
    ]
    for one, mask in zip(objects, truth.masks or (), strict=False):
        one["segmentation"] = mask
    with contextlib.redirect_stdout(io.StringIO()):  # it tells all it does
        gt, dt = COCO(), COCO()
        gt.dataset = {"images": images, "annotations": objects, "categories": truth.category_records()}
        gt.createIndex()
        if len(detections):
            dt = gt.loadRes(_known(truth, detections))
        else:  # loadRes looks at the first of them
            dt.dataset = {**gt.dataset, "annotations": []}
            dt.createIndex()
        engine = COCOeval(gt, dt, _kind(truth))
        engine.params.maxDets = caps = _caps(detections, capped)
        engine.evaluate()
        engine.accumulate()
    category_ids = [int(c) for c in engine.params.catIds]
    return Curves(engine.eval["precision"], engine.eval["recall"], category_ids, caps)


def by_hotcoco(truth: GroundTruth, detections: Detections, *, capped: bool = True) -> Curves:
    """The fast engine; bit-equal to `by_pycocotools`."""
    from hotcoco import COCOeval

    gt = hotcoco_truth(truth)
    engine: Any = COCOeval(gt, gt.load_res(_known(truth, detections)), _kind(truth))
    engine.params.max_dets = caps = _caps(detections, capped)
    engine.evaluate()
    engine.accumulate()
    return Curves(engine.eval["precision"], engine.eval["recall"], list(engine.params.cat_ids), caps)


def _caps(detections: Detections, capped: bool) -> list[int]:
    return CAPS if capped else [*CAPS[:-1], max(len(detections), COCO_CAP)]


def _kind(truth: GroundTruth) -> str:
    return "bbox" if truth.masks is None else "segm"


def _known(truth: GroundTruth, detections: Detections) -> NDArray[np.float64] | list[dict[str, Any]]:
    known = np.isin(detections.category_ids, truth.category_ids)
    return result_rows(detections, known) if truth.masks is None else mask_records(detections, known)
