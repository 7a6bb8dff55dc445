"""A detector in, the same detector as one graph of tensors of fixed shapes out: what can be exported.

The graph differs from the detector's own ``detect`` in one thing alone: it looks at the K best pairs of a region and a
class, and cannot look at more where these are not enough. It says of every image whether they were (``certain``).

N images, R regions of an image, C classes, K pairs, D detections, G lists of boxes that each get an NMS of their own.
Boxes are xyxy in pixels of the frame; the image lies at its top left.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from clis_core.batch import Detection
from clis_core.config.detector import PostprocessConfig
from clis_core.detectors.boxcoding import ROI_WEIGHTS, RPN_WEIGHTS, decode
from clis_core.detectors.build import Detector
from clis_core.detectors.convnorm import freeze
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.fixed_dense import FixedAnchors
from clis_core.detectors.fixed_steps import FixedPairs, clip, has_sides, level_anchors, rows, top
from clis_core.detectors.mask_head import MaskHead
from clis_core.detectors.postprocess import MIN_SIDE
from clis_core.detectors.roi_pool import RoiPool
from clis_core.detectors.rpn import MIN_SIDE as MIN_PROPOSAL_SIDE


class FixedDetections(NamedTuple):
    """What the graph gives, best first; rows beyond what was found are zero.

    Attributes:
        boxes: float32 ``[N, D, 4]``.
        labels: int64 ``[N, D]``, 1..C, 0 where there is nothing.
        scores: float32 ``[N, D]``.
        certain: bool ``[N]``, whether these are the detections that all pairs would have given.
        masks: float32 ``[N, D, S, S]``, 0..1, stretched over the boxes; None without a mask head.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    certain: Tensor
    masks: Tensor | None = None


Run = Callable[[Tensor, Tensor], FixedDetections]
"""Images and sizes to detections, as `FixedDetector.forward`; by whatever program."""


class Kernels(Protocol):
    """The three steps that a plain graph of tensors has no good way for. Boxes come best first."""

    def keep(self, boxes: Tensor, valid: Tensor, iou: float) -> Tensor:
        """Which of ``[G, K, 4]`` boxes survive NMS: bool ``[G, K]``; those that are not ``valid`` take no part."""

    def keep_by_class(self, boxes: Tensor, valid: Tensor, labels: Tensor, classes: int, iou: float) -> Tensor:
        """The same where only boxes of the same label (int64 ``[G, K]``, 1..``classes``) rule each other out."""

    def pool(self, pool: RoiPool, features: list[Tensor], boxes: Tensor) -> Tensor:
        """Region features ``[N * R, channels, P, P]`` of boxes ``[N, R, 4]``."""


class TorchKernels:
    """With torch and torchvision alone, for a number of images that is fixed as well."""

    def keep(self, boxes: Tensor, valid: Tensor, iou: float) -> Tensor:
        """One list after the other."""
        return torch.stack([_keep(b, v, iou) for b, v in zip(boxes.unbind(), valid.unbind(), strict=True)])

    def keep_by_class(self, boxes: Tensor, valid: Tensor, labels: Tensor, classes: int, iou: float) -> Tensor:
        """Classes are set apart by an offset, in float64, so that it costs the boxes no digit."""
        offset = labels.double() * (boxes.double().amax(dim=(1, 2)) + 1)[:, None]
        return self.keep(boxes.double() + offset[:, :, None], valid, iou)

    def pool(self, pool: RoiPool, features: list[Tensor], boxes: Tensor) -> Tensor:
        """As weighted sums, which have fixed shapes and run on every device."""
        image = torch.arange(boxes.shape[0], device=boxes.device).repeat_interleave(boxes.shape[1])
        return pool.bags(features, boxes.flatten(0, 1), image)


def _keep(boxes: Tensor, valid: Tensor, iou: float) -> Tensor:
    rank = torch.arange(len(boxes), 0, -1, device=boxes.device).to(boxes.dtype)
    # A box that takes no part comes last, and a point far from all overlaps with none.
    index = nms(torch.where(valid[:, None], boxes, -1e6), torch.where(valid, rank, 0), iou)
    return torch.zeros_like(valid).index_fill(0, index, value=True) & valid


class FixedRegions(nn.Module):
    """What `FasterRCNN.score` does, with fixed shapes throughout.

    Args:
        detector: in inference mode; its parts are used as they are.
        candidates: K; no more than R x C are used.
        kernels: how NMS and pooling are done.
        dtype: of the second stage.
    """

    def __init__(self, detector: FasterRCNN, candidates: int, kernels: Kernels, dtype: torch.dtype) -> None:
        super().__init__()
        self.config, self.num_classes = detector.config.rpn, detector.num_classes
        self.rpn, self.pool, self.head, self.mtl = detector.rpn, detector.pool, detector.head, detector.mtl
        self.candidates, self.kernels, self.dtype = candidates, kernels, dtype

    def layers(self) -> list[nn.Module]:
        """What runs in the precision of the network."""
        return [self.rpn.head, self.head, *([self.mtl] if self.mtl is not None else [])]

    def forward(self, features: list[Tensor], frame: torch.Size, limit: Tensor) -> FixedPairs:
        """The best pairs of images in a frame.

        Args:
            features: levels ``[N, channels, H_l, W_l]``.
            frame: height and width last.
            limit: ``[N, 1, 4]``, width, height, width, height of each image.
        """
        proposals, valid = self._propose(features, frame, limit)
        pooled = self._pool(features, proposals)
        embedded = self.head.embed(pooled)
        logits = self._refined(self.head.fc_cls(embedded.cls), features, proposals, valid, limit, pooled)
        count, regions, classes = *proposals.shape[:2], self.num_classes
        scores = self.head.scores(logits, embedded.loc).view(count, regions, classes)
        scores = torch.where(valid[:, :, None], scores, 0).flatten(1)
        best, pairs = scores.topk(min(self.candidates, regions * classes))  # [N, K]
        region = torch.div(pairs, classes, rounding_mode="floor")
        labels = pairs - region * classes + 1
        first = torch.arange(count, device=pairs.device)[:, None] * regions
        offsets = self.head.pair_offsets(embedded.loc, (region + first).flatten(), labels.flatten()).float()
        boxes = rows(proposals, region)
        boxes = clip(decode(offsets, boxes.flatten(0, 1), ROI_WEIGHTS).view_as(boxes), limit)
        return FixedPairs(best, labels, boxes, pairs.shape[1] == regions * classes)

    def _pool(self, features: list[Tensor], boxes: Tensor) -> Tensor:
        """Features ``[N * R, channels, P, P]`` of boxes ``[N, R, 4]``."""
        return self.kernels.pool(self.pool, [f.float() for f in features[:-1]], boxes).to(self.dtype)

    def _refined(
        self, logits: Tensor, features: list[Tensor], boxes: Tensor, valid: Tensor, limit: Tensor, pooled: Tensor
    ) -> Tensor:
        """`FasterRCNN.refined`, where there is refinement; logits are ``[N * R, K]``."""
        if self.mtl is None or self.mtl.fc_refine is None:
            return logits
        count, regions = boxes.shape[:2]
        said = []
        if self.mtl.window is not None:
            frame = torch.cat((torch.zeros_like(limit[..., :2]), limit[..., 2:]), dim=-1)
            around = self.mtl.surroundings(boxes, frame)
            far = self.mtl.window(self._pool(features, around)).view(count, around.shape[1], -1)
            own = self.mtl.window(pooled).view(count, regions, -1)
            said.append(self.mtl.windows_of(own, far).flatten(0, 1))
        if self.mtl.closeness is not None:
            near = self.mtl.closeness(pooled).float().view(count, regions, -1)
            total = torch.where(valid[:, :, None], near, 0).sum(dim=1, keepdim=True)
            mean = total / valid.sum(dim=1).clamp(min=1)[:, None, None]
            said.append(mean.expand_as(near).flatten(0, 1))
        return self.mtl.refined(logits, said)

    def _propose(self, features: list[Tensor], frame: torch.Size, limit: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals ``[N, R, 4]``, best first, and which of them there are, bool ``[N, R]``."""
        config = self.config
        logits, offsets = self.rpn.head(features)
        boxes, scores, valid = [], [], []
        for cells, x, o in zip(self.rpn.anchors.cell_anchors, logits, offsets, strict=True):
            anchors = level_anchors(cells, frame, x.shape[-2:])
            best, index = top(x.float().permute(0, 2, 3, 1).flatten(1), config.before_nms)
            chosen = rows(o.float().permute(0, 2, 3, 1).reshape(x.shape[0], -1, 4), index)
            box = clip(decode(chosen.flatten(0, 1), anchors[index.flatten()], RPN_WEIGHTS).view_as(chosen), limit)
            boxes.append(box)
            scores.append(best)
            valid.append(torch.isfinite(best) & has_sides(box, MIN_PROPOSAL_SIDE))
        stacked, fit = torch.stack(boxes, 1), torch.stack(valid, 1)  # [N, L, K_l, 4]
        keep = self.kernels.keep(stacked.flatten(0, 1), fit.flatten(0, 1), config.nms_iou).view_as(fit)
        score = torch.where(keep, torch.stack(scores, 1), -torch.inf).flatten(1)
        best, index = score.topk(min(config.proposals, score.shape[1]))
        return rows(stacked.flatten(1, 2), index), torch.isfinite(best)


class FixedDetector(nn.Module):
    """A detector on images of one frame, with fixed shapes throughout.

    Args:
        detector: in inference mode; is copied.
        candidates: K; no more than there are pairs are used.
        kernels: how NMS and pooling are done.
        nms: whether the last NMS, within each class, is done. Without it the K candidates are the answer, D = K.
        half: run the network's layers in float16; boxes, scores and what decides between them stay float32.
    """

    def __init__(
        self, detector: Detector, candidates: int, kernels: Kernels, *, nms: bool = True, half: bool = False
    ) -> None:
        super().__init__()
        detector = copy.deepcopy(detector).eval()
        freeze(detector.encoder)
        self.postprocess: PostprocessConfig = detector.config.postprocess
        self.num_classes = detector.num_classes
        self.dtype = torch.float16 if half else torch.float32
        self.preprocess, self.encoder, self.head = detector.preprocess, detector.encoder, detector.head
        self.pairs = (
            FixedRegions(detector, candidates, kernels, self.dtype)
            if isinstance(detector, FasterRCNN)
            else FixedAnchors(detector, candidates)
        )
        for part in (self.encoder, *self.pairs.layers()):
            part.to(self.dtype)
        self.mask_head = detector.mask_head if isinstance(detector, FasterRCNN) else None
        if self.mask_head is not None:
            self.mask_head.to(self.dtype)
        self.kernels = kernels
        self.nms = nms
        self.requires_grad_(requires_grad=False)

    def forward(self, images: Tensor, sizes: Tensor) -> FixedDetections:
        """Detect.

        Args:
            images: uint8 ``[N, 3, H, W]``, RGB; H and W are multiples of 32. Pixels outside of ``sizes`` do not count.
            sizes: int64 ``[N, 2]``, height and width of each image within the frame.
        """
        features = self.encoder(self._normalised(images, sizes))
        limit = sizes.flip(1).repeat(1, 2).to(torch.float32)[:, None]  # [N, 1, 4]: w, h, w, h
        found = self._select(self.pairs(features, images.shape[-2:], limit))
        if self.mask_head is None:
            return found
        return found._replace(masks=self._masks(self.mask_head, features, found))

    def _masks(self, head: MaskHead, features: list[Tensor], found: FixedDetections) -> Tensor:
        """``[N, D, S, S]``; rows beyond what was found are zero."""
        pooled = self.kernels.pool(head.pool, [f.float() for f in features[:-1]], found.boxes).to(self.dtype)
        labels = found.labels.clamp(min=1)  # a class for rows without one, whose masks are thrown away
        masks = head.logits(pooled, labels.flatten()).float().sigmoid()
        masks = masks.view(*found.labels.shape, head.side, head.side)
        return torch.where(found.labels[:, :, None, None] > 0, masks, 0)

    def _normalised(self, images: Tensor, sizes: Tensor) -> Tensor:
        """As `Preprocess` has it: zero outside of the image."""
        height, width = images.shape[-2:]
        inside_rows = torch.arange(height, device=images.device) < sizes[:, :1]  # [N, H]
        columns = torch.arange(width, device=images.device) < sizes[:, 1:]
        inside = inside_rows[:, None, :, None] & columns[:, None, None, :]
        pixels = (images.to(torch.float32) - self.preprocess.mean) * self.preprocess.scale
        pixels = torch.where(inside, pixels, 0).to(self.dtype)
        return pixels.contiguous(memory_format=torch.channels_last)  # the faster order on a CPU

    def _select(self, pairs: FixedPairs) -> FixedDetections:
        """`clis_core.detectors.postprocess.select` with one K for all."""
        post, best, boxes = self.postprocess, pairs.scores, pairs.boxes
        valid = (best > post.score_threshold) & has_sides(boxes, MIN_SIDE)
        bound, wanted = best[:, -1:], best.shape[1]
        if self.nms:
            valid = self.kernels.keep_by_class(boxes, valid, pairs.labels, self.num_classes, post.nms_iou)
            wanted = min(post.detections, wanted)
        best, index = torch.where(valid, best, 0).topk(wanted)
        there = best > 0
        # The rest is below the threshold, or below the last that was wanted.
        certain = (bound <= post.score_threshold) | (best[:, -1:] > bound)
        if pairs.every:
            certain = torch.isfinite(bound)  # all pairs were looked at
        return FixedDetections(
            torch.where(there[:, :, None], rows(boxes, index), 0),
            torch.where(there, pairs.labels.gather(1, index), 0),
            best,
            certain[:, 0],
        )


def candidates_needed(scores: Tensor, found: Detection, config: PostprocessConfig) -> int:
    """How many of the best pairs of one image decided about its detections: a K with which it is certain.

    Args:
        scores: of all of the image's pairs, in any shape.
        found: its exact detections.
        config: by which they were found.
    """
    if len(found.scores) == config.detections:
        return int((scores >= found.scores[-1]).sum()) + 1
    return int((scores > config.score_threshold).sum()) + 1
