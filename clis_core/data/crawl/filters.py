"""The bytes of a picture go in; its size and its hash come out, or the reason why it is of no use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from clis_core.data.decode import decode
from clis_core.data.near_duplicates import LOOK, difference_hash
from clis_core.data.picture import RefusedPictureError, check_picture


@dataclass(frozen=True)
class Filter:
    """Which pictures are of no use.

    Attributes:
        min_side: refuse a shorter side, pixels.
        max_aspect: refuse a side that is longer than this many times the other one.
        min_contrast: refuse a picture whose brightness (0 to 255) has a smaller standard deviation: one colour.
    """

    min_side: int = 64
    max_aspect: float = 4.0
    min_contrast: float = 4.0


class Facts(NamedTuple):
    """What is known of a picture that is kept.

    Attributes:
        sha256: of its bytes, hexadecimal.
        size: of its bytes.
        height: pixels, upright.
        width: pixels, upright.
        hash: its difference hash, 64 bits.
    """

    sha256: str
    size: int
    height: int
    width: int
    hash: int


def examine(data: bytes, name: str, wanted: Filter) -> Facts:
    """Look at a picture.

    Raises:
        RefusedPictureError: it is none, or it is of no use.
    """
    picture = check_picture(data, name, min_side=wanted.min_side)
    sides = sorted((picture.height, picture.width))
    if sides[1] > wanted.max_aspect * sides[0]:
        raise RefusedPictureError(f"longer than {wanted.max_aspect:g} to 1", f"{picture.width} x {picture.height}")
    pixels = decode(picture.data, name, at_least=LOOK)
    contrast = pixels.float().mean(dim=0).std().item()
    if contrast < wanted.min_contrast:
        raise RefusedPictureError("of one colour", f"standard deviation {contrast:.1f}")
    found = difference_hash(pixels)
    return Facts(hashlib.sha256(data).hexdigest(), len(data), picture.height, picture.width, int(found))
