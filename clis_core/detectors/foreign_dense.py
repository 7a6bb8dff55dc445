"""A RetinaNet or FCOS checkpoint of torchvision in, a detector of this package with its weights out."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from clis_core.detectors.convnorm import ConvNorm
from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.foreign_weights import backbone_names, conv_and_norm, folded
from clis_core.errors import CheckpointError

_CLASS = "head.classification_head.cls_logits"
# torchvision's names before 0.14, which its published files of RetinaNet still have: every second layer was a ReLU.
_OLD_TOWER = r"(head\.(?:classification|regression)_head\.conv)\.(\d)\.(weight|bias)"


def load_torchvision_dense(detector: DenseDetector, state: dict[str, Tensor], source: str) -> None:
    """Set a detector's weights to those of torchvision's RetinaNet or FCOS with a ResNet.

    torchvision's class 0, which is nothing, goes; its class i is label i.

    Args:
        detector: is changed in place.
        state: a state dictionary.
        source: what to call it in a message.

    Raises:
        CheckpointError: a tensor is missing or has another shape; the detector is then unchanged.
    """
    if f"{_CLASS}.weight" not in state:
        raise CheckpointError(
            f"{source}: not a RetinaNet or FCOS of torchvision.",
            hint="To take the backbone alone: --set detector.backbone.init=FILE",
        )
    there = _modern(state) if not detector.points else dict(state)
    for part in ("weight", "bias"):
        whole = there[f"{_CLASS}.{part}"]
        anchors = detector.anchors.num_anchors_per_location()[0]
        there[f"{_CLASS}.{part}"] = whole.reshape(anchors, -1, *whole.shape[1:])[:, 1:].flatten(0, 1)
    new: dict[str, Tensor] = {}
    for path, module in detector.named_modules():
        if isinstance(module, ConvNorm | nn.Conv2d | nn.GroupNorm):
            name, norm = _names(path, detector)
            parts = conv_and_norm(name, norm, there)
            tensors = parts if isinstance(module, ConvNorm) else folded(parts)
            if isinstance(module, nn.Conv2d) and "weight" in tensors:
                tensors.setdefault("bias", torch.zeros(len(tensors["weight"])))  # before a norm
            own = dict(module.named_parameters()) | dict(module.named_buffers())
            for key, value in own.items():
                if key not in tensors or tensors[key].shape != value.shape:
                    has = f"has shape {list(tensors[key].shape)}" if key in tensors else "is missing"
                    raise CheckpointError(
                        f"{source}: {name}.{key} {has}; the detector's {path}.{key} has shape {list(value.shape)}.",
                        hint="Set the detector's config to match the file (backbone, pyramid, anchors, head, classes).",
                    )
                new[f"{path}.{key}"] = tensors[key].to(value.dtype)
    detector.load_state_dict(new, strict=False)


def _modern(state: dict[str, Tensor]) -> dict[str, Tensor]:
    def renamed(key: str) -> str:
        old = re.fullmatch(_OLD_TOWER, key)
        return f"{old[1]}.{int(old[2]) // 2}.0.{old[3]}" if old else key

    return {renamed(key): value for key, value in state.items()}


def _names(path: str, detector: DenseDetector) -> tuple[str, str]:
    """torchvision's names of a layer, and of the frozen norm that is folded into it ("": none)."""
    if path.startswith("encoder.backbone."):
        return backbone_names(path)
    if path.startswith("encoder.pyramid."):
        return path.replace("encoder.pyramid.", "backbone.fpn."), ""
    layers = {"conv_cls": _CLASS, "conv_box": "head.regression_head.bbox_reg"}
    layers["conv_quality"] = "head.regression_head.bbox_ctrness"
    tower = re.fullmatch(r"head\.(cls|box)_tower\.(\d+)", path)
    if tower is None:
        return layers[path.removeprefix("head.")], ""
    side = {"cls": "classification", "box": "regression"}[tower[1]]
    step = 3 if detector.config.head.norm == "group" else 2
    number, part = divmod(int(tower[2]), step)
    place = str(int(tower[2])) if detector.points else f"{number}.{part}"
    return f"head.{side}_head.conv.{place}", ""
