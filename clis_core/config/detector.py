"""What runs at inference: the parts of a detector."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from clis_core.config.class_loss import ClassLossConfig, DenseLossConfig, FocalLoss, SoftmaxLoss
from clis_core.config.frozen import Frozen, OrFile

TORCHVISION_BACKBONES = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "mobilenet_v2",
    "mobilenet_v3_large",
)
SLIM = "resnet10-slim"


class BackboneConfig(Frozen):
    """The image encoder."""

    name: str = "resnet50"
    """resnet18, resnet34, resnet50, resnet101, mobilenet_v2, mobilenet_v3_large, timm/NAME (extra 'timm'), or
    resnet10-slim, which has an eighth of ResNet-18's arithmetic, group norm, and no weights to start from."""
    init: Annotated[str, OrFile(("torchvision", "timm", "none"))] = "torchvision"
    """First weights: "torchvision" (ImageNet-1k, downloaded once), "timm", "none", a file of weights, or a
    run of ``clis pretrain``."""
    frozen_stages: int = Field(default=1, ge=0, le=5)
    """Stages that are not trained: 0 none, 1 stem and the first residual stage (the paper's framework), ..."""
    norm: Literal["frozen", "affine", "group"] = "affine"
    """Batch norm uses its stored statistics; "affine" trains its scale and shift, "frozen" does not. Networks
    without first weights have no statistics: "group" gives them group norm (Wu and He 2018)."""

    @field_validator("name")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (*TORCHVISION_BACKBONES, SLIM)
        if value not in known and not value.startswith("timm/"):
            raise ValueError(f"is not a backbone; known: {', '.join(known)}, timm/NAME")
        return value


class PyramidConfig(Frozen):
    """Feature pyramid network (Lin et al. 2017)."""

    channels: int = Field(default=256, ge=8, le=2048)
    """Channels of each level."""
    strides: tuple[int, ...] = (4, 8, 16, 32)
    """Strides of the backbone's feature maps that feed the pyramid; one more level (twice the last) is pooled."""

    @field_validator("strides")
    @classmethod
    def _doubling(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or any(b != 2 * a for a, b in pairwise(value)) or value[0] not in (4, 8, 16):
            raise ValueError("needs strides that start at 4, 8 or 16 and double, such as [4, 8, 16, 32]")
        if value[-1] > 32:
            raise ValueError("a backbone's last stride is 32")
        return value


class RpnConfig(Frozen):
    """Region proposal network (Ren et al. 2015)."""

    anchor_scale: float = Field(default=8.0, gt=0)
    """Side of a level's square anchor, in strides of the level."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors at each place."""
    convs: int = Field(default=1, ge=1, le=4)
    """3 x 3 convolutions before the two outputs."""
    before_nms: int = Field(default=1000, ge=1)
    """Best boxes of each level that enter NMS at inference."""
    proposals: int = Field(default=1000, ge=1)
    """Boxes that leave it."""
    nms_iou: float = Field(default=0.7, gt=0, le=1)
    """Overlap above which the lower-scored of two proposals of a level goes."""


class HeadConfig(Frozen):
    """The second stage: what happens to a region's features."""

    specialised: bool = False
    """Task-specialised sub-networks: separate 2fc for classification and localisation (CLIS, sec. III-B1)."""
    objectness: bool = False
    """One objectness logit on the localisation side; score = class probability x sigmoid(objectness)."""
    width: int = Field(default=1024, ge=8)
    """Width of both fully connected layers of a 2fc."""
    pool: int = Field(default=7, ge=1, le=28)
    """RoIAlign output is pool x pool cells."""
    level_size: float = Field(default=224.0, gt=0)
    """A region with sides of this many pixels is pooled from stride 16; twice that from stride 32, and so on."""
    sampling_ratio: int = Field(default=2, ge=1, le=8)
    """Samples along each side of a RoIAlign cell."""
    class_agnostic: bool = False
    """One box regression for all classes instead of one each."""
    classifier: Literal["linear", "cosine", "scaled"] = "linear"
    """The class layer; "cosine" is temperature x w x / (|w| |x|) + b, the normalised linear layer of Seesaw; "scaled"
    is f w x + b with a factor f for each class, the learnable weight scaling of ``train.learn`` = "scales"."""
    temperature: float = Field(default=20.0, gt=0)
    """T of the cosine class layer (Wang et al. 2021 have 20)."""


class MtlConfig(Frozen):
    """Heads of MTL-SSL (Lee, Na and Kim, CVPR 2019), each with a 2fc of its own; ``method.mtl`` teaches them."""

    window: bool = False
    """Window classification: how much of a window is of which class."""
    closeness: bool = False
    """How close to a region objects of other classes are."""
    refine: bool = False
    """Class logits are refined by what these heads say of a region and its surroundings."""
    windows: int = Field(default=5, ge=2, le=9)
    """Windows that refinement sees of each region, evenly from its box to the whole image."""
    width: int = Field(default=1024, ge=8)
    """Width of both fully connected layers of a 2fc."""

    @model_validator(mode="after")
    def _something_to_refine_by(self) -> MtlConfig:
        if self.refine and not (self.window or self.closeness):
            raise ValueError("refine needs a head to refine by: set window or closeness to true")
        return self

    @property
    def any(self) -> bool:
        """Whether there is a head at all."""
        return self.window or self.closeness


class MaskConfig(Frozen):
    """The mask head of Mask R-CNN (He et al. 2017): a mask of 2 pool x 2 pool cells for each detection."""

    enabled: bool = False
    """Whether there is one; the annotations then need a ``segmentation``."""
    convs: int = Field(default=4, ge=1, le=8)
    """3 x 3 convolutions before the upsampling."""
    channels: int = Field(default=256, ge=8, le=2048)
    """Channels of each."""
    pool: int = Field(default=14, ge=1, le=56)
    """RoIAlign output is pool x pool cells."""
    class_agnostic: bool = False
    """One mask for all classes instead of one each."""


class PostprocessConfig(Frozen):
    """From scored boxes to detections."""

    score_threshold: float = Field(default=1e-4, ge=0, lt=1)
    """Boxes of a class with no more than this score are dropped."""
    nms_iou: float = Field(default=0.5, gt=0, le=1)
    """Overlap above which the lower-scored of two boxes of a class goes."""
    detections: int = Field(default=300, ge=1)
    """Detections an image has at most."""


class FasterRCNNConfig(Frozen):
    """Faster R-CNN with a feature pyramid."""

    kind: Literal["faster-rcnn"] = "faster-rcnn"
    backbone: BackboneConfig = BackboneConfig()
    pyramid: PyramidConfig = PyramidConfig()
    rpn: RpnConfig = RpnConfig()
    head: HeadConfig = HeadConfig()
    mtl: MtlConfig = MtlConfig()
    mask: MaskConfig = MaskConfig()
    class_loss: ClassLossConfig = SoftmaxLoss()
    postprocess: PostprocessConfig = PostprocessConfig()
    short_side: int = Field(default=800, ge=32, le=8192)
    """Inference resizes the short side to this (pixels) ..."""
    long_side: int = Field(default=1333, ge=32, le=8192)
    """... but the long side to no more than this (pixels)."""


class DensePyramidConfig(Frozen):
    """Feature pyramid of a one-stage detector: P3 to P5, and two more levels (Lin et al. 2017, focal loss, sec. 4)."""

    channels: int = Field(default=256, ge=8, le=2048)
    """Channels of each level."""
    strides: tuple[int, ...] = (8, 16, 32)
    """Strides of the backbone's feature maps that feed the pyramid; two more levels are convolved from the last."""
    extra: Literal["p5", "c5"] = "p5"
    """What the first of the two is made of: the pyramid's last level, or the backbone's last map."""

    @field_validator("strides")
    @classmethod
    def _doubling(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return PyramidConfig(strides=value).strides


class AnchorConfig(Frozen):
    """The anchors of RetinaNet at each place of a level."""

    scales: tuple[float, ...] = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))
    """Sides of the square anchors, in strides of the level; in whole pixels, rounded down."""
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors of each scale, which all have the same area."""

    @field_validator("scales", "ratios")
    @classmethod
    def _some(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or min(value) <= 0:
            raise ValueError("needs numbers above 0, such as [0.5, 1.0, 2.0]")
        return value


class DenseHeadConfig(Frozen):
    """Two towers of convolutions on every level: one for classes, one for boxes and their quality."""

    convs: int = Field(default=4, ge=1, le=8)
    """3 x 3 convolutions of each tower."""
    norm: Literal["none", "group"] = "none"
    """Group norm after each of them, or none."""
    quality: Literal["none", "iou", "centerness"] = "none"
    """One more output beside the box: the overlap of the decoded box with its object, or how central the place is."""
    combine: Literal["product", "sqrt"] = "product"
    """Score = class probability x quality, or its square root; what is above ``score_threshold`` hangs on it."""


class PointHeadConfig(DenseHeadConfig):
    """Two towers of convolutions on every level: one for classes, one for boxes and their quality."""

    norm: Literal["none", "group"] = "group"
    """Group norm after each of them, or none."""
    quality: Literal["none", "iou", "centerness"] = "centerness"
    """One more output beside the box: the overlap of the decoded box with its object, or how central the place is."""
    combine: Literal["product", "sqrt"] = "sqrt"
    """Score = class probability x quality, or its square root; what is above ``score_threshold`` hangs on it."""


class DensePostprocessConfig(PostprocessConfig):
    """From scored anchors to detections."""

    level_candidates: int = Field(default=1000, ge=1)
    """Best pairs of an anchor and a class of each level that enter NMS."""


class RetinaNetConfig(Frozen):
    """RetinaNet (Lin et al. 2017, arXiv 1708.02002)."""

    kind: Literal["retinanet"] = "retinanet"
    backbone: BackboneConfig = BackboneConfig()
    pyramid: DensePyramidConfig = DensePyramidConfig()
    anchors: AnchorConfig = AnchorConfig()
    head: DenseHeadConfig = DenseHeadConfig()
    class_loss: DenseLossConfig = FocalLoss()
    postprocess: DensePostprocessConfig = DensePostprocessConfig()
    short_side: int = Field(default=800, ge=32, le=8192)
    """Inference resizes the short side to this (pixels) ..."""
    long_side: int = Field(default=1333, ge=32, le=8192)
    """... but the long side to no more than this (pixels)."""


class FCOSConfig(Frozen):
    """FCOS: boxes as distances from a point to their four sides (Tian et al. 2019, arXiv 1904.01355)."""

    kind: Literal["fcos"] = "fcos"
    backbone: BackboneConfig = BackboneConfig()
    pyramid: DensePyramidConfig = DensePyramidConfig()
    head: PointHeadConfig = PointHeadConfig()
    class_loss: DenseLossConfig = FocalLoss()
    postprocess: DensePostprocessConfig = DensePostprocessConfig()
    short_side: int = Field(default=800, ge=32, le=8192)
    """Inference resizes the short side to this (pixels) ..."""
    long_side: int = Field(default=1333, ge=32, le=8192)
    """... but the long side to no more than this (pixels)."""


DenseConfig = RetinaNetConfig | FCOSConfig
DetectorConfig = Annotated[FasterRCNNConfig | RetinaNetConfig | FCOSConfig, Field(discriminator="kind")]


def finds_masks(config: DetectorConfig) -> bool:
    """Whether a detector gives a mask for each detection."""
    return isinstance(config, FasterRCNNConfig) and config.mask.enabled
