"""Unbiased Teacher: learning from boxes, and from whole pictures by what a slow copy of the detector finds in them.

N detection images, P pictures. Boxes are xyxy in pixels of the resized image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clis_core.batch import Batch, ImageBatch, Losses, RawImage, Target
from clis_core.config.image_methods import UnbiasedTeacherConfig
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.methods.assign import seed_within
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.momentum import MomentumCopy
from clis_core.methods.strong_augment import strong_augment
from clis_core.methods.whole_pictures import whole_pictures

AGAIN, STRONG = 1 << 20, 1 << 21
"""Streams of random numbers of an image: of its strong copy, and of what makes it strong."""
TAUGHT = ("rpn_objectness", "class", "objectness")
"""Losses of pictures; pseudo boxes are not exact enough to teach boxes."""


class UnbiasedTeacher(nn.Module):
    """L = L_sup + lambda_u L_unsup (Liu et al., ICLR 2021, arXiv 2102.09480).

    The teacher looks at pictures as they are; the detector learns its confident findings from the same pictures
    strongly augmented. Until ``burn_in`` there are boxes alone; then the teacher is the detector's copy and follows it.
    It is in the checkpoint.

    Args:
        detector: what is taught; at inference it is used alone, or its average of ``train.ema``.
        config: teacher, threshold and weight.
    """

    steps: Tensor

    def __init__(self, detector: FasterRCNN, config: UnbiasedTeacherConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.teacher = MomentumCopy(detector, config.momentum)
        network: FasterRCNN = self.teacher.network  # type: ignore[assignment]
        threshold = max(config.threshold, detector.config.postprocess.score_threshold)
        post = detector.config.postprocess.model_copy(update={"score_threshold": threshold})
        network.config = detector.config.model_copy(update={"postprocess": post})
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector, config = self.detector, self.config
        scenes, targets = batch.images, batch.targets
        if config.strong_scenes:
            again = [target._replace(seed=seed_within(target.seed, AGAIN)) for target in targets]
            strong = [_strong(image, target.seed) for image, target in zip(scenes, again, strict=True)]
            scenes, targets = scenes + strong, targets + again
        images = detector.preprocess(scenes)
        features = detector.encoder(images.pixels)
        losses = detection_losses(detector, images, features, targets, config.rpn, config.roi)
        pseudo: Losses = {}
        raw, labels, seeds = whole_pictures(batch, images.pixels.device)
        if raw and int(self.steps) >= config.burn_in:
            pictures = detector.preprocess([_strong(image, seed) for image, seed in zip(raw, seeds, strict=True)])
            found = [t._replace(seed=seed) for t, seed in zip(self.findings(raw, labels), seeds, strict=True)]
            maps = detector.encoder(pictures.pixels)
            pseudo = detection_losses(detector, pictures, maps, found, config.rpn, config.roi, count=False)
        nothing = features[0][:0].sum()
        taught = [name for name in TAUGHT if name in losses]
        return losses | {f"pseudo_{name}": config.weight * pseudo.get(name, nothing) for name in taught}

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the teacher follow; at the end of the burn-in it becomes the detector."""
        self.steps += 1
        if int(self.steps) > self.config.burn_in:
            self.teacher.follow(self.detector)
        elif int(self.steps) == self.config.burn_in:
            self.teacher.network.load_state_dict(self.detector.state_dict())

    @torch.no_grad()
    def findings(self, pictures: list[RawImage], labels: Tensor) -> list[Target]:
        """What the teacher is sure of in each picture, as if it were its ground truth.

        Args:
            pictures: P, as they are.
            labels: int64 ``[P]``, their own.
        """
        network: FasterRCNN = self.teacher.network  # type: ignore[assignment]
        batch: ImageBatch = network.preprocess(pictures)
        targets = []
        for found, label, (height, width) in zip(network.detect(batch), labels, batch.sizes, strict=True):
            # A box thinner than a pixel is no goal: logarithms of its sides are taken.
            keep = ((found.boxes[:, 2:] - found.boxes[:, :2]) >= 1).all(dim=1)
            if self.config.use_label:
                keep &= found.labels == label
            ignored = None
            if self.config.use_label and not bool(keep.any()):
                ignored = found.boxes.new_tensor([[0, 0, width, height]])  # nothing in it is background
            targets.append(Target(found.boxes[keep], found.labels[keep], ignored))
        return targets


def _strong(image: RawImage, seed: int | None) -> RawImage:
    seed = seed_within(seed, STRONG)
    draw = None if seed is None else torch.Generator().manual_seed(seed)
    return image._replace(pixels=strong_augment(image.pixels, draw))
