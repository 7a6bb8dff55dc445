"""A method's config and a detector's in; nothing out where one can teach the other, else an error that names both."""

from __future__ import annotations

from clis_core.config.detector import DetectorConfig
from clis_core.config.method import SupervisedConfig
from clis_core.config.methods import MethodConfig
from clis_core.errors import ConfigError


def check_pair(method: MethodConfig, detector: DetectorConfig) -> None:
    """Check that a method can teach a detector.

    Raises:
        ConfigError: it cannot.
    """
    if detector.kind == "faster-rcnn":
        return
    if not isinstance(method, SupervisedConfig):
        raise ConfigError(
            f"method.kind = {method.kind!r} does not go with detector.kind = {detector.kind!r}: it teaches the second "
            "stage of a Faster R-CNN.",
            hint="--set method.kind=supervised, or --set detector.kind=faster-rcnn",
        )
    assign = method.dense.assign.kind
    if detector.kind == "fcos" and assign == "max-iou":
        raise ConfigError(
            "method.dense.assign.kind = 'max-iou' does not go with detector.kind = 'fcos', which has points in place "
            "of anchors.",
            hint="--preset fcos-r50-1x; or --set method.dense.assign.kind=ranges, or atss",
        )
    if detector.kind == "retinanet" and assign == "ranges":
        raise ConfigError(
            "method.dense.assign.kind = 'ranges' does not go with detector.kind = 'retinanet': it is for the points "
            "of FCOS.",
            hint="--set method.dense.assign.kind=max-iou, or atss",
        )
