"""A method from its config."""

from __future__ import annotations

from clis_core.config.image_methods import DeticConfig, DlwlConfig, SelfTrainingConfig, UnbiasedTeacherConfig
from clis_core.config.method import ClisConfig, SupervisedConfig
from clis_core.config.methods import MethodConfig
from clis_core.config.pairs import check_pair
from clis_core.detectors.build import Detector
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.methods.clis import Clis
from clis_core.methods.detic import Detic
from clis_core.methods.dlwl import Dlwl
from clis_core.methods.self_training import SelfTraining
from clis_core.methods.supervised import Supervised
from clis_core.methods.unbiased_teacher import UnbiasedTeacher

Method = Supervised | Clis | Detic | SelfTraining | Dlwl | UnbiasedTeacher


def build_method(config: MethodConfig, detector: Detector, pictures: int = 0) -> Method:
    """The method that teaches ``detector``.

    Args:
        config: which one, and its settings.
        detector: what is taught.
        pictures: number of pictures with a class label that training draws from.

    Raises:
        ConfigError: the method does not fit the detector.
    """
    check_pair(config, detector.config)
    match config:
        case SupervisedConfig():
            return Supervised(detector, config)
        case _:
            assert isinstance(detector, FasterRCNN), "another pair is refused above"
    match config:
        case ClisConfig():
            return Clis(detector, config, pictures)
        case DeticConfig():
            return Detic(detector, config)
        case SelfTrainingConfig():
            return SelfTraining(detector, config)
        case DlwlConfig():
            return Dlwl(detector, config)
        case UnbiasedTeacherConfig():
            return UnbiasedTeacher(detector, config)
