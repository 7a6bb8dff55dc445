"""A Faster R-CNN checkpoint of torchvision, detectron2 or mmdetection in, a detector with its weights out.

Every layout is brought to torchvision's names first; from there one map leads to this package's. A tensor goes in only
where the shape fits.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from clis_core.detectors.backbones import STRIDES, Backbone
from clis_core.detectors.convnorm import ConvNorm
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.errors import CheckpointError

Layout = Literal["torchvision", "detectron2", "mmdetection"]
Pixels = Literal["rgb", "bgr"]

# Keys that only this layout has together.
_MARKS: dict[Layout, tuple[str, str]] = {
    "torchvision": ("backbone.body.conv1.weight", "roi_heads.box_predictor.cls_score.weight"),
    "detectron2": ("backbone.bottom_up.stem.conv1.weight", "roi_heads.box_predictor.cls_score.weight"),
    "mmdetection": ("backbone.conv1.weight", "roi_head.bbox_head.fc_cls.weight"),
}
_NORM = r"(weight|bias|running_mean|running_var)"
_BLOCK = r"(backbone\.body\.layer\d\.\d+)"
# How names become torchvision's, one step after the other.
_NAMES: dict[Layout, list[tuple[str, str]]] = {
    "torchvision": [  # names of torchvision before 0.13, which its published files still have
        (r"(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)", r"\1.0.\2"),
        (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
    ],
    "detectron2": [
        (r"backbone\.bottom_up\.stem\.conv1\.weight", r"backbone.body.conv1.weight"),
        (rf"backbone\.bottom_up\.stem\.conv1\.norm\.{_NORM}", r"backbone.body.bn1.\1"),
        (r"backbone\.bottom_up\.res2\.", r"backbone.body.layer1."),
        (r"backbone\.bottom_up\.res3\.", r"backbone.body.layer2."),
        (r"backbone\.bottom_up\.res4\.", r"backbone.body.layer3."),
        (r"backbone\.bottom_up\.res5\.", r"backbone.body.layer4."),
        (rf"{_BLOCK}\.conv(\d)\.norm\.{_NORM}", r"\1.bn\2.\3"),
        (rf"{_BLOCK}\.shortcut\.norm\.{_NORM}", r"\1.downsample.1.\2"),
        (rf"{_BLOCK}\.shortcut\.weight", r"\1.downsample.0.weight"),
        *((rf"backbone\.fpn_lateral{n + 2}\.", rf"backbone.fpn.inner_blocks.{n}.0.") for n in range(4)),
        *((rf"backbone\.fpn_output{n + 2}\.", rf"backbone.fpn.layer_blocks.{n}.0.") for n in range(4)),
        (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
        (r"proposal_generator\.rpn_head\.conv\.conv(\d)\.", r"rpn.head.conv.\1.0."),
        (r"proposal_generator\.rpn_head\.objectness_logits\.", r"rpn.head.cls_logits."),
        (r"proposal_generator\.rpn_head\.anchor_deltas\.", r"rpn.head.bbox_pred."),
        (r"roi_heads\.box_head\.fc1\.", r"roi_heads.box_head.fc6."),
        (r"roi_heads\.box_head\.fc2\.", r"roi_heads.box_head.fc7."),
    ],
    "mmdetection": [
        (r"backbone\.", r"backbone.body."),
        (r"neck\.lateral_convs\.(\d)\.conv\.", r"backbone.fpn.inner_blocks.\1.0."),
        (r"neck\.fpn_convs\.([0-3])\.conv\.", r"backbone.fpn.layer_blocks.\1.0."),
        (r"rpn_head\.rpn_conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
        (r"rpn_head\.rpn_conv\.(\d)\.conv\.", r"rpn.head.conv.\1.0."),
        (r"rpn_head\.rpn_cls\.", r"rpn.head.cls_logits."),
        (r"rpn_head\.rpn_reg\.", r"rpn.head.bbox_pred."),
        (r"roi_head\.bbox_head\.shared_fcs\.0\.", r"roi_heads.box_head.fc6."),
        (r"roi_head\.bbox_head\.shared_fcs\.1\.", r"roi_heads.box_head.fc7."),
        (r"roi_head\.bbox_head\.fc_cls\.", r"roi_heads.box_predictor.cls_score."),
        (r"roi_head\.bbox_head\.fc_reg\.", r"roi_heads.box_predictor.bbox_pred."),
    ],
}
_CLASS, _BOX = "roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"
# Where this package's modules stand in torchvision's: the pyramid and the backbone are in `_foreign_name`.
_MODULES = [
    (r"rpn\.head\.(.+)", r"rpn.head.\1"),
    (r"head\.(?:cls|loc)_2fc\.(fc\d)", r"roi_heads.box_head.\1"),
    (r"head\.fc_cls", _CLASS),
    (r"head\.fc_reg", _BOX),
]
# These depend on the classes and on the config's head; they keep their first weights where they do not fit.
_MAY_STAY = ("head.fc_cls", "head.fc_reg", "head.fc_obj", "mtl.", "mask_head.")
_HINT = "To take the backbone alone: --set detector.backbone.init=FILE"


class Imported(NamedTuple):
    """What came of an import.

    Attributes:
        layout: whose names the file has.
        loaded: tensors of the detector that were set.
        kept: tensors of the detector that keep their first weights.
        unused: tensors of the file that went nowhere, by its own names.
    """

    layout: Layout
    loaded: list[str]
    kept: list[str]
    unused: list[str]


def foreign_layout(state: dict[str, Tensor]) -> Layout | None:
    """Whose Faster R-CNN a state dictionary is; None for anything else."""
    return next((layout for layout, marks in _MARKS.items() if all(m in state for m in marks)), None)


def load_foreign(
    detector: FasterRCNN, state: dict[str, Tensor], source: str, *, pixels: Pixels | None = None
) -> Imported:
    """Set a detector's weights to those of another program's Faster R-CNN with a ResNet and a feature pyramid.

    The two fully connected layers go to both sides of a specialised head. The class layer and the box regression keep
    their first weights where the file has another number of classes, or the config one regression for all of them; the
    class layer does so as well where its loss is not softmax.

    Args:
        detector: is changed in place.
        state: see `clis_core.detectors.weights.read_state`.
        source: what to call the weights in a message.
        pixels: what the first convolution expects: "rgb", normalised to deviation 1; or "bgr", in 0..255 less the
            mean, as detectron2's own models and the "caffe" ones of mmdetection. It is turned into the former. None
            takes what is usual in the layout: "bgr" for detectron2, "rgb" for the others.

    Raises:
        CheckpointError: the layout is unknown, or a tensor of the backbone, the pyramid, the proposal network or the
            fully connected layers is missing or has another shape. The detector is then unchanged.
    """
    layout = foreign_layout(state)
    if layout is None:
        raise CheckpointError(
            f"{source}: not a Faster R-CNN with a feature pyramid of torchvision, detectron2 or mmdetection.",
            hint=_HINT,
        )
    if not isinstance(detector.encoder.backbone, Backbone) or not detector.config.backbone.name.startswith("resnet"):
        raise CheckpointError(
            f"{source}: weights of a ResNet, but detector.backbone.name is {detector.config.backbone.name!r}.",
            hint="--set detector.backbone.name=resnet50",
        )
    names = {_renamed(key, layout): key for key in state}
    there = {name: state[key] for name, key in names.items()}
    _class_layers(there, layout)
    _to_rgb(there, pixels or ("bgr" if layout == "detectron2" else "rgb"), detector)
    new: dict[str, Tensor] = {}
    used: set[str] = set()
    for path, module in detector.named_modules():
        if isinstance(module, ConvNorm | nn.Conv2d | nn.Linear):
            _fill(path, module, there, new, used, detector, source)
    own = detector.state_dict()
    detector.load_state_dict(new, strict=False)
    unused = [names[n] for n in there if n not in used and not n.endswith("num_batches_tracked")]
    return Imported(layout, list(new), [k for k in own if k not in new], unused)


def _renamed(key: str, layout: Layout) -> str:
    for pattern, name in _NAMES[layout]:
        key = re.sub(f"^{pattern}", name, key)
    return key


def _class_layers(there: dict[str, Tensor], layout: Layout) -> None:
    """To C + 1 classes with background first, and C box regressions."""
    for part in ("weight", "bias"):
        classes, boxes = there.get(f"{_CLASS}.{part}"), there.get(f"{_BOX}.{part}")
        if layout == "torchvision":
            if boxes is not None:
                there[f"{_BOX}.{part}"] = boxes[4:]  # without the background's
        elif classes is not None:
            there[f"{_CLASS}.{part}"] = classes.roll(1, 0)  # background is last there


def _to_rgb(there: dict[str, Tensor], pixels: Pixels, detector: FasterRCNN) -> None:
    first = "backbone.body.conv1.weight"
    if pixels == "bgr" and first in there:
        # w . (bgr - mean) = (w, flipped, times the deviation) . ((rgb - mean) / deviation)
        std = 1 / detector.preprocess.scale.cpu().view(1, 3, 1, 1)
        there[first] = there[first].flip(1) * std


def _foreign_name(path: str, detector: FasterRCNN) -> tuple[str, str]:
    """Names in torchvision's layout of a module's convolution or linear layer, and of the norm after it ("": none)."""
    if path.startswith("encoder.backbone."):
        return backbone_names(path)
    level = re.fullmatch(r"encoder\.pyramid\.(inner|layer)_blocks\.(\d)\.0", path)
    if level:
        stage = STRIDES.index(detector.config.pyramid.strides[int(level[2])])
        unit = f"backbone.fpn.{level[1]}_blocks.{stage}"
        return f"{unit}.0", f"{unit}.1"
    for pattern, name in _MODULES:
        if re.fullmatch(pattern, path):
            return re.sub(pattern, name, path), ""
    return "", ""


def backbone_names(path: str) -> tuple[str, str]:
    """The same of a convolution in the backbone, a ResNet."""
    block = re.fullmatch(r"encoder\.backbone\.stages\.(\d)\.(.+)", path)
    if block is None:
        return "", ""
    stage, rest = int(block[1]), block[2]
    if stage == 0 and rest == "0":
        return "backbone.body.conv1", "backbone.body.bn1"
    if stage == 0:
        rest = rest.removeprefix("4.")  # the stem and the first stage are one here
    conv = f"backbone.body.layer{stage + 1}.{rest}"
    return conv, re.sub(r"downsample\.0$", "downsample.1", re.sub(r"conv(\d)$", r"bn\1", conv))


def _fill(
    path: str,
    module: nn.Module,
    there: dict[str, Tensor],
    new: dict[str, Tensor],
    used: set[str],
    detector: FasterRCNN,
    source: str,
) -> None:
    """Add a module's tensors to ``new``."""
    if path == "head.fc_cls" and detector.config.class_loss.kind != "softmax":
        return  # its columns mean other things, whatever the shape
    name, norm = _foreign_name(path, detector)
    parts = conv_and_norm(name, norm, there)
    tensors = parts if isinstance(module, ConvNorm) else folded(parts)
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    faults = [k for k in own if k not in tensors or tensors[k].shape != own[k].shape]
    if faults and path.startswith(_MAY_STAY):
        return
    if faults:
        key = faults[0]
        has = f"has shape {list(tensors[key].shape)}" if key in tensors else "is missing"
        raise CheckpointError(
            f"{source}: {name}.{key} {has}; the detector's {path}.{key} has shape {list(own[key].shape)}.",
            hint=f"Set the detector's config to match the file (backbone, pyramid, rpn, head). {_HINT}",
        )
    new |= {f"{path}.{k}": tensors[k].to(own[k].dtype) for k in own}
    used |= {f"{name}.weight", f"{name}.bias"} | {f"{norm}.{k}" for k in ("weight", "bias")}
    used |= {f"{norm}.running_mean", f"{norm}.running_var"}


def conv_and_norm(name: str, norm: str, there: dict[str, Tensor]) -> dict[str, Tensor]:
    """A convolution or linear layer and its norm: weight, bias, gamma, beta, mean, var, as far as they are there."""
    found = {
        "weight": there.get(f"{name}.weight"),
        "bias": there.get(f"{name}.bias"),
        "gamma": there.get(f"{norm}.weight"),
        "beta": there.get(f"{norm}.bias"),
        "mean": there.get(f"{norm}.running_mean"),
        "var": there.get(f"{norm}.running_var"),
    }
    return {key: tensor for key, tensor in found.items() if tensor is not None}


def folded(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weight and bias with the norm's statistics taken in, where there is one (eps 1e-5, as everywhere)."""
    if not {"weight", "gamma", "beta", "mean", "var"} <= parts.keys():
        return {k: parts[k] for k in ("weight", "bias") if k in parts}
    scale = parts["gamma"] * torch.rsqrt(parts["var"] + 1e-5)
    bias = parts["beta"] - parts["mean"] * scale + parts.get("bias", torch.zeros(())) * scale
    return {"weight": parts["weight"] * scale.view(-1, *[1] * (parts["weight"].dim() - 1)), "bias": bias}
