"""RoIAlign over a pyramid: feature maps and boxes in, one small map for each box out.

The arithmetic is RoIAlign's (He et al. 2017, without the half-pixel shift, as torchvision's detectors use it) with
FPN's choice of the level (Lin et al. 2017, eq. 1). On a GPU torchvision's kernel does it. On a CPU that kernel uses
one thread and scattered reads; there a cell is written as what it is, a weighted sum of (2 x samples)^2 pixels, and
summed by `embedding_bag` over channels-last rows, which is threaded in both directions and much faster.

R boxes, C channels, P cells along a side, S samples along a cell.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

# The stride that `level_size` belongs to.
CANONICAL_STRIDE = 16


class RoiPool(nn.Module):
    """RoIAlign from the level that fits each box's size.

    Args:
        strides: strides of the maps that are pooled from, doubling.
        size: P.
        sampling_ratio: S.
        level_size: side of the boxes (pixels) that belong to stride 16.
    """

    def __init__(self, strides: tuple[int, ...], size: int, sampling_ratio: int, level_size: float) -> None:
        super().__init__()
        self.strides = strides
        self.size = size
        self.sampling_ratio = sampling_ratio
        self.level_size = level_size

    def levels(self, boxes: Tensor) -> Tensor:
        """Index into the strides for each of ``[R, 4]`` boxes, int64 ``[R]`` (FPN, eq. 1)."""
        side = torch.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
        stride = CANONICAL_STRIDE * side / self.level_size
        # 1e-6 as in torchvision: a side of exactly level_size belongs to stride 16.
        level = torch.floor(torch.log2(stride / self.strides[0]) + 1e-6)
        return level.clamp(0, len(self.strides) - 1).to(torch.int64)

    def forward(self, features: list[Tensor], boxes: list[Tensor]) -> Tensor:
        """Pool every box.

        Args:
            features: maps ``[N, C, H_l, W_l]``, one for each stride.
            boxes: N tensors ``[R_i, 4]``, xyxy, pixels of the resized image.

        Returns:
            ``[R, C, P, P]``, the images' boxes one after the other.
        """
        image = torch.repeat_interleave(
            torch.arange(len(boxes), device=features[0].device),
            torch.tensor([len(b) for b in boxes], device=features[0].device),
        )
        rois = torch.cat(boxes)
        if rois.device.type == "cpu":
            return self.bags(features, rois, image)
        return self._kernel(features, rois, image)

    def _kernel(self, features: list[Tensor], rois: Tensor, image: Tensor) -> Tensor:
        levels = self.levels(rois)
        rows = torch.cat((image[:, None].to(rois.dtype), rois), dim=1)  # [R, 5]
        out = rois.new_zeros((len(rois), features[0].shape[1], self.size, self.size))
        for level, (feature, stride) in enumerate(zip(features, self.strides, strict=True)):
            index = (levels == level).nonzero()[:, 0]
            # An empty selection still ties the level to the graph, so that each parameter always has a gradient.
            pooled = roi_align(feature.to(rois.dtype), rows[index], self.size, 1 / stride, self.sampling_ratio)
            out = out.index_copy(0, index, pooled)
        return out

    def bags(self, features: list[Tensor], rois: Tensor, image: Tensor) -> Tensor:
        """``[R, C, P, P]`` as weighted sums of pixels; ``image`` int64 ``[R]`` says which image a box is of."""
        channels = features[0].shape[1]
        rows = torch.cat([f.permute(0, 2, 3, 1).reshape(-1, channels) for f in features])
        rows = rows.to(rois.dtype)  # sums in full precision under autocast
        index, weight = self.samples(features, rois, image)
        out = F.embedding_bag(index, rows, mode="sum", per_sample_weights=weight)  # [R * P * P, C]
        return out.view(len(rois), self.size, self.size, channels).permute(0, 3, 1, 2)

    def samples(self, features: list[Tensor], rois: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels that each cell sums.

        Args:
            features: maps ``[N, C, H_l, W_l]``; their shapes alone matter.
            rois: ``[R, 4]``.
            image: int64 ``[R]``, which of the N images a box is of.

        Returns:
            int64 ``[R * P * P, (2 S)^2]``, numbers of pixels: level after level, image after image, row by row; and
            their weights, float32.
        """
        cells, per_cell, device = self.size, self.sampling_ratio, rois.device
        levels = self.levels(rois)
        heights = torch.tensor([f.shape[2] for f in features], device=device)
        widths = torch.tensor([f.shape[3] for f in features], device=device)
        counts = [f.shape[0] * f.shape[2] * f.shape[3] for f in features]
        ends = torch.cumsum(torch.tensor([0, *counts], device=device), 0)
        height, width = heights[levels][:, None], widths[levels][:, None]  # [R, 1]
        first = ends[levels] + image * (heights * widths)[levels]  # [R]

        scaled = rois / torch.tensor(self.strides, dtype=rois.dtype, device=device)[levels][:, None]
        sides = (scaled[:, 2:] - scaled[:, :2]).clamp(min=1)
        grid = (torch.arange(cells * per_cell, dtype=rois.dtype, device=device) + 0.5) / (cells * per_cell)
        x_index, x_weight = _linear(scaled[:, :1] + sides[:, :1] * grid, width)  # [R, P * S, 2]
        y_index, y_weight = _linear(scaled[:, 1:2] + sides[:, 1:] * grid, height)

        count = len(rois)
        y_shape, x_shape = (count, cells, 1, 2 * per_cell, 1), (count, 1, cells, 1, 2 * per_cell)
        index = first.view(-1, 1, 1, 1, 1) + (y_index * width[:, :, None]).view(y_shape) + x_index.view(x_shape)
        weight = y_weight.view(y_shape) * x_weight.view(x_shape) / per_cell**2
        summed = (2 * per_cell) ** 2
        return index.reshape(count * cells**2, summed), weight.reshape(count * cells**2, summed)


def _linear(at: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The two neighbours of each position on a line of pixels, and their weights.

    Args:
        at: positions ``[R, K]``.
        length: pixels on the line, ``[R, 1]``.

    Returns:
        int64 and float32 ``[R, K, 2]``; positions more than a pixel outside weigh nothing.
    """
    inside = ((at >= -1) & (at <= length)).to(at.dtype)
    at = torch.minimum(at.clamp(min=0), (length - 1).to(at.dtype))
    low = at.floor()
    high = torch.minimum(low + 1, (length - 1).to(at.dtype))
    part = at - low
    index = torch.stack((low, high), dim=-1).to(torch.int64)
    return index, torch.stack(((1 - part) * inside, part * inside), dim=-1)
