"""The three steps of `fixed.Kernels` as operators of torch, and what they become in an ONNX graph.

To torch each is one opaque operator whose output shape is known, so that a graph with any number of images can be
captured; in ONNX each becomes a few standard nodes, between which shapes may depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18
from torch import Tensor
from torchvision.ops import nms, roi_align

from clis_core.detectors.roi_pool import RoiPool

op: Any = opset18
OPSET = 18


@torch.library.custom_op("clis::keep", mutates_args=())
def _keep(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    """Boxes ``[G, K, 4]`` and scores ``[G, S, K]``, one NMS for each (g, s): bool ``[G, K]``, survivors of any."""
    kept = torch.zeros(scores.shape, dtype=torch.bool, device=boxes.device)
    for g, s in (scores > 0).any(dim=2).nonzero().tolist():
        fit = (scores[g, s] > 0).nonzero()[:, 0]
        kept[g, s, fit[nms(boxes[g, fit], scores[g, s, fit], iou)]] = True
    return kept.any(dim=1)


@_keep.register_fake
def _(boxes: Tensor, scores: Tensor, iou: float) -> Tensor:
    return boxes.new_empty(boxes.shape[:2], dtype=torch.bool)


@torch.library.custom_op("clis::pool_level", mutates_args=())
def _pool_level(
    out: Tensor, feature: Tensor, boxes: Tensor, image: Tensor, chosen: Tensor, scale: float, size: int, samples: int
) -> Tensor:
    """``out`` ``[R, C, P, P]`` with RoIAlign from one level written over the rows that are ``chosen``, bool ``[R]``."""
    index = chosen.nonzero()[:, 0]
    rows = torch.cat((image[index, None].to(boxes.dtype), boxes[index]), dim=1)
    return out.index_copy(0, index, roi_align(feature, rows, size, scale, samples))


@_pool_level.register_fake
def _(
    out: Tensor, feature: Tensor, boxes: Tensor, image: Tensor, chosen: Tensor, scale: float, size: int, samples: int
) -> Tensor:
    return torch.empty_like(out)


class OnnxKernels:
    """With ONNX's own NonMaxSuppression and RoiAlign, for any number of images."""

    def keep(self, boxes: Tensor, valid: Tensor, iou: float) -> Tensor:
        """Scores only order the boxes, which come in order: the rank will do."""
        return torch.ops.clis.keep(boxes, (_rank(boxes) * valid)[:, None], iou)  # type: ignore[no-any-return]

    def keep_by_class(self, boxes: Tensor, valid: Tensor, labels: Tensor, classes: int, iou: float) -> Tensor:
        """A row of scores for each class, zero for boxes of another."""
        scores = boxes.new_zeros(boxes.shape[0], classes, boxes.shape[1])
        scores = scores.scatter(1, labels[:, None] - 1, (_rank(boxes) * valid)[:, None])
        return torch.ops.clis.keep(boxes, scores, iou)  # type: ignore[no-any-return]

    def pool(self, pool: RoiPool, features: list[Tensor], boxes: Tensor) -> Tensor:
        """RoIAlign of each level on its own boxes."""
        flat = boxes.flatten(0, 1)
        image = torch.arange(boxes.shape[0], device=boxes.device)[:, None].expand(-1, boxes.shape[1]).flatten()
        levels = pool.levels(flat)
        out = flat.new_zeros(flat.shape[0], features[0].shape[1], pool.size, pool.size)
        for level, (feature, stride) in enumerate(zip(features, pool.strides, strict=True)):
            out = torch.ops.clis.pool_level(
                out, feature, flat, image, levels == level, 1 / stride, pool.size, pool.sampling_ratio
            )
        return out


def _rank(boxes: Tensor) -> Tensor:
    """K, K - 1, ..., 1."""
    return torch.arange(boxes.shape[1], 0, -1, device=boxes.device).to(boxes.dtype)


def _keep_onnx(boxes: Any, scores: Any, iou: float) -> Any:
    shape = op.Shape(boxes)
    count = op.Slice(shape, [1], [2], [0])
    # Corners are [y1, x1, y2, x2] to ONNX; the overlap of [x1, y1, x2, y2] is the same.
    chosen = op.NonMaxSuppression(boxes, scores, count, iou, 0.0)
    place = op.Gather(chosen, [0, 2], axis=1)  # [M, 2]
    yes = op.Expand(op.Constant(value_int=1), op.Slice(op.Shape(place), [0], [1], [0]))
    kept = op.Expand(op.Constant(value_int=0), op.Slice(shape, [0], [2], [0]))
    return op.Cast(op.ScatterND(kept, place, yes), to=9)


def _pool_level_onnx(
    out: Any, feature: Any, boxes: Any, image: Any, chosen: Any, scale: float, size: int, samples: int
) -> Any:
    index = op.Transpose(op.NonZero(chosen))  # [M, 1]
    pooled = op.RoiAlign(
        feature,
        op.GatherND(boxes, index),
        op.GatherND(image, index),
        coordinate_transformation_mode="output_half_pixel",
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=samples,
        spatial_scale=scale,
    )
    return op.ScatterND(out, index, pooled)


def translations() -> dict[Callable[..., Any], Any]:
    """What `torch.onnx.export` needs to know of the operators: its ``custom_translation_table``."""
    return {torch.ops.clis.keep.default: _keep_onnx, torch.ops.clis.pool_level.default: _pool_level_onnx}
