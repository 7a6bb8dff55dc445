"""Self-training: learning from boxes, and from mosaics with a detector's boxes as if they were true.

N detection images, m mosaics.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clis_core.batch import Batch, Losses, RawImage, Target
from clis_core.config.image_methods import SelfTrainingConfig
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.losses.ranks import summed, world_size
from clis_core.methods.assign import seed_within
from clis_core.methods.detection_losses import detection_losses


class SelfTraining(nn.Module):
    """L = (L_h + alpha (mean L_h / mean L_p) L_p) / (1 + alpha).

    Zoph, Ghiasi, Lin, Cui, Liu, Cubuk, Le: Rethinking Pre-training and Self-training, NeurIPS 2020, arXiv 2006.06882.
    L_h are the losses of detection images and L_p those of pictures with pseudo boxes, both complete: proposals,
    classes and boxes. The means are running ones, those of all processes, and are in the checkpoint.

    Args:
        detector: what is taught; at inference it is used alone.
        config: alpha and the means.
    """

    means: Tensor
    steps: Tensor

    def __init__(self, detector: FasterRCNN, config: SelfTrainingConfig) -> None:
        super().__init__()
        self.detector = detector
        self.config = config
        self.register_buffer("means", torch.zeros(2))  # of L_h, of L_p
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))  # that had pictures

    def forward(self, batch: Batch) -> Losses:
        """The weighted losses of one batch; the same keys whatever the batch holds."""
        detector, config = self.detector, self.config
        images = detector.preprocess(batch.images)
        features = detector.encoder(images.pixels)
        human = detection_losses(detector, images, features, batch.targets, config.rpn, config.roi)
        pseudo = self._pseudo_losses(batch)
        if pseudo is None:
            pseudo, ratio = {name: features[0][:0].sum() for name in human}, torch.ones(())
        else:
            ratio = self._ratio(human, pseudo)
        whole = 1 + config.weight
        losses = {name: value / whole for name, value in human.items()}
        return losses | {f"pseudo_{name}": config.weight * ratio * value / whole for name, value in pseudo.items()}

    def after_step(self) -> None:
        """Nothing to keep up beside the weights."""

    def _pseudo_losses(self, batch: Batch) -> Losses | None:
        """The losses of mosaics, whose regions are boxes; None where there are none."""
        mosaics = [m for companions in batch.companions for m in companions.mosaics]
        if not mosaics:
            return None
        detector, config = self.detector, self.config
        images = detector.preprocess([RawImage(m.pixels, (m.pixels.shape[-2], m.pixels.shape[-1])) for m in mosaics])
        features = detector.encoder(images.pixels)
        targets = [
            Target(m.regions, m.labels, seed=seed_within(target.seed, number))
            for target, companions in zip(batch.targets, batch.companions, strict=True)
            for number, m in enumerate(companions.mosaics)
        ]
        return detection_losses(detector, images, features, targets, config.rpn, config.roi, count=False)

    @torch.no_grad()
    def _ratio(self, human: Losses, pseudo: Losses) -> Tensor:
        """mean L_h / mean L_p, with the batch at hand; 1 where it is not asked for."""
        sums = [torch.stack([v.detach().float() for v in losses.values()]).sum() for losses in (human, pseudo)]
        if not self.config.normalise:
            return torch.ones_like(sums[0])
        new = summed(torch.stack(sums)) / world_size()
        if not self.training:
            return new[0] / new[1]
        # A plain mean at first, so that the first batches do not stay in it for long.
        keep = min(self.config.momentum, int(self.steps) / (1 + int(self.steps)))
        self.means.lerp_(new, 1 - keep)
        self.steps += 1
        return self.means[0] / self.means[1].clamp(min=1e-6)
