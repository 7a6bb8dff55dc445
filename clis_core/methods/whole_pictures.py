"""Mosaics whose regions are whole pictures in, the pictures one by one with their labels and seeds out."""

from __future__ import annotations

import torch
from torch import Tensor

from clis_core.batch import Batch, RawImage
from clis_core.losses.ranks import largest
from clis_core.methods.assign import seed_within


def whole_pictures(batch: Batch, device: torch.device) -> tuple[list[RawImage], Tensor, list[int | None]]:
    """Cut the mosaics of a batch into their pictures.

    Collective under torchrun: pictures are padded to the largest one that any process has.

    A picture is shown in the size, and mirrored as, it was drawn for its cell: a step sees as many pixels of pictures
    as CLIS does of mosaics.

    Args:
        batch: of pictures whose regions are "full-image".
        device: for the labels where there is no picture.

    Returns:
        P pictures; their labels, int64 ``[P]``; and a seed for each, of what is drawn for it, as in `Target`.
    """
    mosaics = [mosaic for companions in batch.companions for mosaic in companions.mosaics]
    pictures: list[RawImage] = []
    seeds: list[int | None] = []
    for target, companions in zip(batch.targets, batch.companions, strict=False):
        first = len(pictures)
        for mosaic in companions.mosaics:
            for x0, y0, x1, y1 in mosaic.regions.round().int().tolist():
                seeds.append(seed_within(target.seed, len(pictures) - first))
                pictures.append(RawImage(mosaic.pixels[:, y0:y1, x0:x1], (y1 - y0, x1 - x0)))
    labels = [mosaic.labels for mosaic in mosaics] or [torch.zeros(0, dtype=torch.int64, device=device)]
    sides = [[picture.size[side] for picture in pictures] for side in (0, 1)]
    height, width = largest(torch.tensor([max(s, default=0) for s in sides], device=device)).tolist()
    return [picture._replace(frame=(height, width)) for picture in pictures], torch.cat(labels), seeds
