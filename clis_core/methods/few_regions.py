"""Images and a few boxes in each go in, the boxes' RoI features come out, for less than the whole pyramid.

N images, R boxes, C channels of the pyramid, P cells along a side, Q pixels of the pyramid that the boxes look at.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from clis_core.detectors.faster_rcnn import FasterRCNN


def pool_few(detector: FasterRCNN, pixels: Tensor, boxes: list[Tensor]) -> Tensor:
    """What ``detector.pool_regions(detector.encoder(pixels), boxes)`` gives.

    A pyramid's last step is a 3 x 3 convolution of each level; on the finest it is as much work as a third of a
    ResNet-50. Of what it makes, one region of a picture reads a few hundred pixels, so that it is made for these alone.

    Args:
        detector: its encoder and pooling are used.
        pixels: ``[N, 3, H, W]``, normalised.
        boxes: N tensors ``[R_i, 4]``, xyxy, pixels of the images.

    Returns:
        ``[R, C, P, P]``, the images' boxes one after the other.
    """
    pool = detector.pool
    merged = detector.encoder.merged(pixels)
    rois = torch.cat(boxes)
    counts = torch.tensor([len(b) for b in boxes], device=rois.device)
    image = torch.repeat_interleave(torch.arange(len(boxes), device=rois.device), counts)
    index, weight = pool.samples(merged, rois, image)
    needed, place = torch.unique(index, return_inverse=True)  # [Q], in the order of the levels
    ends = list(accumulate((level.shape[0] * level.shape[2] * level.shape[3] for level in merged), initial=0))
    bounds = torch.searchsorted(needed, torch.tensor(ends, device=needed.device)).tolist()
    parts = []
    for number, ((first, last), level) in enumerate(zip(pairwise(bounds), merged, strict=True)):
        convolution = detector.encoder.pyramid.layer_blocks[number][0]
        at = needed[first:last] - ends[number]
        around = _neighbours(level, at)  # [Q_l, 9 C]
        parts.append(F.linear(around, convolution.weight.permute(0, 2, 3, 1).flatten(1), convolution.bias))
    rows = torch.cat(parts).to(rois.dtype)  # [Q, C]; sums in full precision under autocast
    out = F.embedding_bag(place, rows, mode="sum", per_sample_weights=weight)  # [R * P * P, C]
    return out.view(len(rois), pool.size, pool.size, rows.shape[1]).permute(0, 3, 1, 2)


def _neighbours(level: Tensor, at: Tensor) -> Tensor:
    """The 3 x 3 pixels around some pixels of a map, zero outside of it.

    Args:
        level: ``[N, C, H, W]``.
        at: int64 ``[Q]``, numbers of pixels: image after image, row by row.

    Returns:
        ``[Q, 9 C]``.
    """
    height, width = level.shape[-2:]
    step = torch.arange(-1, 2, device=at.device)
    y = (at // width % height)[:, None, None] + step[:, None]  # [Q, 3, 1]
    x = (at % width)[:, None, None] + step  # [Q, 1, 3]
    outside = ((y < 0) | (y >= height) | (x < 0) | (x >= width)).flatten(1)  # [Q, 9]
    around = (at[:, None, None] + step[:, None] * width + step).flatten(1).masked_fill(outside, 0)
    rows = level.permute(0, 2, 3, 1).reshape(-1, level.shape[1])
    return F.embedding(around, rows).masked_fill(outside[:, :, None], 0.0).flatten(1)
