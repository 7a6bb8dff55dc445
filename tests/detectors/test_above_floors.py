"""Detections above a floor of each class: beside the ordinary ones, without a cap, whatever the floors are."""

import pytest
import torch

from clis_core.detectors.above_floors import detect_above_floors

HEADS = [{}, {"specialised": True, "objectness": True}, {"class_agnostic": True}]


def pictures():
    generator = torch.Generator().manual_seed(3)
    return [torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=generator) for h, w in ((50, 80), (90, 40))]


def assert_equal(a, b):
    for left, right in zip(a, b, strict=True):
        assert (left is None and right is None) or torch.equal(left, right)


@pytest.mark.parametrize("head", HEADS)
def test_the_ordinary_detections_are_the_detector_s_own(make_detector, head):
    detector = make_detector(**head)
    with torch.inference_mode():
        own = detector(pictures())
        found = detect_above_floors(detector, pictures(), torch.full((5,), -torch.inf))
    for expected, (ordinary, _) in zip(own, found, strict=True):
        assert_equal(ordinary, expected)


@pytest.mark.parametrize("head", HEADS)
def test_all_are_what_a_cap_that_is_never_reached_gives(make_detector, head):
    detector = make_detector(**head)
    post = detector.config.postprocess
    with torch.inference_mode():
        found = detect_above_floors(detector, pictures(), torch.full((5,), -torch.inf))
        detector.config = detector.config.model_copy(
            update={"postprocess": post.model_copy(update={"detections": 100_000})}
        )
        uncapped = detector(pictures())
    for expected, (_, every) in zip(uncapped, found, strict=True):
        assert torch.equal(every.labels, expected.labels)
        torch.testing.assert_close(every.scores, expected.scores)
        torch.testing.assert_close(every.boxes, expected.boxes)


def test_a_cap_of_the_config_does_not_reach_them(make_detector):
    detector = make_detector()
    post = detector.config.postprocess.model_copy(update={"detections": 3})
    detector.config = detector.config.model_copy(update={"postprocess": post})
    with torch.inference_mode():
        for ordinary, every in detect_above_floors(detector, pictures(), torch.full((5,), -torch.inf)):
            assert len(ordinary.scores) == 3
            assert len(every.scores) > 30


def test_floors_take_detections_away_and_change_no_other(make_detector):
    detector = make_detector()
    with torch.inference_mode():
        whole = [every for _, every in detect_above_floors(detector, pictures(), torch.full((5,), -torch.inf))]
        scores = torch.cat([w.scores for w in whole])
        labels = torch.cat([w.labels for w in whole])
        floors = torch.tensor([scores[labels == c].quantile(c / 6).item() for c in range(1, 5)] + [2.0])
        floors[0] = scores[labels == 1].sort().values[3]  # a score that is there goes with its floor
        found = detect_above_floors(detector, pictures(), floors)
    for before, (_, after) in zip(whole, found, strict=True):
        kept = before.scores > floors[before.labels - 1]
        assert 0 < kept.sum() < len(kept)
        assert_equal(after, before.only(kept))
