"""A config and a number of classes in; images, boxes and counts of training data, all drawn, out."""

from __future__ import annotations

import torch

from clis_core.batch import Batch, Masks, RawImage, Target
from clis_core.config.detector import finds_masks
from clis_core.config.methods import learns_from_pictures
from clis_core.config.run import RunConfig
from clis_core.losses.counts import ClassCounts

_BOXES = 12


def drawn_batch(config: RunConfig, classes: int, images: int) -> Batch:
    """Images of noise in the largest size that training sees, each with twelve boxes; with mosaics and patches."""
    generator = torch.Generator().manual_seed(0)
    short = max(config.data.short_sides)
    height, width = min(short, config.data.long_side), min(config.data.long_side, round(short * 5 / 3))
    raw, targets = [], []
    for _ in range(images):
        pixels = torch.randint(0, 256, (480, round(480 * width / height), 3), dtype=torch.uint8, generator=generator)
        frame = torch.tensor([width, height], dtype=torch.float32)
        centre = torch.rand(_BOXES, 2, generator=generator) * frame
        side = (0.05 + 0.35 * torch.rand(_BOXES, 2, generator=generator)) * frame
        boxes = torch.cat((centre - side / 2, centre + side / 2), dim=1).clamp(min=0)
        boxes = torch.minimum(boxes, frame.repeat(2))
        raw.append(RawImage(pixels.permute(2, 0, 1), (height, width)))
        labels = torch.randint(1, classes + 1, (_BOXES,), generator=generator)
        targets.append(Target(boxes, labels, masks=_masks(boxes) if finds_masks(config.detector) else None))
    batch = Batch(raw, targets, [f"drawn image {n}" for n in range(images)])
    if not learns_from_pictures(config.method) or not config.pictures.s:
        return batch
    from clis_core.jobs.bench.clis_step import with_pictures

    return with_pictures(batch, config.pictures.s, config.pictures.t, config.pictures.mosaic, classes)


def _masks(boxes: torch.Tensor) -> Masks:
    """Masks that fill their boxes."""
    side = 64
    pixels = torch.ones(len(boxes) * side * side, dtype=torch.uint8)
    return Masks(pixels, [(side, side)] * len(boxes), boxes)


def drawn_counts(classes: int) -> ClassCounts:
    """Counts of training data as long-tailed as LVIS, for class losses that are made from them."""
    images = (10_000 / torch.arange(1, classes + 1).float()).ceil().long()
    return ClassCounts(images, 2 * images, 100_000)
