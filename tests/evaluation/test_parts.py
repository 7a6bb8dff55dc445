"""Detections in parts on disk: joined they are the very file of all at once; other plans start anew."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clis_core.evaluation.detections import DetectionBuilder, Detections
from clis_core.evaluation.fixed import top_per_class
from clis_core.evaluation.parts import Parts
from clis_core.jobs.bench.lvis_eval import synthetic_detections, synthetic_truth


def some(images: int, per_image: int, seed: int = 0) -> Detections:
    found = synthetic_detections(synthetic_truth(images, 8, seed), per_image, seed)
    return replace(found, scores=np.round(found.scores, 1))  # many ties


def of_images(found: Detections, images: range) -> Detections:
    return found.only(np.isin(found.image_ids, [3 * (i + 1) for i in images]))


def fill(parts: Parts, found: Detections) -> None:
    for n in parts.missing():
        part = of_images(found, parts.images_of(n))
        parts.write(n, part, part if parts.every else None)


@pytest.mark.parametrize("images", [1, 4, 5, 12])
@pytest.mark.parametrize("per_image", [0, 9])
def test_joined_parts_are_the_file_of_all_at_once(tmp_path: Path, images: int, per_image: int) -> None:
    found = some(images, per_image) if per_image else DetectionBuilder().build()
    parts = Parts(tmp_path / "parts", images, 4)
    parts.begin({})
    fill(parts, found)
    parts.join(tmp_path / "joined.npz", {"step": 7})
    found.save(tmp_path / "whole.npz", meta={"step": 7})
    assert (tmp_path / "joined.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["joined.npz", "parts", "whole.npz"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), images=st.integers(1, 9), size=st.integers(1, 4), most=st.integers(1, 30))
def test_the_best_of_each_class(tmp_path: Path, seed: int, images: int, size: int, most: int) -> None:
    found = some(images, 12, seed)
    parts = Parts(tmp_path / f"{seed}-{images}-{size}-{most}", images, size, every=True)
    parts.begin({})
    fill(parts, found)
    ids = sorted(set(found.category_ids.tolist()) | {0, 99})
    parts.join_best(tmp_path / "best.npz", {}, ids, most)
    found.only(top_per_class(found, most)).save(tmp_path / "expected.npz", meta={})
    assert (tmp_path / "best.npz").read_bytes() == (tmp_path / "expected.npz").read_bytes()


def test_parts_of_the_same_plan_are_kept_and_others_are_not(tmp_path: Path) -> None:
    found, parts = some(10, 5), Parts(tmp_path / "parts", 10, 4)
    assert parts.begin({"detector": "a"}) == 0
    assert parts.missing() == [0, 1, 2]
    parts.write(1, of_images(found, parts.images_of(1)), None)
    assert parts.begin({"detector": "a"}) == 1
    assert parts.missing() == [0, 2]
    for other in (
        lambda: parts.begin({"detector": "b"}),
        lambda: replace(parts, size=2).begin({"detector": "a"}),
        lambda: replace(parts, images=11).begin({"detector": "a"}),
        lambda: replace(parts, every=True).begin({"detector": "a"}),
    ):
        parts.begin({"detector": "a"})
        parts.write(1, of_images(found, parts.images_of(1)), None)
        assert other() == 0
        assert not parts.file(1).exists()


def test_a_part_whose_second_file_alone_is_there_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, parts = some(3, 5), Parts(tmp_path / "parts", 3, 4, every=True)
    parts.begin({})
    real = Detections.save

    def killed(self: Detections, path: Path, **options: object) -> None:
        if path == parts.file(0):
            raise KeyboardInterrupt
        real(self, path)

    monkeypatch.setattr(Detections, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        parts.write(0, found, found)
    assert parts.every_file(0).exists()
    assert parts.missing() == [0]
