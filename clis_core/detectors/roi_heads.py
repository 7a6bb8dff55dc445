"""The second stage: pooled region features in, class logits, box offsets and objectness out.

R regions, C classes, D = head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from clis_core.config.detector import HeadConfig
from clis_core.detectors.classifier import Classifier, build_classifier, init_classifier
from clis_core.losses.build import ClassLoss

# From this many pairs a region on, the whole regression takes less time and memory than rows of it.
FULL_FROM = 4


class Embedded(NamedTuple):
    """A region as the sub-networks see it; both are the same tensor where the 2fc is shared.

    Attributes:
        cls: ``[R, D]``, output of the 2fc of (instance) classification.
        loc: ``[R, D]``, output of the 2fc of localisation.
    """

    cls: Tensor
    loc: Tensor


class RegionHead(nn.Module):
    """The sub-networks of CLIS, sec. III-B1, or the ordinary shared 2fc.

    Args:
        config: which parts there are.
        channels: channels of the pooled features.
        num_classes: C.
        class_loss: gives the number of class logits and their activation.
    """

    def __init__(self, config: HeadConfig, channels: int, num_classes: int, class_loss: ClassLoss) -> None:
        super().__init__()
        self.class_agnostic = config.class_agnostic
        self.class_loss = class_loss
        inputs = channels * config.pool**2
        self.cls_2fc = TwoMLPHead(inputs, config.width)
        self.loc_2fc = TwoMLPHead(inputs, config.width) if config.specialised else None
        self.fc_cls: Classifier = build_classifier(config, class_loss)
        self.fc_reg = nn.Linear(config.width, 4 * (1 if config.class_agnostic else num_classes))
        self.fc_obj = nn.Linear(config.width, 1) if config.objectness else None
        # mmdetection's first weights; nn.Linear's own shrink what passes by 6 a layer and learn slowly.
        for stack in (self.cls_2fc, self.loc_2fc):
            for layer in (stack.fc6, stack.fc7) if stack is not None else ():
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        init_classifier(self.fc_cls, class_loss)
        nn.init.normal_(self.fc_reg.weight, std=0.001)
        nn.init.zeros_(self.fc_reg.bias)
        if self.fc_obj is not None:
            nn.init.normal_(self.fc_obj.weight, std=0.01)
            nn.init.zeros_(self.fc_obj.bias)

    def embed(self, pooled: Tensor) -> Embedded:
        """Pooled features ``[R, channels, P, P]`` through the 2fc of each side."""
        cls = self.cls_2fc(pooled)  # [R, D]
        return Embedded(cls, cls if self.loc_2fc is None else self.loc_2fc(pooled))

    def offsets(self, loc: Tensor, labels: Tensor) -> Tensor:
        """Box offsets ``[R, 4]`` of regions ``loc`` ``[R, D]`` for one class each, ``labels`` int64 ``[R]``, 1..C.

        Only the rows of the regression that are asked for are computed: of R x C offsets all but R would be thrown
        away.
        """
        if self.class_agnostic:
            return self.fc_reg(loc)  # type: ignore[no-any-return]
        weight = self.fc_reg.weight.view(-1, 4, self.fc_reg.in_features)[labels - 1]  # [R, 4, D]
        bias = self.fc_reg.bias.view(-1, 4)[labels - 1]
        return torch.bmm(weight.to(loc.dtype), loc[:, :, None])[:, :, 0] + bias.to(loc.dtype)

    def pair_offsets(self, loc: Tensor, regions: Tensor, labels: Tensor) -> Tensor:
        """Box offsets ``[K, 4]`` of pairs of a region and a class, by the cheaper way.

        Args:
            loc: ``[R, D]``.
            regions: int64 ``[K]``, which region.
            labels: int64 ``[K]``, 1..C, which class.
        """
        if self.class_agnostic:
            return self.fc_reg(loc)[regions]  # type: ignore[no-any-return]
        if regions.shape[0] > FULL_FROM * loc.shape[0]:
            full = self.fc_reg(loc).view(loc.shape[0], -1, 4)  # [R, C, 4]
            return full[regions, labels - 1]  # type: ignore[no-any-return]
        return self.offsets(loc[regions], labels)

    def scores(self, logits: Tensor, loc: Tensor) -> Tensor:
        """Scores ``[R, C]``: class probability, times sigmoid(objectness) where there is one (CLIS, sec. III-B5).

        Args:
            logits: of the classes, ``[R, K]``.
            loc: ``[R, D]`` of the localisation side.
        """
        scores = self.class_loss.scores(logits)
        if self.fc_obj is not None:
            scores = scores * self.fc_obj(loc).float().sigmoid()
        return scores
