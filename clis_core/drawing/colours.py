"""The name of a class in, its colour out, and the ink that can be read on a colour."""

from __future__ import annotations

import colorsys
import hashlib

Colour = tuple[int, int, int]
"""Red, green, blue, 0..255."""

BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
_HUES = 36
_SHADES = ((0.45, 1.0), (0.62, 1.0), (0.72, 0.75))
"""Lightness and saturation; neither near black nor near white."""


def colour_of(name: str) -> Colour:
    """A strong colour, the same for the same name everywhere and always."""
    number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8], "big")
    lightness, saturation = _SHADES[number // _HUES % len(_SHADES)]
    red, green, blue = colorsys.hls_to_rgb(number % _HUES / _HUES, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def ink_on(colour: Colour) -> Colour:
    """Black or white, whichever stands out more; the contrast is 4.5 to 1 at least on any colour (WCAG 2)."""
    return BLACK if contrast(BLACK, colour) >= contrast(WHITE, colour) else WHITE


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio of two colours, 1 to 21, as WCAG 2 defines it."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Colour) -> float:
    """Relative luminance of sRGB, 0..1."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
