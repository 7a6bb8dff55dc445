"""An annotation file and detections in, metrics out: the one way to judge a detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.errors import ConfigError
from clis_core.evaluation import coco, lvis, voc
from clis_core.evaluation.analysis import SCORE_CUT, Analysis
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.fixed import PER_CLASS, pooled, short_classes, top_per_class
from clis_core.evaluation.groundtruth import GroundTruth, read_ground_truth
from clis_core.evaluation.judged import cap_notes, counted_detections
from clis_core.evaluation.mask_truth import mask_truth
from clis_core.evaluation.metrics import Curves, Engine, Metrics, Protocol, summarise
from clis_core.evaluation.rows import check_detections, check_masks

ENGINES: dict[Protocol, tuple[Engine, ...]] = {
    "lvis": ("hotcoco", "lvis"),
    "coco": ("pycocotools", "hotcoco"),
    "voc": ("voc",),
}
"""What can judge a file of each protocol; the first is the default."""


def evaluate(
    gt: Path,
    detections: Detections,
    *,
    engine: Engine | None = None,
    groups: Mapping[int, Group] | None = None,
) -> Metrics:
    """Judge boxes by the protocol of the annotation file.

    A file whose images say which classes were looked for (``neg_category_ids``) is judged as LVIS, with 300
    detections an image; an image list of VOC as VOC; any other as COCO, with 100 detections of a class in an image.

    Args:
        gt: annotation json, LVIS or COCO; or an image list of VOC.
        detections: of any detector, with the ids of that file.
        engine: None takes hotcoco for LVIS and pycocotools for COCO. ``lvis`` is the slow authority.
        groups: ``r``, ``c`` or ``f`` by category id (`clis_core.evaluation.groups`), in place of what the
            file says. COCO files say nothing: without groups their APr, APc and APf are None.

    Raises:
        ConfigError: the engine does not know the file's protocol.
        DataError: a file is malformed, or holds what the engine would misjudge silently.
    """
    truth, engine, groups, notes, _ = prepare(gt, engine, groups)
    notes += check_detections(detections, truth) + cap_notes(truth, detections)
    counted = counted_detections(truth, detections)
    values, per_class = _judge(engine, truth, detections, groups, counted)
    return Metrics(values=values, per_class=per_class, engine=engine, protocol=truth.protocol, notes=notes)


class Prepared(NamedTuple):
    """What is known before there are detections.

    Attributes:
        truth: the ground truth.
        engine: to judge with.
        groups: to judge by, ``r``, ``c`` or ``f`` by category id.
        notes: what a reader of the numbers should know.
        masks: the ground truth of masks, where they are judged.
    """

    truth: GroundTruth
    engine: Engine
    groups: Mapping[int, Group]
    notes: list[str]
    masks: GroundTruth | None = None


def evaluate_in_full(
    prepared: Prepared,
    detections: Detections,
    *,
    images: Mapping[int, int] | None = None,
    every: Detections | None = None,
    score_cut: float = SCORE_CUT,
) -> Metrics:
    """As `evaluate`, with the records of `clis_core.evaluation.analysis`, and AP_fixed and AP_pool if asked for.

    Args:
        prepared: of `prepare`.
        detections: as in `evaluate`.
        images: training images by category id; None takes what the file says.
        every: detections without a cap on an image, for AP_fixed and AP_pool; those of each class that are not among
            its best 10,000 do not count.
        score_cut: detections below it are neither mistakes nor in the calibration.

    Raises:
        DataError: the detections hold what the engine would misjudge silently.
    """
    truth, engine, groups, notes, masks = prepared
    notes = notes + check_detections(detections, truth) + cap_notes(truth, detections)
    counted = counted_detections(truth, detections)
    values, per_class = _judge(engine, truth, detections, groups, counted)
    if every is not None:
        notes += check_detections(every, truth) if every is not detections else []
        values |= _fixed(engine, truth, every, groups, notes)
    known = truth.train_images if images is None else images
    records = Analysis(truth, detections, counted, groups, known, score_cut).records(per_class)
    if masks is not None and detections.masks is not None:
        values |= _of_masks(engine, masks, detections, groups, records["per_class"])
    if "calibration" not in records:
        notes.append("Scores below 0 or above 1 are no probabilities: there is no calibration to tell of.")
    return Metrics(values, per_class, engine, truth.protocol, notes, records)


def _of_masks(
    engine: Engine, truth: GroundTruth, detections: Detections, groups: Mapping[int, Group], table: dict[str, Any]
) -> dict[str, float | None]:
    """The same metrics of masks, as AP_mask and so on; AP_mask of each class goes into the class table.

    Raises:
        DataError: a mask is not whole.
    """
    assert detections.masks is not None
    if engine != "hotcoco":  # which checks them itself
        check_masks(detections)
    counted = counted_detections(truth, detections)
    values, per_class = summarise(_curves(engine, truth, detections, groups, counted), groups)
    for record in table["classes"]:
        record["AP_mask"] = per_class[record["id"]]
    return {f"{name}_mask": value for name, value in values.items()}


def _fixed(
    engine: Engine, truth: GroundTruth, every: Detections, groups: Mapping[int, Group], notes: list[str]
) -> dict[str, float | None]:
    best = top_per_class(every, PER_CLASS)
    if not best.all():
        every = every.only(best)
    short, fewest = short_classes(truth, every, PER_CLASS)
    if short:
        notes.append(
            f"{short} of {len(truth.category_ids)} classes have fewer than {PER_CLASS:,} detections (the fewest: "
            f"{fewest:,}): where a cap on an image or a score threshold took some away, "
            "AP_fixed and AP_pool are too low."
        )
    counted = counted_detections(truth, every, capped=False)
    values, _ = _judge(engine, truth, every, groups, counted, capped=False)
    fixed = {f"{name}_fixed": values[name] for name in ("AP", "APr", "APc", "APf")}
    return fixed | pooled(truth, every, counted, groups)


def prepare(
    gt: Path, engine: Engine | None = None, groups: Mapping[int, Group] | None = None, *, masks: bool = False
) -> Prepared:
    """What can be done, and can fail, before there are detections; a long training does it first.

    Args:
        gt: annotation json, LVIS or COCO; or an image list of VOC.
        engine: as in `evaluate`.
        groups: as in `evaluate`.
        masks: judge the detections' masks as well as their boxes.

    Raises:
        ConfigError: the engine does not know the file's protocol.
        DataError: the file is malformed, or holds what the engine would misjudge silently.
    """
    truth = read_ground_truth(gt)
    engine = _choose(engine, truth)
    groups = truth.groups if groups is None else groups
    notes = list(truth.notes)
    if truth.protocol == "lvis":
        lvis.check_federated(truth, groups)
        if engine == "hotcoco":
            lvis.check_marks(truth)
    else:
        notes += _group_notes(truth, groups)
    of_masks = mask_truth(truth) if masks else None
    if of_masks is not None:
        notes += of_masks.notes
    elif masks:
        notes.append(f"{truth.path} has no masks, so that boxes alone were judged.")
    return Prepared(truth, engine, groups, notes, of_masks)


def _choose(engine: Engine | None, truth: GroundTruth) -> Engine:
    able = ENGINES[truth.protocol]
    if engine is not None and engine not in able:
        why = {
            "lvis": "its images have neg_category_ids",
            "coco": "its images have no neg_category_ids",
            "voc": "an image list beside Annotations",
        }
        raise ConfigError(
            f"The engine {engine} cannot judge {truth.path}, a file of the {truth.protocol.upper()} protocol "
            f"({why[truth.protocol]}).",
            hint=f"Choose {' or '.join(able)}, or leave the engine out.",
        )
    return engine or able[0]


def _judge(
    engine: Engine,
    truth: GroundTruth,
    detections: Detections,
    groups: Mapping[int, Group],
    counted: NDArray[np.bool_],
    *,
    capped: bool = True,
) -> tuple[dict[str, float | None], dict[int, float | None]]:
    """Metrics.values and Metrics.per_class."""
    if truth.protocol == "voc":
        return voc.by_voc(truth, detections, groups, counted)
    return summarise(_curves(engine, truth, detections, groups, counted, capped=capped), groups)


def _curves(
    engine: Engine,
    truth: GroundTruth,
    detections: Detections,
    groups: Mapping[int, Group],
    counted: NDArray[np.bool_],
    *,
    capped: bool = True,
) -> Curves:
    match (truth.protocol, engine):
        case ("lvis", "lvis"):
            return lvis.by_lvis(truth, detections, groups, capped=capped)
        case ("lvis", _):
            return lvis.by_hotcoco(truth, detections, counted, capped=capped)
        case (_, "pycocotools"):
            return coco.by_pycocotools(truth, detections, capped=capped)
        case _:
            return coco.by_hotcoco(truth, detections, capped=capped)


def _group_notes(truth: GroundTruth, groups: Mapping[int, Group]) -> list[str]:
    without = [i for i in truth.category_ids.tolist() if i not in groups]
    notes = []
    if truth.groups:
        notes.append(
            f"The categories of {truth.path} have an LVIS frequency but its images have no neg_category_ids, "
            "so it was judged as COCO."
        )
    if without:
        notes.append(
            f"{len(without)} of {len(truth.category_ids)} classes have no group, so they are in none of APr, "
            "APc and APf. The image counts of the training annotations make the groups: --train-gt FILE."
        )
    return notes
