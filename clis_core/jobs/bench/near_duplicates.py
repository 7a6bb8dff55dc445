"""100,000 hashes with planted near-duplicates against comparing each with all before it: seconds and equality out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clis_core.data.near_duplicates import COLUMNS, ROWS, THRESHOLD, NearDuplicates
from clis_core.jobs.bench.timing import alternate, medians

HASHES, PLANTED, ROUNDS = 100_000, 0.1, 3


def run(scale: float = 1.0) -> dict[str, Any]:
    """Find the near-duplicates among 100,000 hashes, of which 10 % were made from an earlier one.

    Args:
        scale: multiplies the number of hashes.

    Returns:
        Seconds (medians, interleaved): ``ours`` and ``one_by_one`` (as pictures come in), ``peer`` (NumPy, each hash
        with all that were kept before it), ``ratio`` = peer / ours; ``equal``: whether all three find the same.
    """
    hashes = draw_hashes(max(2, round(HASHES * scale)))
    ways: dict[str, Callable[[NDArray[np.uint64]], NDArray[np.int64]]] = {
        "ours": lambda h: NearDuplicates().add_all(h),
        "one_by_one": _one_by_one,
        "peer": _row_by_row,
    }
    seconds, _, found = alternate({name: partial(way, hashes) for name, way in ways.items()}, ROUNDS, warm_up=0)
    median = medians(seconds)
    return {
        "name": "near-duplicates",
        **median,
        "ratio": median["peer"] / median["ours"],
        "equal": all(np.array_equal(found["peer"], other) for other in found.values()),
        "unit": "seconds",
        "peer_name": "numpy, row by row",
        "hashes": len(hashes),
        "duplicates": int((found["peer"] >= 0).sum()),
        "threshold": THRESHOLD,
    }


def draw_hashes(number: int, seed: int = 0) -> NDArray[np.uint64]:
    """Hashes whose neighbouring bits hang together as those of photographs do, some of them near an earlier one."""
    random = np.random.default_rng(seed)
    coarse = random.normal(size=(number, 3, 3))
    cells = _between(ROWS, 3) @ coarse @ _between(COLUMNS, 3).T + 0.3 * random.normal(size=(number, ROWS, COLUMNS))
    bits = np.diff(cells, axis=2) > 0  # [n, 8, 8]
    late = random.choice(np.arange(1, number), round(PLANTED * (number - 1)), replace=False)
    for k in np.sort(late):
        flips = random.choice(ROWS * ROWS, random.integers(0, 2 * THRESHOLD), replace=False)
        bits[k] = bits[random.integers(0, k)]
        bits[k].reshape(-1)[flips] ^= True
    return np.packbits(bits, axis=None).view(">u8").astype(np.uint64)


def _between(cells: int, knots: int) -> NDArray[np.float64]:
    """Weights of linear interpolation: ``[cells, knots]``."""
    weights: NDArray[np.float64] = 1 - np.abs(np.linspace(0, knots - 1, cells)[:, None] - np.arange(knots))
    return weights.clip(0)


def _one_by_one(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    duplicates = NearDuplicates()
    found = [duplicates.add(value) for value in hashes.tolist()]
    return np.array([-1 if index is None else index for index in found])


def _row_by_row(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Each hash with all that were kept before it; by a table of bytes where NumPy cannot count bits."""
    table = np.array([byte.bit_count() for byte in range(256)], np.uint8)
    count = getattr(np, "bitwise_count", lambda x: table[x.view(np.uint8).reshape(-1, 8)].sum(axis=1))
    kept, indices = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.int64)
    found = np.full(len(hashes), -1)
    size = 0
    for k, value in enumerate(hashes):
        near = np.flatnonzero(count(kept[:size] ^ value) <= THRESHOLD)
        if len(near):
            found[k] = indices[near[0]]
        else:
            kept[size], indices[size] = value, k
            size += 1
    return found
