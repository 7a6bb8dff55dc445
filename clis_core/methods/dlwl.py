"""DLWL-style learning: from boxes, and from whole pictures whose label is assigned to proposals in each step.

N detection images, P pictures, R proposals of a picture, C classes. Boxes are xyxy in pixels of the resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from clis_core.batch import Batch, ImageBatch, Losses, Target
from clis_core.config.image_methods import DlwlConfig
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.methods.detection_losses import detection_losses, region_losses
from clis_core.methods.whole_pictures import whole_pictures


class Dlwl(nn.Module):
    """The detection losses, and the class loss of pictures under an assignment of their label to proposals.

    After Ramanathan, Wang, Mahajan: DLWL: Improving Detection for Lowshot Classes with Weakly Labelled Data, CVPR 2020.
    **Reconstructed from its abstract**, which says that labels are assigned to proposals during training by a linear
    program with constraints on the number and the overlap of instances; `assign_label` is a greedy solution of ours.
    Proposals are taken as given; only the class loss is taught.

    Args:
        detector: what is taught; at inference it is used alone.
        config: the constraints and the weight.
    """

    def __init__(self, detector: FasterRCNN, config: DlwlConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector, config = self.detector, self.config
        images = detector.preprocess(batch.images)
        features = detector.encoder(images.pixels)
        losses = detection_losses(detector, images, features, batch.targets, config.rpn, config.roi)
        raw, labels, seeds = whole_pictures(batch, images.pixels.device)
        if raw:
            pictures = detector.preprocess(raw)
            maps = detector.encoder(pictures.pixels)
            with torch.no_grad():
                proposals = self._propose(pictures, maps)
                assigned = self._assign(maps, proposals, labels)
            targets = [target._replace(seed=seed) for target, seed in zip(assigned, seeds, strict=True)]
            found = region_losses(detector, maps, proposals, targets, config.roi, count=False)
            losses["image_class"] = config.weight * found["class"]
        else:
            losses["image_class"] = features[0][:0].sum()
        return losses

    def after_step(self) -> None:
        """Nothing to keep up beside the weights."""

    def _propose(self, pictures: ImageBatch, features: list[Tensor]) -> list[Tensor]:
        detector, rpn = self.detector, self.config.rpn
        output = detector.rpn(pictures.pixels, features)
        return detector.rpn.propose(output, pictures.sizes, rpn.before_nms, rpn.proposals, detector.config.rpn.nms_iou)

    def _assign(self, features: list[Tensor], proposals: list[Tensor], labels: Tensor) -> list[Target]:
        """The assigned proposals of each picture, as boxes of its label."""
        head, config = self.detector.head, self.config
        best = [p[: config.proposals] for p in proposals]
        pooled = self.detector.pool_regions(features, best)
        scores = head.class_loss.scores(head.fc_cls(head.cls_2fc(pooled)))  # [sum R, C]
        targets = []
        for boxes, some, label in zip(best, torch.split(scores, [len(b) for b in best]), labels, strict=True):
            own = some[:, label - 1]
            background = (1 - some.sum(dim=1)).clamp(min=0)
            chosen = boxes[assign_label(own - background, boxes, config.most, config.overlap)]
            targets.append(Target(chosen, label.expand(len(chosen))))
        return targets


@torch.no_grad()
def assign_label(gains: Tensor, boxes: Tensor, most: int, overlap: float) -> Tensor:
    """Which proposals of a picture get its label.

    Maximise the sum of x_r gain_r, x_r in {0, 1}, with 1 <= sum of x_r <= ``most``, and x_r + x_q <= 1 where r and q
    overlap by more than ``overlap``. Solved greedily: by falling gain, whatever the constraints allow, while there is
    something to be gained.

    Args:
        gains: ``[R]``, score of the label minus that of background.
        boxes: ``[R, 4]``.
        most: of them at most.
        overlap: IoU.

    Returns:
        int64 ``[K]``, 1 <= K <= ``most``, best first; none where there is no proposal.
    """
    order = gains.sort(descending=True, stable=True).indices
    if not len(order):
        return order
    apart = (box_iou(boxes, boxes) <= overlap).cpu()
    gained = gains.tolist()
    chosen: list[int] = []
    for r in order.tolist():
        if len(chosen) == most or (chosen and gained[r] <= 0):
            break
        if all(bool(apart[r, q]) for q in chosen):
            chosen.append(r)
    return torch.tensor(chosen, device=gains.device)
