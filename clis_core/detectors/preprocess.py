"""The network's first step: decoded images in, one normalised and padded batch out, on the device.

Resizing here and not in the loader keeps the loader's work to decoding, and what passes between processes small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clis_core.batch import Detection, ImageBatch, RawImage, fit_size
from clis_core.detectors.boxcoding import clip

# ImageNet's mean and deviation of RGB in 0..255, which torchvision's weights expect.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


class Preprocess(nn.Module):
    """Resize, flip, normalise, pad.

    Args:
        divisor: padded height and width are multiples of it, so that strides divide them.
        mean: of red, green, blue in 0..255.
        std: their deviation.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, divisor: int = 32, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        self.divisor = divisor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: list[RawImage]) -> ImageBatch:
        """N decoded images to float32 ``[N, 3, H, W]``, channels last, zero-padded at the right and the bottom."""
        sizes = [image.size for image in images]
        height, width = (
            -(-max(max(image.size[side], image.frame[side]) for image in images) // self.divisor) * self.divisor
            for side in (0, 1)
        )
        shape = (len(images), 3, height, width)
        pixels = torch.empty(shape, device=self.mean.device, memory_format=torch.channels_last).zero_()
        for out, image in zip(pixels, images, strict=True):
            x = resize(image.pixels.to(self.mean.device), image.size)
            x = x.flip(-1) if image.flip else x
            h, w = image.size
            torch.mul(x.to(torch.float32).sub_(self.mean), self.scale, out=out[:, :h, :w])
        return ImageBatch(pixels, sizes)

    def fitted(self, images: list[Tensor], short: int, long: int) -> ImageBatch:
        """Images uint8 ``[3, h, w]``, resized by `fit_size` to a short and no more than a long side (pixels)."""
        return self([RawImage(x, fit_size(x.shape[-2], x.shape[-1], short, long)) for x in images])  # type: ignore[no-any-return]


def resize(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image, bilinear with antialiasing.

    Args:
        pixels: uint8 ``[3, h, w]``.
        size: (height, width) wanted.

    Returns:
        ``[3, H, W]`` in 0..255; uint8 on the CPU, rounded float32 elsewhere, where there is no uint8 kernel.
    """
    if tuple(pixels.shape[-2:]) == tuple(size):
        return pixels
    if pixels.device.type == "cpu":
        # Channels-last uint8 has a vectorised kernel.
        x = pixels[None].contiguous(memory_format=torch.channels_last)
        return F.interpolate(x, size=size, mode="bilinear", antialias=True)[0]
    x = F.interpolate(pixels[None].to(torch.float32), size=size, mode="bilinear", antialias=True)[0]
    return x.round_().clamp_(0, 255)


def unscale(found: Detection, original: tuple[int, int], resized: tuple[int, int]) -> Detection:
    """Detections of a resized image in pixels of the original one; sizes are (height, width)."""
    ratio = (original[1] / resized[1], original[0] / resized[0])
    scale = torch.tensor([*ratio, *ratio], dtype=torch.float32, device=found.boxes.device)
    return found._replace(boxes=clip(found.boxes * scale, original))


def unscaled(found: list[Detection], images: list[Tensor], resized: list[tuple[int, int]]) -> list[Detection]:
    """The same of N images, as they were handed in: ``[3, h, w]``."""
    sizes = [(int(x.shape[-2]), int(x.shape[-1])) for x in images]
    return [unscale(*one) for one in zip(found, sizes, resized, strict=True)]
