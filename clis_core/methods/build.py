"""A method from its config."""

from __future__ import annotations

from clis_core.config.method import MethodConfig
from clis_core.detectors.build import Detector
from clis_core.methods.supervised import Supervised

Method = Supervised


def build_method(config: MethodConfig, detector: Detector) -> Method:
    """The method that teaches ``detector``.

    Raises:
        ConfigError: the method does not fit the detector.
    """
    match config.kind:
        case "supervised":
            return Supervised(detector, config)
