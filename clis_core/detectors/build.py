"""A detector from its config."""

from __future__ import annotations

from clis_core.config.detector import DetectorConfig, FasterRCNNConfig, FCOSConfig, RetinaNetConfig
from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.losses.counts import ClassCounts

Detector = FasterRCNN | DenseDetector


def build_detector(config: DetectorConfig, num_classes: int, counts: ClassCounts | None = None) -> Detector:
    """The detector for ``num_classes`` classes, with its first weights.

    Args:
        config: its parts.
        num_classes: C, without background.
        counts: of the training data, which some class losses need to learn; None where a checkpoint's state follows.

    Raises:
        ConfigError: parts that do not fit together.
        CheckpointError: first weights that cannot be read.
    """
    match config:
        case FasterRCNNConfig():
            return FasterRCNN(config, num_classes, counts)
        case RetinaNetConfig() | FCOSConfig():
            return DenseDetector(config, num_classes)
