"""The ``segmentation`` of an annotation, as the json has it, in; run lengths that the image can hold, or a bitmap, out.

Polygons and run lengths become the same pixels as in pycocotools, which trusts what it is handed; so all is checked
before.
"""

from __future__ import annotations

from typing import Any, TypedDict

import msgspec
import numpy as np
from numpy.typing import NDArray

LONGEST_OUTLINE = 2_000_000
"""Pixels of a polygon's outline, whose points are all made on the way."""
MOST_PIXELS = 2**32 - 1
"""Of an image; pycocotools counts with 32 bits."""
LONGEST_NUMBER = 7
"""Characters of a run length; 7 are 34 bits."""


class Rle(TypedDict):
    """A mask as pycocotools has it: (height, width), and the run lengths as text."""

    size: list[int]
    counts: bytes


class _Rle(msgspec.Struct):
    size: tuple[int, int]
    counts: str | list[int]


_SEGMENTATION = msgspec.json.Decoder(list[list[float]] | _Rle | None)


def read_segmentation(text: bytes | memoryview, size: tuple[int, int]) -> Rle | None:
    """Read a segmentation.

    Args:
        text: json: polygons ``[[x, y, x, y, ...], ...]``, or run lengths, as text or as a list.
        size: (height, width) of the image.

    Returns:
        the mask; None where it has not a single pixel.

    Raises:
        ValueError: says what is wrong with it.
    """
    from pycocotools import mask as coco_mask

    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(f"its image of {size[1]} x {size[0]} pixels is too large for a mask")
    try:
        value = _SEGMENTATION.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    match value:
        case None:
            return None
        case _Rle():
            rle = _of_runs(value, size)
        case _:
            polygons = [_polygon(p) for p in value if len(p) >= 6]  # fewer numbers are a line or a point
            if not polygons:
                return None
            rle = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return rle if coco_mask.area(rle) else None


def as_json(rle: Rle) -> dict[str, Any]:
    """A mask as json holds it."""
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def bitmap_of(rle: Rle) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The smallest bitmap that holds a mask, uint8 ``[h, w]``, and (top, left) of it in the image, pixels."""
    from pycocotools import mask as coco_mask

    x, y, width, height = (int(v) for v in coco_mask.toBbox(rle))
    runs = runs_of(rle["counts"])
    values = (np.arange(len(runs)) & 1).astype(np.uint8)
    whole = np.repeat(values, runs).reshape(rle["size"][::-1]).T  # column by column
    return np.ascontiguousarray(whole[y : y + height, x : x + width]), (y, x)


def _polygon(numbers: list[float]) -> list[float]:
    if len(numbers) % 2:
        raise ValueError(f"a polygon has {len(numbers)} numbers, an x without a y")
    points = np.array(numbers).reshape(-1, 2)
    with np.errstate(over="ignore", invalid="ignore"):
        outline = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
    if not np.isfinite(outline) or outline > LONGEST_OUTLINE:
        raise ValueError(f"a polygon's outline is longer than {LONGEST_OUTLINE} pixels")
    if np.abs(points).max() > LONGEST_OUTLINE:
        raise ValueError("a polygon lies far outside of the image")
    return numbers


def _of_runs(value: _Rle, size: tuple[int, int]) -> Rle:
    if tuple(value.size) != size:
        raise ValueError(f"its size is {list(value.size)}, the image's is {list(size)} (height, width)")
    runs = runs_of(value.counts.encode()) if isinstance(value.counts, str) else _int64(value.counts)
    if len(runs) and runs.min() < 0:
        raise ValueError("a run length is below 0")
    covered, pixels = sum(runs.tolist()), size[0] * size[1]
    if covered != pixels:
        raise ValueError(f"its run lengths are {covered} pixels together, the image has {pixels}")
    return rle_of_runs(runs, size)


def rle_of_runs(runs: NDArray[np.int64], size: tuple[int, int]) -> Rle:
    """A mask from its run lengths, which fill an image of (height, width)."""
    from pycocotools import mask as coco_mask

    return coco_mask.frPyObjects({"size": list(size), "counts": runs.tolist()}, *size)  # type: ignore[no-any-return]


def _int64(numbers: list[int]) -> NDArray[np.int64]:
    try:
        return np.array(numbers, np.int64)
    except OverflowError:
        raise ValueError("a run length is larger than any image") from None


def runs_of(text: bytes) -> NDArray[np.int64]:
    """The run lengths of COCO's text: 5 bits a character, the lowest first, differences to the last but one from the
    fourth on.

    Raises:
        ValueError: no such text.
    """
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) and (codes.min() < 0 or codes.max() > 63):
        raise ValueError("its run lengths are no text of COCO's")
    ends = np.flatnonzero(codes & 32 == 0)
    lengths = np.diff(ends, prepend=-1)
    if lengths.sum() != len(codes) or (len(lengths) and lengths.max() > LONGEST_NUMBER):
        raise ValueError("its run lengths are cut short, or no text of COCO's")
    if not len(ends):
        return ends
    starts = ends - lengths + 1
    place = np.arange(len(codes)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((codes & 31) << (5 * place), starts)
    numbers -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers
