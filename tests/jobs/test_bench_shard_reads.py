"""The benchmark of shards runs at a small scale, and finds all readers in agreement."""

from __future__ import annotations

import pytest

from clis_core.jobs.bench import shard_reads


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_reads, "ROUNDS", 1)
    monkeypatch.setattr(shard_reads, "DISTINCT", 6)
    result = shard_reads.run(0.01)
    assert result["name"] == "shard-reads"
    assert result["equal"] is True
    assert (result["samples"], result["decoded"]) == (61, 10)
    rates = ("ours", "peer", "random", "tarfile_pictures", "stream", "tarfile", "written")
    assert min(result[key] for key in (*rates, "ratio", "random_ratio", "stream_ratio")) > 0
