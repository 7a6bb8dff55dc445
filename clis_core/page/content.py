"""What a report shows, read and worked out: plain records.

C classes, R = 101 recalls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.categories import Group
from clis_core.evaluation.examples import Example, Shown, Truth

MOST_RUNS = 8
"""Runs that can be told apart by colour, line and mark."""
GROUPS: dict[Group | None, str] = {"r": "rare", "c": "common", "f": "frequent", None: "no group"}


@dataclass(frozen=True)
class ClassInfo:
    """A class of the ground truth.

    Attributes:
        id: category id.
        name: as in the file.
        group: rare, common, frequent or none.
        train_images: training images that hold it, where known.
        images: judged images that hold it.
        objects: its boxes in them.
    """

    id: int
    name: str
    group: Group | None
    train_images: int | None
    images: int
    objects: int


@dataclass(frozen=True)
class ClassResult:
    """How a run does on a class.

    Attributes:
        ap: percent points, None without objects.
        ap50: the same at an IoU of 0.5.
        detections: of the class.
        best_f1: score, F1, precision and recall at the best threshold, where there is one.
        counts: objects by what became of them: all, found, Cls, Loc, Miss.
        taken_for: classes (places) that its objects got, and how many objects.
        given_to: classes (places) of the objects that its own detections lie on, and how many detections.
    """

    ap: float | None
    ap50: float | None
    detections: int
    best_f1: tuple[float, float, float, float] | None
    counts: Mapping[str, int]
    taken_for: Sequence[tuple[int, int]]
    given_to: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class GroupResult:
    """What mistakes cost a group of classes: AP50, its gain by kind, and objects by what became of them."""

    ap50: float | None
    gains: Mapping[str, float | None]
    counts: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Run:
    """A run, or whatever else was evaluated.

    Attributes:
        name: of its own among the runs of the page.
        step: training steps behind the weights, where known.
        detections: how many.
        engine: that judged.
        metrics: percent points by name.
        classes: by place of the class.
        groups: by ``all``, ``r``, ``c``, ``f``.
        notes: what a reader of the numbers should know.
        precision: float64 ``[C, R]`` at an IoU of 0.5, -1 for a class without objects; None without detections.
        log: its records "train" and "eval", by step.
        settings: its config by dotted key; None where there is no config.
    """

    name: str
    step: int | None
    detections: int
    engine: str
    metrics: Mapping[str, float | None]
    classes: Sequence[ClassResult]
    groups: Mapping[str, GroupResult]
    notes: Sequence[str]
    precision: NDArray[np.float64] | None = None
    log: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Picture:
    """A picture with boxes.

    Attributes:
        example: why it is shown.
        image_id: in the annotation file.
        jpeg: its bytes.
        size: width and height of the JPEG, pixels.
        scale: pixels of the JPEG by pixels of the original.
        objects: what is on it.
        fates: by place of the run, what became of each object: found, Cls, Loc, Miss or ignored.
        shown: by place of the run, its detections; None for a run without any on disk.
    """

    example: Example
    image_id: int
    jpeg: bytes
    size: tuple[int, int]
    scale: float
    objects: Sequence[Truth]
    fates: Sequence[Sequence[str] | None]
    shown: Sequence[Sequence[Shown] | None]


@dataclass(frozen=True)
class Report:
    """Everything on the page.

    Attributes:
        split: the judged images: val or train.
        ground_truth: their annotation file.
        protocol: lvis or coco.
        images: how many.
        classes: in the order of their ids.
        runs: the first is what the others are compared with.
        score_cut: least score of a mistake.
        pictures: in the order in which they are shown.
        notes: about the report itself.
        version: of clis.
    """

    split: str
    ground_truth: str
    protocol: str
    images: int
    classes: Sequence[ClassInfo]
    runs: Sequence[Run]
    score_cut: float
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default=())
    version: str = ""
