"""An annotation file and detections in, metrics out: the one way to judge a detector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from clis_core.categories import Group
from clis_core.errors import ConfigError
from clis_core.evaluation import coco, lvis
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.groundtruth import GroundTruth, read_ground_truth
from clis_core.evaluation.metrics import Curves, Engine, Metrics, Protocol, summarise
from clis_core.evaluation.rows import check_detections

ENGINES: dict[Protocol, tuple[Engine, ...]] = {
    "lvis": ("hotcoco", "lvis"),
    "coco": ("pycocotools", "hotcoco"),
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
    detections an image; any other as COCO, with 100 detections of a class in an image.

    Args:
        gt: annotation json, LVIS or COCO.
        detections: of any detector, with the ids of that file.
        engine: None takes hotcoco for LVIS and pycocotools for COCO. ``lvis`` is the slow authority.
        groups: ``r``, ``c`` or ``f`` by category id (`clis_core.evaluation.groups`), in place of what the
            file says. COCO files say nothing: without groups their APr, APc and APf are None.

    Raises:
        ConfigError: the engine does not know the file's protocol.
        DataError: a file is malformed, or holds what the engine would misjudge silently.
    """
    truth, engine, groups, notes = prepare(gt, engine, groups)
    notes += check_detections(detections, truth)
    values, per_class = summarise(_curves(engine, truth, detections, groups), groups)
    return Metrics(values=values, per_class=per_class, engine=engine, protocol=truth.protocol, notes=notes)


def prepare(
    gt: Path, engine: Engine | None = None, groups: Mapping[int, Group] | None = None
) -> tuple[GroundTruth, Engine, Mapping[int, Group], list[str]]:
    """What can be done, and can fail, before there are detections; a long training does it first.

    Args:
        gt: annotation json, LVIS or COCO.
        engine: as in `evaluate`.
        groups: as in `evaluate`.

    Returns:
        The ground truth, the engine and the groups to judge with, and notes.

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
    return truth, engine, groups, notes


def _choose(engine: Engine | None, truth: GroundTruth) -> Engine:
    able = ENGINES[truth.protocol]
    if engine is not None and engine not in able:
        has = "have" if truth.protocol == "lvis" else "have no"
        raise ConfigError(
            f"The engine {engine} cannot judge {truth.path}, a file of the {truth.protocol.upper()} protocol "
            f"(its images {has} neg_category_ids).",
            hint=f"Choose {' or '.join(able)}, or leave the engine out.",
        )
    return engine or able[0]


def _curves(engine: Engine, truth: GroundTruth, detections: Detections, groups: Mapping[int, Group]) -> Curves:
    match (truth.protocol, engine):
        case ("lvis", "lvis"):
            return lvis.by_lvis(truth, detections, groups)
        case ("lvis", _):
            return lvis.by_hotcoco(truth, detections)
        case (_, "pycocotools"):
            return coco.by_pycocotools(truth, detections)
        case _:
            return coco.by_hotcoco(truth, detections)


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
