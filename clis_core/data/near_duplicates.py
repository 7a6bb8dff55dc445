"""Pictures go in, one after the other; for each comes out which earlier one it repeats, if any."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clis_core.errors import ConfigError

BITS = 64
ROWS, COLUMNS = 8, 9
THRESHOLD = 4
"""Hamming distance up to which two pictures count as one.

Of 400 COCO photographs all stay within 4 of their copies that are encoded anew (JPEG of quality 20 to 90, WebP),
halved, quartered or doubled; 93 % do when 1 % is cut off each side, and 27 % when 3 % is. Among 8,028 photographs of
64 x 64 pixels (32 million pairs, 113 pairs of copies left out) 20 pairs are within 4, of which 7 show different
things; 784 are within 10, a threshold often named, nearly all of them different things.
"""

LOOK = 64
"""Pixels of the short side that are enough to look at a picture: a JPEG is decoded at a part of its size."""
ALIKE = 12.0
"""Mean difference of 16 x 16 colours, of 255, up to which two pictures of near hashes are the same picture.

Hashes alone take one thing on white for another. Of 600 photographs all stay within it when they are halved, or encoded
anew with quality 20; 98 % do with both. Of their 179,700 pairs one is within it.
"""
_SIDE = 16

_GREY = np.array([299, 587, 114])  # thousandths: ITU-R BT.601
_EXACT = 2**24  # whole numbers up to here are exact in float32
_BLOCK = 65_536  # hashes compared at a time, so that the search ends early and needs little memory
_DEARER = 16  # what a candidate pair of the index costs, in pairs compared one after the other


def difference_hash(image: Tensor | Image.Image) -> int:
    """Hash of what a picture looks like: encoding it anew or resizing it changes few of the 64 bits.

    The picture is averaged over 8 rows of 9 equal cells, pixels on a border counting by the part that lies
    within, and turned grey. A bit is set where a cell is lighter than its left neighbour by more than one of 255
    levels; the first row comes first, in the highest bits. All of this is done in whole numbers, so the hash is the
    same on every machine. A picture without contrast has the hash 0. Mirrored, turned and cropped pictures have
    other hashes.

    Args:
        image: uint8 ``[3, h, w]``, RGB, or a Pillow image.
    """
    if isinstance(image, Image.Image):
        pixels = np.asarray(image.convert("RGB"))  # [h, w, 3]
    else:
        pixels = image.permute(1, 2, 0).numpy()
    height, width, _ = pixels.shape
    sums = _cell_sums(pixels)  # [8, 9], mean grey of a cell times 1000 * height * width
    lighter = sums[:, 1:] - sums[:, :-1] > 1000 * height * width  # [8, 8]
    return int.from_bytes(np.packbits(lighter).tobytes(), "big")


def colours_of(image: Tensor) -> NDArray[np.float32]:
    """Colours of a picture, uint8 ``[3, h, w]``, averaged over 16 x 16 cells: float32 ``[16, 16, 3]``, 0..255."""
    pixels = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    return np.asarray(pixels.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)


def are_alike(colours: NDArray[np.floating | np.uint8], others: NDArray[np.floating | np.uint8]) -> bool:
    """Whether two pictures of near hashes are one picture, by their `colours_of`."""
    return float(np.abs(colours.astype(np.float32) - others.astype(np.float32)).mean()) <= ALIKE


def _cell_sums(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum of thousandfold grey over each cell, pixels weighed by ROWS * COLUMNS times their part: ``[8, 9]``."""
    height, width, _ = pixels.shape
    kind = np.float32 if 255 * height < _EXACT else np.float64  # BLAS is fast, and exact on such numbers
    bands = np.empty((ROWS, width * 3), np.int64)
    for row in range(ROWS):
        first, last = row * height // ROWS, -(-(row + 1) * height // ROWS)
        weights = _parts(np.arange(first, last), ROWS, row, height).astype(kind)
        bands[row] = weights @ pixels[first:last].reshape(last - first, -1).astype(kind)
    grey = bands.reshape(ROWS, width, 3) @ _GREY  # [8, w]
    columns = _parts(np.arange(width)[:, None], COLUMNS, np.arange(COLUMNS), width)  # [w, 9]
    sums: NDArray[np.int64] = grey @ columns
    return sums


def _parts(pixel: NDArray[np.int64], cells: int, cell: int | NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """How much of a pixel, in 1/cells, lies in a cell of side/cells pixels."""
    overlap = np.minimum((pixel + 1) * cells, (cell + 1) * side) - np.maximum(pixel * cells, cell * side)
    return overlap.clip(0)


class NearDuplicates:
    """Finds pictures that repeat an earlier one; the first one stays.

    A hash is kept unless one that was kept before differs from it in at most ``threshold`` bits. Hashes have the
    indices 0, 1, ... in the order in which they come, kept or not.

    Args:
        threshold: greatest number of different bits, see `THRESHOLD`.

    Raises:
        ConfigError: the threshold is not between 0 and 63.
    """

    def __init__(self, threshold: int = THRESHOLD) -> None:
        if not 0 <= threshold < BITS:
            raise ConfigError(
                f"Near-duplicates differ in at most {threshold} of {BITS} bits: that is no threshold.",
                hint=f"Take one between 0 and 16; {THRESHOLD} is the default.",
            )
        self.threshold = threshold
        self._hashes = np.empty(1024, np.uint64)  # those that were kept
        self._indices = np.empty(1024, np.int64)  # their indices
        self._kept = self._seen = 0

    def __len__(self) -> int:
        """Hashes so far, kept or not."""
        return self._seen

    def find(self, value: int) -> int | None:
        """Index of the first kept hash that is near this one, None where there is none."""
        wanted = np.uint64(value)
        for start in range(0, self._kept, _BLOCK):
            block = self._hashes[start : min(start + _BLOCK, self._kept)]
            near = _bit_count(block ^ wanted) <= self.threshold
            first = int(near.argmax())
            if near[first]:
                return int(self._indices[start + first])
        return None

    def find_all(self, value: int) -> list[int]:
        """Indices of all kept hashes that are near this one, in their order."""
        near = _bit_count(self._hashes[: self._kept] ^ np.uint64(value)) <= self.threshold
        return [int(index) for index in self._indices[: self._kept][near]]

    def add(self, value: int) -> int | None:
        """Keep a hash unless it is near one that was kept.

        Returns:
            Index of the first kept hash near it; None where it was kept.
        """
        found = self.find(value)
        if found is None:
            self.keep(value)
        else:
            self._seen += 1
        return found

    def keep(self, value: int) -> int:
        """Keep a hash, whatever it is near: that of a validation image, which no picture may repeat.

        Returns:
            Its index.
        """
        self._append(np.array([value], np.uint64), np.array([self._seen]))
        self._seen += 1
        return self._seen - 1

    def add_all(self, values: Sequence[int] | NDArray[np.uint64]) -> NDArray[np.int64]:
        """The same as `add` for each of them in turn, many times as fast.

        Returns:
            int64 ``[n]``: index of the first kept hash near it, -1 where it was kept.
        """
        new = np.asarray(values, np.uint64)
        old = self._kept
        hashes = np.concatenate([self._hashes[:old], new])
        distinct, place = np.unique(hashes, return_index=True, return_inverse=True)[1:]
        ranked = np.sort(distinct)  # where each hash stands first
        pairs = _near_pairs(hashes[ranked], self.threshold)
        if pairs is None:
            found = (self.add(int(value)) for value in new)
            return np.array([-1 if index is None else index for index in found], np.int64)
        first = np.full(len(hashes), -1)  # of each hash that repeats another: where the first kept one stands
        for early, late in ranked[pairs].tolist():
            if first[late] < 0 and (early < old or first[early] < 0):
                first[late] = early
        model = distinct[place]
        again = np.flatnonzero(model != np.arange(len(hashes)))
        first[again] = np.where(first[model[again]] < 0, model[again], first[model[again]])
        indices = np.concatenate([self._indices[:old], self._seen + np.arange(len(new))])
        found_new = first[old:]
        fresh = found_new < 0
        self._append(new[fresh], indices[old:][fresh])
        self._seen += len(new)
        return np.where(fresh, -1, indices[found_new])

    def _append(self, hashes: NDArray[np.uint64], indices: NDArray[np.int64]) -> None:
        end = self._kept + len(hashes)
        if end > len(self._hashes):
            self._hashes = np.resize(self._hashes, 2 * end)
            self._indices = np.resize(self._indices, 2 * end)
        self._hashes[self._kept : end] = hashes
        self._indices[self._kept : end] = indices
        self._kept = end


def _near_pairs(hashes: NDArray[np.uint64], threshold: int) -> NDArray[np.int64] | None:
    """Pairs of different hashes within the threshold.

    Cut into ``threshold + 1`` pieces, two such hashes have one piece in common: only hashes that share one are
    compared (the pigeonhole principle, as in multi-index hashing).

    Args:
        hashes: distinct hashes.
        threshold: greatest number of different bits.

    Returns:
        int64 ``[p, 2]``, positions of the earlier and the later one, by the later, then by the earlier; None where
        so many share a piece that comparing each with all kept ones is cheaper.
    """
    number = len(hashes)
    edges = [BITS * piece // (threshold + 1) for piece in range(threshold + 2)]
    groups = [_sharing((hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)) for low, high in pairwise(edges)]
    if _DEARER * sum(int(left.sum()) for _, left in groups) > number * number / 2:
        return None
    codes = [np.empty(0, np.int64)]
    for order, left in groups:
        ordered = hashes[order]
        at = np.flatnonzero(left)  # [k], those with another one behind them that shares the piece
        step = 1
        while len(at):
            near = at[_bit_count(ordered[at] ^ ordered[at + step]) <= threshold]
            codes.append(order[near + step] * number + order[near])
            step += 1
            at = at[left[at] >= step]
    code = np.unique(np.concatenate(codes))
    return np.stack([code % number, code // number], axis=1)


def _sharing(pieces: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which equal pieces follow each other, the earlier first; how many equal ones follow each."""
    order = np.argsort(pieces, kind="stable")
    ordered = pieces[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the last of each group
    sizes = np.diff(ends, prepend=-1)
    return order, np.repeat(ends, sizes) - np.arange(len(pieces))


def _bit_count_by_sums(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Number of set bits, summed over pairs, fours and bytes: for NumPy 1, which has no `bitwise_count`."""
    pairs = values - ((values >> _ONE) & _PAIRS)
    fours = (pairs & _FOURS) + ((pairs >> _TWO) & _FOURS)
    counts: NDArray[np.uint64] = (((fours + (fours >> _FOUR)) & _BYTES) * _SUM) >> _TOP
    return counts


_ONE, _TWO, _FOUR, _TOP = (np.uint64(shift) for shift in (1, 2, 4, 56))
_PAIRS, _FOURS, _BYTES, _SUM = (np.uint64(int(byte * 8, 16)) for byte in ("55", "33", "0f", "01"))
_bit_count = getattr(np, "bitwise_count", _bit_count_by_sums)
