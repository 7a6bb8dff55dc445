"""The benchmarks of the image-level side run at a small scale, and find both sides in agreement."""

from __future__ import annotations

from types import ModuleType

import pytest

from clis_core.jobs.bench import clis_step, gen_regions, queue


@pytest.mark.slow
@pytest.mark.parametrize("module", [clis_step, gen_regions, queue], ids=lambda module: module.__name__)
def test_report(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUNDS", 1)
    result = module.run(0.1)
    assert result["name"] == module.__name__.rpartition(".")[2].replace("_", "-")
    assert result["equal"] is True
    assert min(result[key] for key in ("ours", "peer", "ratio")) > 0
    if module is clis_step:
        assert list(result["by_s_and_t"]) == [f"s={s} t={t}" for s, t in clis_step.PAPER]
        assert min(value for row in result["by_s_and_t"].values() for value in row.values()) > 0
    if module is queue:
        kept = [row["kept_mb"] for row in result["by_pairs"].values()]
        assert kept == sorted(kept)
        assert result["queue_mb"] == pytest.approx(11_571 * (128 * 4 + 8) / 1e6, rel=1e-3)


def test_pictures_are_as_the_loader_makes_them() -> None:
    data = clis_step.draw_batch((96, 128), 2)
    made = clis_step.with_pictures(data, 8, 2, 64, 1203)
    for before, after, companions in zip(data.targets, made.targets, made.companions, strict=True):
        assert [m.pixels.shape for m in companions.mosaics] == [(3, 64, 64)] * 2
        assert len(companions.patches) == 2
        assert len(after.boxes) == len(before.boxes) + 2
        for mosaic in companions.mosaics:
            assert float(mosaic.regions.min()) >= 0
            assert float(mosaic.regions.max()) <= 64
