"""A detector from its config."""

from __future__ import annotations

from clis_core.config.detector import DetectorConfig
from clis_core.detectors.faster_rcnn import FasterRCNN

Detector = FasterRCNN


def build_detector(config: DetectorConfig, num_classes: int) -> Detector:
    """The detector for ``num_classes`` classes, with its first weights.

    Raises:
        ConfigError: parts that do not fit together.
        CheckpointError: first weights that cannot be read.
    """
    match config.kind:
        case "faster-rcnn":
            return FasterRCNN(config, num_classes)
