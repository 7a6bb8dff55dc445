"""An image in, the same image strongly augmented out: colours, blur and erased places; boxes stay where they are.

The recipe of Unbiased Teacher (Liu et al., ICLR 2021, arXiv 2102.09480).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as T

JITTER, GREY, BLUR = 0.8, 0.2, 0.5
"""Probabilities."""
STRENGTH = (0.4, 0.4, 0.4, 0.1)
"""Of brightness, contrast, saturation and hue."""
SIGMA = (0.1, 2.0)
"""Of the blur, pixels."""
ERASED = ((0.7, (0.05, 0.2), (0.3, 3.3)), (0.5, (0.02, 0.2), (0.1, 6.0)), (0.3, (0.02, 0.2), (0.05, 8.0)))
"""Probability, part of the area and height over width of each of three rectangles."""


def strong_augment(pixels: Tensor, draw: torch.Generator | None = None) -> Tensor:
    """Augment an image.

    Args:
        pixels: uint8 ``[3, h, w]``, RGB; it is not changed.
        draw: random numbers, of the CPU; None takes torch's global ones.
    """
    if _chance(JITTER, draw):
        brightness, contrast, saturation, hue = STRENGTH
        pixels = T.adjust_brightness(pixels, _between(1 - brightness, 1 + brightness, draw))
        pixels = T.adjust_contrast(pixels, _between(1 - contrast, 1 + contrast, draw))
        pixels = T.adjust_saturation(pixels, _between(1 - saturation, 1 + saturation, draw))
        pixels = T.adjust_hue(pixels, _between(-hue, hue, draw))
    if _chance(GREY, draw):
        pixels = T.rgb_to_grayscale(pixels, num_output_channels=3)
    if _chance(BLUR, draw):
        sigma = _between(*SIGMA, draw)
        # The kernel reaches two deviations; its padding mirrors the image, so that it must fit into it.
        radius = min(math.ceil(2 * sigma), min(pixels.shape[-2:]) - 1)
        if radius > 0:
            pixels = T.gaussian_blur(pixels, [2 * radius + 1, 2 * radius + 1], [sigma, sigma])
    pixels = pixels.clone()
    for probability, area, ratio in ERASED:
        if _chance(probability, draw):
            _erase(pixels, area, ratio, draw)
    return pixels


def _erase(pixels: Tensor, area: tuple[float, float], ratio: tuple[float, float], draw: torch.Generator | None) -> None:
    """Fill a rectangle with noise, in place."""
    height, width = pixels.shape[-2:]
    part = _between(*area, draw) * height * width
    shape = math.exp(_between(math.log(ratio[0]), math.log(ratio[1]), draw))
    h = max(1, min(height, round(math.sqrt(part * shape))))
    w = max(1, min(width, round(math.sqrt(part / shape))))
    top, left = int(_between(0, height - h + 1, draw)), int(_between(0, width - w + 1, draw))
    noise = torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=draw)
    pixels[:, top : top + h, left : left + w] = noise.to(pixels.device)


def _between(low: float, high: float, draw: torch.Generator | None) -> float:
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=draw))


def _chance(probability: float, draw: torch.Generator | None) -> bool:
    return _between(0, 1, draw) < probability
