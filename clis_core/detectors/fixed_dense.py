"""The heads of RetinaNet or FCOS with fixed shapes throughout: levels in, the best pairs of a box and a class out.

N images, A_l anchors of a level, R of them that are looked at, C classes, K pairs. Boxes are xyxy in pixels of the
frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clis_core.detectors.dense import DenseDetector
from clis_core.detectors.dense_head import LevelOutput
from clis_core.detectors.fixed_steps import FixedPairs, clip, level_anchors, rows, top


class FixedAnchors(nn.Module):
    """What `DenseDetector.score` does.

    Args:
        detector: in inference mode; its parts are used as they are.
        candidates: K; no more than the best of each level are used.
    """

    def __init__(self, detector: DenseDetector, candidates: int) -> None:
        super().__init__()
        self.head, self.anchors = detector.head, detector.anchors
        # A method of the detector, which as a module would be part of the graph a second time.
        self._decode, self._best_scores = detector.decode, detector.best_scores
        self.of_level = detector.config.postprocess.level_candidates
        self.candidates = min(candidates, self.of_level * len(detector.strides))

    def layers(self) -> list[nn.Module]:
        """What runs in the precision of the network."""
        return [self.head]

    def forward(self, features: list[Tensor], frame: torch.Size, limit: Tensor) -> FixedPairs:
        """The best pairs of images in a frame.

        Args:
            features: levels ``[N, channels, H_l, W_l]``.
            frame: height and width last.
            limit: ``[N, 1, 4]``, width, height, width, height of each image.
        """
        scores, labels, codes, anchors = [], [], [], []
        for feature, cells, level in zip(features, self.anchors.cell_anchors, self.head(features), strict=True):
            best, label, index = self._best(level)
            scores.append(best)
            labels.append(label)
            codes.append(rows(level.codes.float(), index))
            anchors.append(level_anchors(cells, frame, feature.shape[-2:])[index])
        chosen, index = torch.cat(scores, dim=1).topk(self.candidates)  # [N, K]
        code, anchor = (rows(torch.cat(parts, dim=1), index) for parts in (codes, anchors))
        boxes = self._decode(code.flatten(0, 1), anchor.flatten(0, 1)).view_as(code)
        every = self.candidates == self.of_level * len(scores)
        return FixedPairs(chosen, torch.cat(labels, dim=1).gather(1, index), clip(boxes, limit), every)

    def _best(self, level: LevelOutput) -> tuple[Tensor, Tensor, Tensor]:
        """Score, label and anchor of the best pairs of a level, ``[N, level_candidates]`` each."""
        best, row = top(self._best_scores(level), self.of_level)  # [N, R]
        quality = None if level.quality is None else level.quality.gather(1, row)
        scores = self.head.scores(rows(level.logits, row), quality)  # [N, R, C]
        classes = scores.shape[2]
        flat = torch.where(torch.isfinite(best)[:, :, None], scores, 0).flatten(1)
        value, pairs = flat.topk(self.of_level)
        place = torch.div(pairs, classes, rounding_mode="floor")
        return value, pairs - place * classes + 1, row.gather(1, place)
