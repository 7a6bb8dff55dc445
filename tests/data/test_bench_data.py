"""The benchmarks of this part run at any size, without any data, and find both sides equal."""

from __future__ import annotations

import pytest

from clis_core.jobs.bench import annotations, loading


@pytest.mark.slow
def test_annotations() -> None:
    result = annotations.run(0.001)
    assert result["name"] == "annotations"
    assert result["equal"] is True
    assert (result["images"], result["boxes"]) == (100, 1270)
    assert min(result[k] for k in ("ours", "peer", "ratio", "second")) > 0


@pytest.mark.slow
def test_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "ROUNDS", 1)
    monkeypatch.setattr(loading, "FILES", 20)
    result = loading.run(0.02, workers=1)
    assert result["name"] == "loading"
    assert result["equal"] is True
    assert result["images"] == 2 * loading.BATCH
    assert min(result[k] for k in ("ours", "peer", "ratio", "cpu_ratio", "inline", "with_resize")) > 0
