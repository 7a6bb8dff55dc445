"""The benchmark of big data runs at a small scale: each picture once, the same from a bad server, few files open."""

from __future__ import annotations

import pytest

from clis_core.jobs.bench import big_data


@pytest.mark.slow
def test_report() -> None:
    result = big_data.run(0.01)
    assert result["name"] == "big-data"
    assert result["samples"] == 12_400
    assert result["order"]["once"]
    assert result["order"]["the_same_from_any_position"]
    assert result["few_files"]["open_files"] <= big_data.FEW_FILES // 4
    assert result["remote"]["same"]
    assert sum(result["remote"]["faults"].values()) > 0
    assert result["loading"]["worker_mb"] > 0
