"""Detic: learning from boxes, and from whole pictures by a loss on one or all of their proposals.

N detection images, P pictures, R proposals of all pictures, D = head width, C classes. Boxes are xyxy in pixels of the
resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.batch import Batch, ImageBatch, Losses
from clis_core.config.image_methods import DeticConfig
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.losses.ranks import rows_of, share
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.whole_pictures import whole_pictures

_EPS = 1e-6  # scores this close to 0 and 1 have no finite entropy


class Detic(nn.Module):
    """L = L_rpn + L_cls + L_reg on detection images + lambda L_image on pictures.

    Zhou, Girdhar, Joulin, Kraehenbuehl, Misra: Detecting Twenty-thousand Classes using Image-level Supervision, ECCV
    2022, arXiv 2201.02605, sec. 3.2. L_image teaches the classifier and the features; proposals are taken as given, so
    that it teaches neither the proposal network nor the boxes.

    Args:
        detector: what is taught; at inference it is used alone.
        config: rule and weight.
    """

    def __init__(self, detector: FasterRCNN, config: DeticConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        # The second stream of WSDDN (Bilen and Vedaldi 2016), which inference does not need.
        width, classes = detector.head.fc_cls.in_features, detector.num_classes
        self.detection_stream = nn.Linear(width, classes) if config.rule == "wsddn" else None
        if self.detection_stream is not None:
            nn.init.normal_(self.detection_stream.weight, std=0.01)
            nn.init.zeros_(self.detection_stream.bias)

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector, config = self.detector, self.config
        images = detector.preprocess(batch.images)
        features = detector.encoder(images.pixels)
        losses = detection_losses(detector, images, features, batch.targets, config.rpn, config.roi)
        losses["image_class"] = config.weight * self._image_loss(batch)
        return losses

    def after_step(self) -> None:
        """Nothing to keep up beside the weights."""

    def _image_loss(self, batch: Batch) -> Tensor:
        """L_image, mean over the pictures; they do not enter the class loss's statistics."""
        detector, head = self.detector, self.detector.head
        raw, labels, _ = whole_pictures(batch, head.fc_cls.weight.device)
        if raw:
            pictures = detector.preprocess(raw)
            features = detector.encoder(pictures.pixels)
            boxes = self._boxes(pictures, features, labels)
            embedded = head.cls_2fc(detector.pool_regions(features, boxes))  # [R, D]
            counts = [len(b) for b in boxes]
        else:
            embedded = head.cls_2fc(head.fc_cls.weight.new_zeros((0, head.cls_2fc.fc6.in_features)))
            counts = []
        if self.detection_stream is None:
            # One proposal of each picture: the detector's own class loss, as if its class were that of the label.
            return head.class_loss(head.fc_cls(embedded), labels, count=False)  # type: ignore[no-any-return]
        scores = head.class_loss.scores(head.fc_cls(embedded))  # [R, C]
        return wsddn_loss(scores, self.detection_stream(embedded).float(), counts, labels)

    @torch.no_grad()
    def _boxes(self, pictures: ImageBatch, features: list[Tensor], labels: Tensor) -> list[Tensor]:
        """What each picture's label is learnt from: one box of each, or all its proposals for WSDDN."""
        detector, config = self.detector, self.config
        frames = [labels.new_tensor([[0, 0, w, h]], dtype=torch.float32) for h, w in pictures.sizes]
        if config.rule == "image":
            return frames
        output = detector.rpn(pictures.pixels, features)
        nms_iou = detector.config.rpn.nms_iou
        # Best objectness first.
        found = detector.rpn.propose(output, pictures.sizes, config.rpn.before_nms, config.proposals, nms_iou)
        proposals = [p if len(p) else frame for p, frame in zip(found, frames, strict=True)]
        match config.rule:
            case "wsddn":
                return proposals
            case "max-objectness":
                return [p[:1] for p in proposals]
            case "max-size":
                return [p[(p[:, 2:] - p[:, :2]).prod(dim=1).argmax()][None] for p in proposals]
            case "max-score":
                head = detector.head
                embedded = head.cls_2fc(detector.pool_regions(features, proposals))
                scores = torch.split(head.class_loss.scores(head.fc_cls(embedded)), [len(p) for p in proposals])
                own = [s[:, label - 1] for s, label in zip(scores, labels.tolist(), strict=True)]
                return [p[s.argmax()][None] for p, s in zip(proposals, own, strict=True)]


def wsddn_loss(scores: Tensor, detection: Tensor, counts: list[int], labels: Tensor) -> Tensor:
    """Binary cross entropy of each picture's class scores, summed over the classes, mean over the pictures.

    S_c = sum over the proposals r of softmax_r(detection_rc) scores_rc (Bilen and Vedaldi 2016).

    Args:
        scores: ``[R, C]``, 0..1, of the proposals of P pictures, one picture after the other.
        detection: ``[R, C]``, the second stream.
        counts: proposals of each picture, 1 or more.
        labels: int64 ``[P]``, 1..C.
    """
    rows = share(rows_of(labels))
    if not counts:
        return (scores.sum() + detection.sum()) * 0.0
    parts = zip(torch.split(scores, counts), torch.split(detection, counts), strict=True)
    image = torch.stack([(s * d.softmax(dim=0)).sum(dim=0) for s, d in parts])  # [P, C]
    wanted = F.one_hot(labels - 1, image.shape[1]).to(image)
    with torch.autocast(image.device.type, enabled=False):
        return F.binary_cross_entropy(image.clamp(_EPS, 1 - _EPS), wanted, reduction="sum") / rows
