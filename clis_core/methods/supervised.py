"""Learning from boxes alone: the ordinary training of a detector."""

from __future__ import annotations

from torch import nn

from clis_core.batch import Batch, Losses
from clis_core.config.method import SupervisedConfig
from clis_core.detectors.build import Detector
from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.methods.dense_losses import dense_losses
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.mtl_ssl import MtlTasks


class Supervised(nn.Module):
    """The detection loss L_d of CLIS, eq. 2, without image-level data.

    Args:
        detector: what is taught.
        config: matching, sampling and weights.
    """

    def __init__(self, detector: Detector, config: SupervisedConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.mtl = MtlTasks(config.mtl, detector) if isinstance(detector, FasterRCNN) else None

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector, config = self.detector, self.config
        images = detector.preprocess(batch.images)
        features = detector.encoder(images.pixels)
        match detector:
            case FasterRCNN():
                return detection_losses(detector, images, features, batch.targets, config.rpn, config.roi, self.mtl)
            case DenseDetector():
                return dense_losses(detector, images, features, batch.targets, config.dense)

    def after_step(self) -> None:
        """Nothing to keep up beside the weights."""
