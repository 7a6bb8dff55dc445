"""Region features in, what MTL-SSL's heads say of regions and windows out, and class logits refined by it.

MTL-SSL is "Multi-Task Self-Supervised Object Detection via Recycling of Bounding Box Annotations" (Lee, Na and Kim,
CVPR 2019). R regions, n windows of a region, C classes, K class logits of a region. Boxes are xyxy in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from clis_core.config.detector import MtlConfig


class AuxiliaryHead(nn.Module):
    """A 2fc and an output of its own.

    Args:
        inputs: numbers of a pooled region.
        width: of the 2fc.
        outputs: logits.
    """

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.branch = TwoMLPHead(inputs, width)
        self.fc = nn.Linear(width, outputs)
        for layer in (self.branch.fc6, self.branch.fc7):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features ``[R, channels, P, P]`` to logits."""
        return self.fc(self.branch(pooled))  # type: ignore[no-any-return]


class MtlHeads(nn.Module):
    """Window classification, closeness, and the refinement of class logits by both, as far as the config has them.

    Args:
        config: which.
        inputs: numbers of a pooled region.
        num_classes: C.
        num_logits: K.
    """

    def __init__(self, config: MtlConfig, inputs: int, num_classes: int, num_logits: int) -> None:
        super().__init__()
        self.steps = config.windows - 1
        self.window = AuxiliaryHead(inputs, config.width, num_classes + 1) if config.window else None
        self.closeness = AuxiliaryHead(inputs, config.width, num_classes) if config.closeness else None
        self.fc_refine = None
        if config.refine:
            said = (config.windows * (num_classes + 1) if config.window else 0) + num_classes * config.closeness
            self.fc_refine = nn.Linear(said + num_logits, num_logits)
            # Refinement begins as the identity.
            nn.init.zeros_(self.fc_refine.weight)
            nn.init.zeros_(self.fc_refine.bias)

    def surroundings(self, boxes: Tensor, frame: Tensor) -> Tensor:
        """The windows of regions that are no region themselves: those between box and image, and the image, once.

        Args:
            boxes: ``[..., R, 4]``.
            frame: ``[..., 1, 4]``, the whole image.

        Returns:
            ``[..., R (n - 2) + 1, 4]``, region after region from the smallest, and the image last.
        """
        part = torch.arange(1, self.steps, device=boxes.device, dtype=boxes.dtype)[:, None] / self.steps
        between = boxes[..., None, :] * (1 - part) + frame[..., None, :] * part  # [..., R, n - 2, 4]
        return torch.cat((between.flatten(-3, -2), frame), dim=-2)

    def windows_of(self, own: Tensor, around: Tensor) -> Tensor:
        """The window logits of each region, put together.

        Args:
            own: of the boxes themselves, ``[..., R, C + 1]``.
            around: of their `surroundings`, ``[..., R (n - 2) + 1, C + 1]``.

        Returns:
            ``[..., R, n (C + 1)]``, from the box to the image.
        """
        between = around[..., :-1, :].reshape(*own.shape[:-1], self.steps - 1, own.shape[-1])
        image = around[..., -1:, :].expand_as(own)
        return torch.cat((own[..., None, :], between, image[..., None, :]), dim=-2).flatten(-2)

    def refined(self, logits: Tensor, said: list[Tensor]) -> Tensor:
        """Class logits ``[R, K]``, plus a linear function of them and of what the heads say (without gradient there).

        Args:
            logits: of the class layer.
            said: ``[R, n (C + 1)]`` of `windows_of`, and ``[R, C]``, the closeness of the region's image; as far as
                there are such heads.
        """
        assert self.fc_refine is not None, "the config has no refinement"
        seen = torch.cat([part.to(logits.dtype) for part in (*said, logits)], dim=1).detach()
        return logits + self.fc_refine(seen)  # type: ignore[no-any-return]
