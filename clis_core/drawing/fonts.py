"""Captions in; a font that has their letters out, and the captions as that font can write them."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterable

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_OF_SYSTEMS = (
    *("NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "DejaVuSans.ttf"),  # Linux
    *("Arial Unicode.ttf", "PingFang.ttc", "Helvetica.ttc"),  # macOS
    *("msyh.ttc", "malgun.ttf", "segoeui.ttf", "arial.ttf"),  # Windows
)
"""Fonts with many letters; Pillow's own, which is always there, has those of ASCII alone."""


def font_for(captions: Iterable[str], size: int) -> Font:
    """The font that has most of the letters of the captions: Pillow's own where it has all.

    Args:
        captions: what will be written.
        size: in pixels.
    """
    letters = {c for caption in captions for c in caption if c.isprintable() and not c.isspace()}
    if all(c.isascii() for c in letters):
        return ImageFont.load_default(size)
    missing = {font: sum(not _has(font, c) for c in letters) for font in _there()}
    if not missing:
        return ImageFont.load_default(size)
    return ImageFont.truetype(min(missing, key=lambda font: missing[font]), size)


def writable(caption: str, font: Font) -> str:
    """The caption in one line, with the letters that the font has: without accents, or ``?``, for those it has not."""
    caption = " ".join("".join(c if c.isprintable() else " " for c in caption).split())
    if caption.isascii():
        return caption
    return "".join(c if c.isascii() or _draws(font, c) else _plain(c) for c in caption)


def _plain(letter: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", letter) if c.isascii() and c.isprintable()) or "?"


@functools.cache
def _there() -> tuple[str, ...]:
    """The fonts of the list that this machine has."""
    found = []
    for name in _OF_SYSTEMS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        found.append(name)
    return tuple(found)


@functools.lru_cache(maxsize=4096)
def _has(name: str, letter: str) -> bool:
    return _draws(ImageFont.truetype(name, 12), letter)


def _draws(font: Font, letter: str) -> bool:
    """Whether a font has a letter; what it has not, it draws as it draws a code point that is none."""
    if not isinstance(font, ImageFont.FreeTypeFont):
        return False
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))
