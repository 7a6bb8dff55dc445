"""A method's config and a detector's in; nothing out where one can teach the other, else an error that names both."""

from __future__ import annotations

from clis_core.config.detector import DetectorConfig
from clis_core.config.method import ClisConfig, SupervisedConfig
from clis_core.config.methods import MethodConfig
from clis_core.config.train import Learn
from clis_core.errors import ConfigError


def check_learn(learn: Learn, detector: DetectorConfig) -> None:
    """Check that what a training leaves as it is does not lean on what it changes.

    Raises:
        ConfigError: it does.
    """
    if learn != "all" and detector.kind == "faster-rcnn" and detector.mtl.refine:
        raise ConfigError(
            f"train.learn = {learn!r} does not go with detector.mtl.refine: the refinement would stay as it is, and it "
            "is of the class layer's logits.",
            hint="--set detector.mtl.refine=false in the first training and here, or --set train.learn=all",
        )


def check_pair(method: MethodConfig, detector: DetectorConfig) -> None:
    """Check that a method can teach a detector.

    Raises:
        ConfigError: it cannot.
    """
    if detector.kind == "faster-rcnn":
        if detector.mtl.any and not isinstance(method, SupervisedConfig | ClisConfig):
            raise ConfigError(
                f"detector.mtl has heads that method.kind = {method.kind!r} does not teach.",
                hint="--set method.kind=supervised, or clis; or without the heads: --set detector.mtl.window=false "
                "--set detector.mtl.closeness=false --set detector.mtl.refine=false",
            )
        return
    if not isinstance(method, SupervisedConfig):
        raise ConfigError(
            f"method.kind = {method.kind!r} does not go with detector.kind = {detector.kind!r}: it teaches the second "
            "stage of a Faster R-CNN.",
            hint="--set method.kind=supervised, or --set detector.kind=faster-rcnn",
        )
    if method.mtl.foreground_weight:
        raise ConfigError(
            f"method.mtl.foreground_weight = {method.mtl.foreground_weight} does not go with detector.kind = "
            f"{detector.kind!r}: the auxiliary tasks are those of a Faster R-CNN.",
            hint="--set method.mtl.foreground_weight=0, or --set detector.kind=faster-rcnn",
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
