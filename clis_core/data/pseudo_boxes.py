"""What a detector found in a picture, and the picture's own label, in; boxes that are taken for true ones out.

K detections, M boxes. Boxes are xyxy, relative to the picture (0..1).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

BoxRule = Literal["fixed", "detector", "own-label", "relabelled", "regions"]
_SIDE = 0.8
_END = 1 - _SIDE
FIXED = np.array(
    [
        (0, 0, 1, 1),
        (_END / 2, _END / 2, 1 - _END / 2, 1 - _END / 2),
        (0, 0, _SIDE, _SIDE),
        (_END, 0, 1, _SIDE),
        (0, _END, _SIDE, 1),
        (_END, _END, 1, 1),
    ],
    np.float32,
)
"""The whole picture, and its centre and corners at 0.8 of its sides."""


class PseudoBoxes(NamedTuple):
    """Boxes of a picture.

    Attributes:
        boxes: float32 ``[M, 4]``.
        labels: int64 ``[M]``, 1..C.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def fixed_boxes(label: int) -> PseudoBoxes:
    """The `FIXED` boxes, all of a label."""
    return PseudoBoxes(FIXED, np.full(len(FIXED), label, np.int64))


def detected_boxes(
    rule: BoxRule,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    label: int,
    threshold: float,
) -> PseudoBoxes:
    """The detections that are taken for true boxes.

    Args:
        rule: "detector" takes all with a score above the threshold, whatever their class; "own-label" those of them
            that are of the picture's label; "relabelled" the best one of any class, as of the picture's label.
        boxes: ``[K, 4]``, best first.
        labels: ``[K]``, 1..C.
        scores: ``[K]``.
        label: of the picture.
        threshold: of the score.
    """
    match rule:
        case "relabelled":
            keep = np.arange(min(1, len(boxes)))
            return PseudoBoxes(boxes[keep], np.full(len(keep), label, np.int64))
        case "own-label":
            keep = np.flatnonzero((scores > threshold) & (labels == label))
        case "detector":
            keep = np.flatnonzero(scores > threshold)
        case _:
            raise ValueError(f"{rule} takes no detections")
    return PseudoBoxes(boxes[keep], labels[keep])
