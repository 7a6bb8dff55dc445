"""Backbones: normalised images in, feature maps of stride 4, 8, 16 and 32 out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from clis_core.config.detector import SLIM, BackboneConfig
from clis_core.detectors.convnorm import fold_norms, freeze
from clis_core.detectors.preprocess import MEAN, STD
from clis_core.detectors.slim_resnet import STAGES, slim_stages
from clis_core.detectors.weights import load_backbone_state, read_state
from clis_core.errors import ConfigError

STRIDES = (4, 8, 16, 32)

# torchvision's `features` cut behind the last block of each stride: the ends of stages 1 to 4.
_MOBILENET_ENDS = {"mobilenet_v2": (4, 7, 14, 19), "mobilenet_v3_large": (4, 7, 13, 17)}
_CHANNELS = {
    "resnet18": (64, 128, 256, 512),
    "resnet34": (64, 128, 256, 512),
    "resnet50": (256, 512, 1024, 2048),
    "resnet101": (256, 512, 1024, 2048),
    "mobilenet_v2": (24, 32, 96, 1280),
    "mobilenet_v3_large": (24, 40, 112, 960),
}


class Backbone(nn.Module):
    """Four stages, one for each stride.

    Args:
        stages: networks that halve the resolution (the first one quarters it).
        channels: channels of each stage's output.
    """

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.mean, self.std = MEAN, STD

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` to four maps ``[N, C_i, H / s_i, W / s_i]`` for the strides s = 4, 8, 16, 32."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class TimmBackbone(nn.Module):
    """A timm model that gives its intermediate feature maps.

    Args:
        network: made by ``timm.create_model(..., features_only=True)``.
        channels: channels of the maps of stride 4, 8, 16, 32.
    """

    def __init__(self, network: Any, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.channels = channels
        self.mean = tuple(255 * x for x in network.pretrained_cfg["mean"])
        self.std = tuple(255 * x for x in network.pretrained_cfg["std"])

    def forward(self, x: Tensor) -> list[Tensor]:
        """``[N, 3, H, W]`` to four maps ``[N, C_i, H / s_i, W / s_i]`` for the strides s = 4, 8, 16, 32."""
        maps = self.network(x)[-len(self.channels) :]
        # Window transformers give [N, H, W, C].
        return [
            m if m.shape[1] == c else m.permute(0, 3, 1, 2).contiguous()
            for m, c in zip(maps, self.channels, strict=True)
        ]

    def train(self, mode: bool = True) -> TimmBackbone:
        """Batch norms stay in inference mode: their statistics are stored ones."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


def build_backbone(config: BackboneConfig) -> Backbone | TimmBackbone:
    """Build, initialise and partly freeze a backbone.

    Raises:
        ConfigError: the model is unknown or has no feature pyramid.
        CheckpointError: the first weights cannot be read or do not fit.
    """
    if config.norm == "group" and (config.init != "none" or config.name.startswith("timm/")):
        raise ConfigError(
            "detector.backbone.norm = 'group' is for networks of torchvision that start from random weights.",
            hint="--set detector.backbone.norm=affine, or --init none",
        )
    if config.name.startswith("timm/"):
        return _build_timm(config)
    if config.init == "timm":
        raise ConfigError(
            f"detector.backbone.init = 'timm' does not fit {config.name}, which is torchvision's.",
            hint="--init torchvision",
        )
    if config.name == SLIM:
        return _build_slim(config)
    weights = "DEFAULT" if config.name.startswith("mobilenet") else "IMAGENET1K_V1"
    if config.init == "torchvision":
        network = _download(lambda: torchvision.models.get_model(config.name, weights=weights), config.name)
    elif config.norm == "group":
        network = torchvision.models.get_model(config.name, weights=None, norm_layer=_group_norm)
    else:
        network = torchvision.models.get_model(config.name, weights=None)
        if config.init != "none":
            load_backbone_state(network, read_state(Path(config.init)), config.init)
    fold_norms(network, affine=config.norm == "affine")
    stages = _resnet_stages(network) if config.name.startswith("resnet") else _mobilenet_stages(network, config.name)
    return _frozen(Backbone(stages, _CHANNELS[config.name]), config)


def _build_slim(config: BackboneConfig) -> Backbone:
    if config.init == "torchvision" or config.norm != "group":
        raise ConfigError(
            f"{SLIM} has group norm and no ImageNet weights.",
            hint="--init none --set detector.backbone.norm=group --set detector.backbone.frozen_stages=0",
        )
    return _frozen(Backbone(slim_stages(), STAGES), config)


def _frozen(backbone: Backbone, config: BackboneConfig) -> Backbone:
    for stage in list(backbone.stages)[: config.frozen_stages]:
        freeze(stage)
    return backbone


def _group_norm(channels: int) -> nn.Module:
    # 16 channels a group, fewer where the width is no multiple of 16.
    return nn.GroupNorm(channels // math.gcd(channels, 16), channels)


def _resnet_stages(network: Any) -> list[nn.Module]:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool, network.layer1)
    return [stem, network.layer2, network.layer3, network.layer4]


def _mobilenet_stages(network: Any, name: str) -> list[nn.Module]:
    blocks = list(network.features)
    ends = _MOBILENET_ENDS[name]
    return [nn.Sequential(*blocks[a:b]) for a, b in zip((0, *ends), ends, strict=False)]


def _build_timm(config: BackboneConfig) -> TimmBackbone:
    name = config.name.removeprefix("timm/")
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"detector.backbone.name = {config.name!r} needs timm.", hint="pip install 'clis[timm]'"
        ) from error
    if config.init == "torchvision":
        raise ConfigError(
            f"torchvision has no weights of {config.name}.",
            hint="--init timm (downloads timm's weights), --init none, or --init FILE",
        )
    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_', maxsplit=1)[0]}*")[:5]
        raise ConfigError(f"timm has no model {name!r}.", hint=f"Close names: {', '.join(close) or 'none'}")
    weights: dict[str, Any] = {"features_only": True, "pretrained": True}
    if config.init not in ("timm", "none"):
        read_state(Path(config.init))  # for its words on files that cannot be read
        weights["pretrained_cfg_overlay"] = {"file": config.init}
    try:
        network = _any_size(name, {"features_only": True})
    except (RuntimeError, AttributeError, NotImplementedError, AssertionError, TypeError) as error:
        raise ConfigError(
            f"timm's {name} gives no feature pyramid: {error}",
            hint="Take a model with feature maps of stride 4, 8, 16, 32, such as timm/resnet26.",
        ) from error
    reductions = list(network.feature_info.reduction())
    if reductions[-len(STRIDES) :] != list(STRIDES):
        raise ConfigError(
            f"timm's {name} has feature maps of stride {reductions}; 4, 8, 16, 32 are needed.",
            hint="Take a model with a feature pyramid, such as timm/resnet26.",
        )
    if config.init != "none":
        network = _download(lambda: _any_size(name, weights), name)
    fold_norms(network, affine=config.norm == "affine")
    if config.frozen_stages:
        _freeze_timm(network, config)
    return TimmBackbone(network, tuple(network.feature_info.channels()[-len(STRIDES) :]))


def _any_size(name: str, options: dict[str, Any]) -> Any:
    """A timm model that takes images of any size; window transformers have to be told."""
    import timm

    try:
        return timm.create_model(name, strict_img_size=False, **options)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        return timm.create_model(name, **options)


def _freeze_timm(network: Any, config: BackboneConfig) -> None:
    modules = network.feature_info.module_name()[-len(STRIDES) :]
    last = modules[min(config.frozen_stages, len(STRIDES)) - 1].replace(".", "_")
    children = dict(network.named_children())
    if last not in children:
        raise ConfigError(
            f"The stages of {config.name} cannot be frozen one by one.",
            hint="--set detector.backbone.frozen_stages=0",
        )
    for name, child in children.items():
        freeze_root = nn.ModuleDict({name: child})
        freeze(freeze_root)
        setattr(network, name, freeze_root[name])
        if name == last:
            return


def _download(create: Any, name: str) -> Any:
    try:
        return create()
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"The ImageNet weights of {name} could not be had: {error}",
            hint="Without network: --init FILE (a state dictionary of torchvision's), or random weights: --init none "
            "--set detector.backbone.norm=group --set detector.backbone.frozen_stages=0",
        ) from error
