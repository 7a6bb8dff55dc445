"""The benchmark of near-duplicates runs at a small scale, and all ways find the same."""

from __future__ import annotations

import numpy as np

from clis_core.jobs.bench import near_duplicates


def test_report() -> None:
    result = near_duplicates.run(scale=0.01)
    assert result["name"] == "near-duplicates"
    assert result["equal"] is True
    assert result["hashes"] == 1000
    assert 30 < result["duplicates"] < 100, "some of the planted ones are too far off, most are not"
    assert min(result[key] for key in ("ours", "one_by_one", "peer", "ratio")) > 0


def test_drawn_hashes_hang_together() -> None:
    hashes = near_duplicates.draw_hashes(2000)
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)
    below = (bits[:, 0] == bits[:, 8]).mean()
    assert 0.55 < below < 0.95, "one half where bits are drawn by themselves"
    assert len(np.unique(hashes)) > 1900
