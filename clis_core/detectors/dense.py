"""RetinaNet and FCOS: images in, detections out, without proposals.

The two differ in what a box is coded from: anchors and offsets, or points and distances; a point is a square anchor of
one stride. All else is the same.

N images, A anchors of an image over all levels, A_l of one level, C classes, K candidates. Boxes are xyxy in pixels, of
the resized image unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from clis_core.batch import Detection, ImageBatch
from clis_core.config.detector import DenseConfig, RetinaNetConfig
from clis_core.detectors.boxcoding import (
    RPN_WEIGHTS,
    clip,
    decode,
    decode_distances,
    encode,
    encode_distances,
)
from clis_core.detectors.dense_head import DenseHead, LevelOutput
from clis_core.detectors.encoder import Encoder
from clis_core.detectors.postprocess import select_among
from clis_core.detectors.preprocess import Preprocess, unscaled
from clis_core.losses.build import build_dense_loss


class DenseOutput(NamedTuple):
    """What the network says of every anchor.

    Attributes:
        anchors: ``[A, 4]``, level after level, the same for every image of a batch.
        levels: of each.
    """

    anchors: Tensor
    levels: list[LevelOutput]

    @property
    def counts(self) -> list[int]:
        """Anchors of each level, A = their sum."""
        return [level.logits.shape[1] for level in self.levels]


class Candidates(NamedTuple):
    """The best pairs of an anchor and a class of one image: of each level so many.

    Attributes:
        scores: ``[K]``.
        anchors: int64 ``[K]``, which.
        labels: int64 ``[K]``, 1..C.
    """

    scores: Tensor
    anchors: Tensor
    labels: Tensor


class DenseScored(NamedTuple):
    """The candidates of N images, before anything is left out.

    Attributes:
        output: of the network.
        candidates: of each image.
    """

    output: DenseOutput
    candidates: list[Candidates]

    @property
    def scores(self) -> Tensor:
        """Of the candidates of all images."""
        return torch.cat([c.scores for c in self.candidates])


class DenseDetector(nn.Module):
    """RetinaNet (Lin et al. 2017) or FCOS (Tian et al. 2019), with a quality output where the config asks for one.

    Args:
        config: its parts.
        num_classes: C, without background.
    """

    def __init__(self, config: DenseConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        used = config.pyramid.strides
        self.strides = (*used, 2 * used[-1], 4 * used[-1])
        self.encoder = Encoder(config.backbone, config.pyramid)
        self.preprocess = Preprocess(32, self.encoder.backbone.mean, self.encoder.backbone.std)
        self.points = not isinstance(config, RetinaNetConfig)
        self.anchors = _anchors(config, self.strides)
        self.head = DenseHead(
            config.head,
            config.pyramid.channels,
            self.anchors.num_anchors_per_location()[0],
            build_dense_loss(config.class_loss, num_classes),
            positive=self.points,
        )

    def forward(self, images: list[Tensor]) -> list[Detection]:
        """Detect.

        Args:
            images: uint8 ``[3, h, w]`` each, RGB, of any size.

        Returns:
            One `Detection` for each image, boxes in pixels of the image as it was handed in.
        """
        batch = self.preprocess.fitted(images, self.config.short_side, self.config.long_side)
        return unscaled(self.detect(batch), images, batch.sizes)

    def output(self, pixels: Tensor, features: list[Tensor]) -> DenseOutput:
        """What the head says of a batch ``[N, 3, H, W]`` with its pyramid levels ``[N, C, H_l, W_l]``."""
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        # The generator takes the precision of the maps, and bfloat16 would round anchors to 8 pixels.
        maps = [f[:1, :1].float() for f in features]
        return DenseOutput(self.anchors(ImageList(pixels[:1], [size]), maps)[0], self.head(features))

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """The codes ``[R, 4]`` of boxes ``[R, 4]`` at anchors ``[R, 4]``."""
        return encode_distances(boxes, anchors) if self.points else encode(boxes, anchors, RPN_WEIGHTS)

    def decode(self, codes: Tensor, anchors: Tensor) -> Tensor:
        """The boxes ``[R, 4]`` of codes ``[R, 4]`` at anchors ``[R, 4]``."""
        return decode_distances(codes, anchors) if self.points else decode(codes, anchors, RPN_WEIGHTS)

    def score(self, batch: ImageBatch) -> DenseScored:
        """The best pairs of anchor and class of each level of a batch."""
        output = self.output(batch.pixels, self.encoder(batch.pixels))
        return DenseScored(output, self.candidates(output))

    def candidates(self, output: DenseOutput) -> list[Candidates]:
        """Of each image, its best ``level_candidates`` pairs of each level."""
        scores, anchors, labels, first = [], [], [], 0
        for level in output.levels:
            top, index, kind = self._best(level)
            scores.append(top)
            anchors.append(index + first)
            labels.append(kind)
            first += level.logits.shape[1]
        columns = (torch.cat(parts, dim=1).unbind() for parts in (scores, anchors, labels))
        return [Candidates(*of_image) for of_image in zip(*columns, strict=True)]

    def _best(self, level: LevelOutput) -> tuple[Tensor, Tensor, Tensor]:
        """Score, anchor and label of the best pairs of a level, ``[N, K_l]`` each.

        The best K pairs are of the K anchors whose best classes score highest, so that only these have all their
        classes scored.
        """
        count = self.config.postprocess.level_candidates
        rows = self.best_scores(level).topk(min(count, level.logits.shape[1])).indices  # [N, R]
        classes = level.logits.shape[2]
        logits = level.logits.gather(1, rows[:, :, None].expand(-1, -1, classes))  # [N, R, C]
        quality = None if level.quality is None else level.quality.gather(1, rows)
        flat = self.head.scores(logits, quality).flatten(1)
        top, pairs = flat.topk(min(count, flat.shape[1]))
        row = torch.div(pairs, classes, rounding_mode="floor")
        return top, rows.gather(1, row), pairs - row * classes + 1

    def best_scores(self, level: LevelOutput) -> Tensor:
        """The score of the best class of each anchor of a level, ``[N, A_l]``; scores rise with their logits."""
        return self.head.scores(level.logits.amax(dim=2, keepdim=True), level.quality)[:, :, 0]

    def boxes_of(self, output: DenseOutput, image: int, size: tuple[int, int]) -> Callable[[Tensor, Tensor], Tensor]:
        """A function from anchors and labels of an image, int64 ``[K]`` each, to its boxes ``[K, 4]``."""
        codes = torch.cat([level.codes[image] for level in output.levels])

        def boxes_of(anchors: Tensor, labels: Tensor) -> Tensor:
            return clip(self.decode(codes[anchors].float(), output.anchors[anchors]), size)

        return boxes_of

    def detect(self, batch: ImageBatch) -> list[Detection]:
        """Detections in the frame of the resized images."""
        return self.select(self.score(batch), batch.sizes)

    def select(self, scored: DenseScored, sizes: list[tuple[int, int]]) -> list[Detection]:
        """The detections among the candidates of images of ``sizes``, in the frame of the resized images."""
        post = self.config.postprocess
        return [
            select_among(
                *candidates,
                self.boxes_of(scored.output, image, size),
                score_threshold=post.score_threshold,
                nms_iou=post.nms_iou,
                detections=post.detections,
            )
            for image, (candidates, size) in enumerate(zip(scored.candidates, sizes, strict=True))
        ]


def _anchors(config: DenseConfig, strides: tuple[int, ...]) -> AnchorGenerator:
    if isinstance(config, RetinaNetConfig):
        sizes = tuple(tuple(int(scale * stride) for scale in config.anchors.scales) for stride in strides)
        return AnchorGenerator(sizes, (config.anchors.ratios,) * len(strides))
    return AnchorGenerator(tuple((stride,) for stride in strides), ((1.0,),) * len(strides))
