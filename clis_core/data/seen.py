"""A detection image of a batch and what is pasted into it go in; the picture that the network sees comes out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clis_core.batch import Patch, RawImage
from clis_core.data.mosaic import resize_uint8


def seen_image(image: RawImage, patches: Sequence[Patch] = ()) -> Tensor:
    """Resize and mirror an image, and paste patches into it, as the network's first step does before it normalises.

    Args:
        image: of a batch.
        patches: what is pasted into it, in order.

    Returns:
        uint8 ``[3, H, W]``, RGB; (H, W) is ``image.size``.
    """
    pixels = resize_uint8(image.pixels, image.size)
    pixels = (pixels.flip(-1) if image.flip else pixels).to(torch.float32)
    for patch in patches:
        height, width = patch.pixels.shape[-2:]
        under = pixels[:, patch.top : patch.top + height, patch.left : patch.left + width]
        under.lerp_(patch.pixels.to(torch.float32), patch.opacity)
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
