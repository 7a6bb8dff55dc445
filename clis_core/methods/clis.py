"""CLIS: learning from boxes and from pictures with a class label in one step.

N detection images, m = N s / 4 mosaics, P pasted instances, D = head width, E features of a key. Boxes are xyxy in
pixels of the resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from clis_core.batch import Batch, Companions, ImageBatch, Losses, Mosaic, RawImage
from clis_core.config.method import ClisConfig
from clis_core.detectors.classifier import build_classifier, init_classifier
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.preprocess import Preprocess
from clis_core.losses.contrast import contrastive_loss
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.few_regions import pool_few
from clis_core.methods.momentum import KeyQueue, MomentumCopy
from clis_core.methods.mtl_ssl import MtlTasks


class Clis(nn.Module):
    """L = L_rpn + L_incls + L_loc + L_obj + alpha L_imcls + beta L_con (CLIS, Li et al., arXiv 2210.05568, eq. 2).

    Args:
        detector: what is taught; at inference it is used alone.
        config: weights and the contrast's settings.
        pictures: number of pictures of the image-level data; bounds the queue.
    """

    steps: Tensor

    def __init__(self, detector: FasterRCNN, config: ClisConfig, pictures: int) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.mtl = MtlTasks(config.mtl, detector)
        head = detector.head
        width = head.fc_cls.in_features
        # The siamese branch is the detector's own module (sec. III-B2); only without it are there others.
        self.image_2fc = None if config.siamese else TwoMLPHead(head.cls_2fc.fc6.in_features, width)
        self.image_fc = None if config.siamese else build_classifier(detector.config.head, head.class_loss)
        if self.image_fc is not None:
            init_classifier(self.image_fc, head.class_loss)
        self.projector = _projector(width, config)
        self.image_projector = None if config.shared_projector else _projector(width, config)
        self.slow = MomentumCopy(nn.Sequential(head.cls_2fc, self.projector), config.momentum)
        size = min(config.queue_size, 1 << max(0, pictures.bit_length() - 1))
        self.queue = KeyQueue(size, config.projector)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector = self.detector
        images = detector.preprocess(batch.images)
        paste(images, batch.companions, detector.preprocess)
        features = detector.encoder(images.pixels)
        config = self.config
        losses = detection_losses(detector, images, features, batch.targets, config.rpn, config.roi, self.mtl)
        mosaics = [mosaic for companions in batch.companions for mosaic in companions.mosaics]
        pooled = self._pool_pictures(mosaics)  # [4 m, channels, P, P]
        embedded = self._embed_pictures(pooled)  # [4 m, D]
        losses["image_class"] = config.alpha * self._image_loss(embedded, mosaics)
        contrast = self._contrast(batch, features, pooled, embedded)
        losses["contrast"] = self._beta() * contrast if self._beta() else contrast * 0.0
        return losses

    @torch.no_grad()
    def after_step(self) -> None:
        """Put this step's keys into the queue, and let the slow copy follow, in time for the next step's keys."""
        for keys, labels in self._waiting:  # part by part, in the order of one process that has all images
            self.queue.push(keys, labels)
        self._waiting.clear()
        self.slow.follow(nn.Sequential(self.detector.head.cls_2fc, self.projector))
        self.steps += 1

    def _pool_pictures(self, mosaics: list[Mosaic]) -> Tensor:
        """RoI features of the regions of the mosaics: no proposals, no anchors, no boxes to learn (sec. III-B2)."""
        detector = self.detector
        if not mosaics:
            side, channels = detector.config.head.pool, detector.config.pyramid.channels
            return torch.zeros((0, channels, side, side), device=self.queue.keys.device)
        raw = [RawImage(m.pixels, (m.pixels.shape[-2], m.pixels.shape[-1])) for m in mosaics]
        return pool_few(detector, detector.preprocess(raw).pixels, [m.regions for m in mosaics])

    def _embed_pictures(self, pooled: Tensor) -> Tensor:
        branch = self.detector.head.cls_2fc if self.image_2fc is None else self.image_2fc
        return branch(pooled)  # type: ignore[no-any-return]

    def _image_loss(self, embedded: Tensor, mosaics: list[Mosaic]) -> Tensor:
        """L_imcls: the detector's own class loss, mean over the pictures; they do not enter its statistics."""
        head = self.detector.head
        classify = head.fc_cls if self.image_fc is None else self.image_fc
        labels = torch.cat([m.labels for m in mosaics]) if mosaics else embedded.new_zeros(0, dtype=torch.int64)
        return head.class_loss(classify(embedded), labels, count=False)  # type: ignore[no-any-return]

    def _contrast(self, batch: Batch, features: list[Tensor], pooled: Tensor, embedded: Tensor) -> Tensor:
        """L_con of the instances that were pasted; their keys wait for `after_step`."""
        config, detector = self.config, self.detector
        patches = [companions.patches for companions in batch.companions] or [[] for _ in batch.images]
        picked, first = [], 0  # index of each pasted instance among all pictures
        for companions in batch.companions:
            picked += [first + patch.source for patch in companions.patches]
            first += 4 * len(companions.mosaics)
        device = pooled.device
        index = torch.tensor(picked, dtype=torch.int64, device=device)
        labels = torch.tensor([p.label for of_image in patches for p in of_image], dtype=torch.int64, device=device)
        boxes = [
            torch.stack([p.box for p in of_image]) if of_image else torch.zeros((0, 4), device=device)
            for of_image in patches
        ]
        scene = detector.pool_regions(features, boxes)  # [P, channels, 7, 7]
        project = self.projector if self.image_projector is None else self.image_projector
        f_i = _unit(project(embedded[index]))  # [P, E]
        with torch.no_grad():
            keys = _unit(self.slow(torch.cat((pooled[index], scene)).detach()))  # [2 P, E]
        if config.positive == "live":
            f_d = _unit(self.projector(detector.head.cls_2fc(scene)))  # [P, E]
        else:
            f_d = keys[len(index) :] + 0.0 * self.projector(detector.head.cls_2fc(scene[:0])).sum()
        queue, queue_labels = self.queue.held()
        allowed = queue_labels[None] != labels[:, None] if config.mask_same_class else None
        loss = contrastive_loss(f_i, f_d, queue, config.tau, allowed)
        if self.training:
            both = torch.stack((keys[: len(index)], keys[len(index) :]), dim=1).flatten(0, 1)  # pair by pair, [2 P, E]
            self._waiting.append((both, labels.repeat_interleave(2)))
        return loss

    def _beta(self) -> float:
        """The weight of the contrast at this step."""
        config, step = self.config, int(self.steps)
        if step < config.beta_from:
            return 0.0
        ramp = (step - config.beta_from + 1) / config.beta_ramp if config.beta_ramp else 1.0
        return config.beta * min(1.0, ramp)


@torch.no_grad()
def paste(images: ImageBatch, companions: list[Companions], preprocess: Preprocess) -> None:
    """Blend the patches into a batch, in place: image = opacity x patch + (1 - opacity) x image.

    Normalising is affine, so that it makes no difference that both are normalised already.
    """
    for pixels, of_image in zip(images.pixels, companions, strict=False):
        for patch in of_image.patches:
            height, width = patch.pixels.shape[-2:]
            normal = (patch.pixels.to(pixels.dtype) - preprocess.mean) * preprocess.scale
            under = pixels[:, patch.top : patch.top + height, patch.left : patch.left + width]
            under.lerp_(normal, patch.opacity)


def _projector(width: int, config: ClisConfig) -> nn.Module:
    """The MLP of sec. III-B3, one fully connected layer by default (sec. IV-A2)."""
    if config.projector_layers == 1:
        return nn.Linear(width, config.projector)
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, config.projector))


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1, in float32."""
    return F.normalize(x.float(), dim=1)
