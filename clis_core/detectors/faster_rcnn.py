"""Faster R-CNN with a feature pyramid: images in, detections out.

N images, R regions of the batch. Boxes are xyxy in pixels, of the resized image unless said otherwise.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from clis_core.batch import Detection, ImageBatch
from clis_core.config.detector import FasterRCNNConfig
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.encoder import Encoder
from clis_core.detectors.mask_head import MaskHead
from clis_core.detectors.mtl import MtlHeads
from clis_core.detectors.postprocess import select
from clis_core.detectors.preprocess import Preprocess, unscaled
from clis_core.detectors.roi_heads import Embedded, RegionHead
from clis_core.detectors.roi_pool import RoiPool
from clis_core.detectors.rpn import ProposalNetwork
from clis_core.losses.build import build_class_loss
from clis_core.losses.counts import ClassCounts


class Scored(NamedTuple):
    """Every region of N images with its scores, before anything is left out.

    Attributes:
        features: levels of the pyramid.
        proposals: N tensors ``[R_i, 4]``, pixels of the resized image.
        embedded: of the R regions of all images, one image after the other.
        scores: ``[R, C]``.
    """

    features: list[Tensor]
    proposals: list[Tensor]
    embedded: Embedded
    scores: Tensor


class FasterRCNN(nn.Module):
    """Faster R-CNN (Ren et al. 2015), with CLIS's task-specialised sub-networks where the config asks for them.

    With a mask head it is Mask R-CNN (He et al. 2017).

    Args:
        config: its parts.
        num_classes: C, without background.
        counts: of the training data, see `build_class_loss`.
    """

    def __init__(self, config: FasterRCNNConfig, num_classes: int, counts: ClassCounts | None = None) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        pooled = config.pyramid.strides
        self.strides = (*pooled, 2 * pooled[-1])
        self.encoder = Encoder(config.backbone, config.pyramid)
        self.preprocess = Preprocess(32, self.encoder.backbone.mean, self.encoder.backbone.std)
        self.rpn = ProposalNetwork(config.rpn, config.pyramid.channels, self.strides)
        self.pool = RoiPool(pooled, config.head.pool, config.head.sampling_ratio, config.head.level_size)
        class_loss = build_class_loss(config.class_loss, num_classes, counts)
        self.head = RegionHead(config.head, config.pyramid.channels, num_classes, class_loss)
        inputs = config.pyramid.channels * config.head.pool**2
        self.mtl = MtlHeads(config.mtl, inputs, num_classes, class_loss.num_logits) if config.mtl.any else None
        # Last, so that without it all first weights are drawn as ever.
        self.mask_head = (
            MaskHead(config.mask, config.pyramid.channels, num_classes, self.pool) if config.mask.enabled else None
        )

    def pool_regions(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """RoI features ``[R, C, P, P]`` of N tensors of boxes, from the levels of `encoder`."""
        return self.pool(features[:-1], boxes)  # type: ignore[no-any-return]

    def forward(self, images: list[Tensor]) -> list[Detection]:
        """Detect.

        Args:
            images: uint8 ``[3, h, w]`` each, RGB, of any size.

        Returns:
            One `Detection` for each image, boxes in pixels of the image as it was handed in.
        """
        batch = self.preprocess.fitted(images, self.config.short_side, self.config.long_side)
        return unscaled(self.detect(batch), images, batch.sizes)

    def score(self, batch: ImageBatch) -> Scored:
        """Proposals of a batch and the scores of every class there."""
        features = self.encoder(batch.pixels)
        rpn = self.config.rpn
        proposals = self.rpn.propose(
            self.rpn(batch.pixels, features), batch.sizes, rpn.before_nms, rpn.proposals, rpn.nms_iou
        )
        pooled = self.pool_regions(features, proposals)
        embedded = self.head.embed(pooled)
        logits = self.class_logits(embedded.cls, features, proposals, batch.sizes, pooled)
        return Scored(features, proposals, embedded, self.head.scores(logits, embedded.loc))

    def class_logits(
        self,
        cls: Tensor,
        features: list[Tensor],
        regions: list[Tensor],
        sizes: list[tuple[int, int]],
        pooled: Tensor,
    ) -> Tensor:
        """Class logits ``[R, K]`` as inference has them: refined where the config says so.

        Args:
            cls: of the 2fc of classification, ``[R, D]``.
            features: levels of `encoder`.
            regions: N tensors ``[R_i, 4]``, all of an image's regions.
            sizes: (height, width) of each image.
            pooled: their features.
        """
        logits = self.head.fc_cls(cls)
        if self.mtl is None or self.mtl.fc_refine is None:
            return logits  # type: ignore[no-any-return]
        closeness = None if self.mtl.closeness is None else self.mtl.closeness(pooled)
        return self.refined(logits, features, regions, sizes, pooled, closeness)

    def refined(
        self,
        logits: Tensor,
        features: list[Tensor],
        regions: list[Tensor],
        sizes: list[tuple[int, int]],
        pooled: Tensor,
        closeness: Tensor | None,
    ) -> Tensor:
        """Class logits ``[R, K]`` refined by the surroundings of regions; see `class_logits`.

        Args:
            logits: of the class layer.
            features: as there.
            regions: as there.
            sizes: as there.
            pooled: as there.
            closeness: logits of the regions ``[R, C]``, where there is such a head.
        """
        assert self.mtl is not None, "the config has no heads"
        said = []
        with torch.no_grad():
            if self.mtl.window is not None:
                said.append(self._windows_of(self.mtl, features, regions, sizes, pooled))
            if closeness is not None:
                counts = [len(boxes) for boxes in regions]
                means = [part.mean(dim=0, keepdim=True).expand_as(part) for part in torch.split(closeness, counts)]
                said.append(torch.cat(means))
        return self.mtl.refined(logits, said)

    def _windows_of(
        self, mtl: MtlHeads, features: list[Tensor], regions: list[Tensor], sizes: list[tuple[int, int]], pooled: Tensor
    ) -> Tensor:
        assert mtl.window is not None, "asked for where there is one"
        around = [mtl.surroundings(b, b.new_tensor([[0, 0, w, h]])) for b, (h, w) in zip(regions, sizes, strict=True)]
        own = torch.split(mtl.window(pooled), [len(boxes) for boxes in regions])
        far = torch.split(mtl.window(self.pool_regions(features, around)), [len(windows) for windows in around])
        return torch.cat([mtl.windows_of(*parts) for parts in zip(own, far, strict=True)])

    def detect(self, batch: ImageBatch) -> list[Detection]:
        """Detections in the frame of the resized images."""
        return self.select(self.score(batch), batch.sizes)

    def select(self, scored: Scored, sizes: list[tuple[int, int]]) -> list[Detection]:
        """The detections among scored regions of images of ``sizes``, in the frame of the resized images."""
        counts = [len(p) for p in scored.proposals]
        post = self.config.postprocess
        detections = []
        for size, boxes, image_scores, loc in zip(
            sizes,
            scored.proposals,
            torch.split(scored.scores, counts),
            torch.split(scored.embedded.loc, counts),
            strict=True,
        ):

            def boxes_of(
                regions: Tensor,
                labels: Tensor,
                size: tuple[int, int] = size,
                boxes: Tensor = boxes,
                loc: Tensor = loc,
            ) -> Tensor:
                offsets = self.head.pair_offsets(loc, regions, labels).float()
                return clip(decode(offsets, boxes[regions], ROI_WEIGHTS), size)

            detections.append(
                select(
                    image_scores,
                    boxes_of,
                    score_threshold=post.score_threshold,
                    nms_iou=post.nms_iou,
                    detections=post.detections,
                )
            )
        return self.with_masks(scored.features, detections)

    def with_masks(self, features: list[Tensor], found: list[Detection]) -> list[Detection]:
        """The detections of N images, in the frame of the resized images, with their masks if there is a mask head."""
        if self.mask_head is None:
            return found
        masks = self.mask_head.masks(features[:-1], [f.boxes for f in found], [f.labels for f in found])
        return [f._replace(masks=m) for f, m in zip(found, masks, strict=True)]
