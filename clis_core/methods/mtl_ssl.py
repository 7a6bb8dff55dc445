"""A batch and the regions that the second stage learns from go in, the losses of MTL-SSL's auxiliary tasks come out.

N images, S sampled regions, W windows, C classes. Boxes are xyxy in pixels of the resized image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.batch import Losses, Target
from clis_core.config.method import MtlTraining
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.mtl import AuxiliaryHead
from clis_core.losses.ranks import rows_of, share
from clis_core.methods.mtl_labels import (
    CELLS,
    SoftLabels,
    closeness_labels,
    foreground,
    random_windows,
    window_labels,
)

_STRIDE = 16  # of the map that the foreground is seen in: that of the proposal network of the paper's detectors


class SecondStage(NamedTuple):
    """The regions that the second stage learns from, and what it has made of them.

    Attributes:
        boxes: N tensors ``[S_i, 4]``.
        labels: N tensors int64 ``[S_i]``, 0 for background, objects first.
        matched: N tensors, the true boxes of the objects.
        pooled: features ``[S, channels, P, P]``.
        logits: of the class layer, ``[S, K]``.
    """

    boxes: list[Tensor]
    labels: list[Tensor]
    matched: list[Tensor]
    pooled: Tensor
    logits: Tensor


class MtlTasks(nn.Module):
    """Window classification, closeness, foreground, and the class loss of refined logits (Lee, Na and Kim, CVPR 2019).

    Args:
        config: weights and windows.
        detector: what is taught; its ``mtl`` has the heads that inference needs.
    """

    def __init__(self, config: MtlTraining, detector: FasterRCNN) -> None:
        super().__init__()
        self.config = config
        self.foreground = None
        if config.foreground_weight:
            self.foreground = nn.Conv2d(detector.config.pyramid.channels, 2, 1)
            nn.init.normal_(self.foreground.weight, std=0.01)

    def forward(
        self,
        detector: FasterRCNN,
        features: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[Target],
        sampled: SecondStage,
    ) -> Losses:
        """The weighted losses ``window``, ``closeness``, ``foreground`` and ``class_refined``, as far as they are on.

        Args:
            detector: what is taught.
            features: pyramid levels.
            sizes: (height, width) of each image without padding.
            targets: of each image.
            sampled: of `sample_regions`, and what the second stage has made of them.
        """
        config, heads, losses = self.config, detector.mtl, Losses()
        if self.foreground is not None:
            losses["foreground"] = config.foreground_weight * self._foreground(detector, features, sizes, targets)
        if heads is None:
            return losses
        if heads.window is not None:
            windows = self._windows(detector, heads.window, features, sizes, targets)
            losses["window"] = config.window_weight * windows
        closeness = None
        if heads.closeness is not None:
            closeness = heads.closeness(sampled.pooled)  # [S, C]
            losses["closeness"] = config.closeness_weight * _closeness(closeness, sizes, targets, sampled)
        if heads.fc_refine is not None:
            refined = detector.refined(sampled.logits, features, sampled.boxes, sizes, sampled.pooled, closeness)
            # The same regions enter the class loss's statistics once, by the logits that refinement begins with.
            loss = detector.head.class_loss(refined, torch.cat(sampled.labels), count=False)
            losses["class_refined"] = config.refine_weight * loss
        return losses

    def _windows(
        self,
        detector: FasterRCNN,
        head: AuxiliaryHead,
        features: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[Target],
    ) -> Tensor:
        """Cross entropy with soft labels, mean over the windows."""
        config = self.config
        windows = [random_windows(t, s, config.windows, config.shortest) for t, s in zip(targets, sizes, strict=True)]
        labels = [window_labels(t, w) for t, w in zip(targets, windows, strict=True)]
        boxes = [torch.from_numpy(w).to(features[0].device, torch.float32) for w in windows]
        logits = head(detector.pool_regions(features, boxes))  # [W, C + 1]
        return soft_cross_entropy(logits, labels) / share(rows_of(logits))

    def _foreground(
        self, detector: FasterRCNN, features: list[Tensor], sizes: list[tuple[int, int]], targets: list[Target]
    ) -> Tensor:
        """Weighted cross entropy of the mask's cells, mean over the cells and over the images."""
        assert self.foreground is not None, "it is off"
        level = max(n for n, stride in enumerate(detector.strides) if n == 0 or stride <= _STRIDE)
        seen = torch.tanh(self.foreground(features[level]).float())  # [N, 2, H_l, W_l]
        logits = at_cells(seen, sizes, detector.strides[level])  # [N, 2, 64, 64]
        wanted = [foreground(t, s) for t, s in zip(targets, sizes, strict=True)]
        mask = torch.stack([torch.from_numpy(w.mask) for w in wanted]).to(logits.device)
        weights = torch.stack([torch.from_numpy(w.weights) for w in wanted]).to(logits.device)
        losses = weights * F.cross_entropy(logits, mask, reduction="none")  # [N, 64, 64]
        return losses.mean(dim=(1, 2)).sum() / share(rows_of(logits))


def _closeness(logits: Tensor, sizes: list[tuple[int, int]], targets: list[Target], sampled: SecondStage) -> Tensor:
    """Cross entropy of the regions that are objects, ``logits`` ``[S, C]`` of all; divided by the number of objects."""
    objects = torch.cat(sampled.labels) > 0
    soft = []
    for target, size, boxes, labels in zip(targets, sizes, sampled.matched, sampled.labels, strict=True):
        of_objects = labels[: len(boxes)].cpu().numpy()
        soft.append(closeness_labels(target, boxes.cpu().double().numpy(), of_objects, size))
    own = logits[objects]
    return soft_cross_entropy(own, soft, first=1) / share(rows_of(own))


def soft_cross_entropy(logits: Tensor, labels: list[SoftLabels], *, first: int = 0) -> Tensor:
    """Sum over rows of - sum_k share_k log softmax(logits)_k, the softmax over the classes that take part in the row.

    Args:
        logits: ``[R, K]``, one image's rows after the other's.
        labels: of each image.
        first: class of the first logit.
    """
    total = logits.float().sum() * 0.0
    for part, soft in zip(torch.split(logits.float(), [len(s.shares) for s in labels]), labels, strict=True):
        if not len(part):
            continue
        shares, known = (torch.from_numpy(x).to(part.device) for x in (soft.shares, soft.known))
        own = part[:, torch.from_numpy(soft.classes - first).to(part.device)]  # [R_i, J]
        if soft.absent is None:
            everything = part.logsumexp(dim=1)
        else:
            absent = part[:, torch.from_numpy(soft.absent - first).to(part.device)]
            everything = torch.cat((own.masked_fill(~known, -torch.inf), absent), dim=1).logsumexp(dim=1)
        total = total + (everything * shares.sum(dim=1)).sum() - (shares * own).sum()
    return total


def at_cells(maps: Tensor, sizes: list[tuple[int, int]], stride: int) -> Tensor:
    """The values of maps at the centres of 64 x 64 cells of each image, bilinear.

    Args:
        maps: ``[N, K, H, W]`` of the padded batch.
        sizes: (height, width) of each image in it.
        stride: of the maps.

    Returns:
        ``[N, K, 64, 64]``.
    """
    height, width = maps.shape[-2:]
    centres = (torch.arange(CELLS, device=maps.device) + 0.5) / CELLS
    # grid_sample's frame is -1 to 1, from edge to edge of the whole map.
    frame = torch.tensor([(2 * h / (stride * height), 2 * w / (stride * width)) for h, w in sizes], device=maps.device)
    y, x = (centres * frame[:, axis, None] - 1 for axis in (0, 1))  # [N, 64]
    grid = torch.stack((x[:, None].expand(-1, CELLS, -1), y[:, :, None].expand(-1, -1, CELLS)), dim=-1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
