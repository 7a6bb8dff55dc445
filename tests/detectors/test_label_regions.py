"""Regions by label, against plain loops over everything that the detector scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from clis_core.batch import RawImage, fit_size
from clis_core.detectors import label_regions as module
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.detectors.label_regions import LabelRegion, label_regions

HEADS = [
    {},
    {"class_agnostic": True},
    {"objectness": True},
    {"specialised": True},
    {"specialised": True, "objectness": True},
    {"specialised": True, "objectness": True, "class_agnostic": True},
]
SIZES = [(50, 80), (90, 40), (64, 64)]
CLASSES = 5

MakeDetector = Callable[..., FasterRCNN]


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


PICTURES = [picture(*size, seed=k) for k, size in enumerate(SIZES)]


def lively(detector: FasterRCNN, seed: int = 0, objectness: float = 0.0) -> FasterRCNN:
    """Weights whose scores, boxes and objectness differ from region to region."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (detector.head.fc_cls, detector.head.fc_reg, detector.head.fc_obj):
            if layer is not None:
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.5)
                layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * 0.5)
        if detector.head.fc_obj is not None:
            detector.head.fc_obj.bias.fill_(objectness)
    return detector


def resized(detector: FasterRCNN, pictures: list[Tensor]) -> list[RawImage]:
    short, long = detector.config.short_side, detector.config.long_side
    return [RawImage(x, fit_size(x.shape[1], x.shape[2], short, long)) for x in pictures]


@torch.no_grad()
def scored(detector: FasterRCNN) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of each picture: proposals, class probabilities, products with objectness, and the box of each class."""
    config = detector.config
    batch = detector.preprocess(resized(detector, PICTURES))
    features = detector.encoder(batch.pixels)
    rpn = config.rpn
    proposals = detector.rpn.propose(
        detector.rpn(batch.pixels, features), batch.sizes, rpn.before_nms, rpn.proposals, rpn.nms_iou
    )
    found = []
    for n, boxes in enumerate(proposals):
        pooled = detector.pool_regions([f[n : n + 1] for f in features], [boxes])
        embedded = detector.head.embed(pooled)
        probabilities = detector.head.fc_cls(embedded.cls).softmax(dim=1)[:, 1:]
        products = detector.head.scores(detector.head.fc_cls(embedded.cls), embedded.loc)
        of_class = [
            clip(
                decode(detector.head.offsets(embedded.loc, torch.full((len(boxes),), c)), boxes, ROI_WEIGHTS),
                batch.sizes[n],
            )
            for c in range(1, CLASSES + 1)
        ]
        height, width = batch.sizes[n]
        frame = torch.tensor([width, height, width, height])
        found.append((boxes / frame, probabilities, products, torch.stack(of_class, dim=1) / frame))
    return found


def by_loops(rule: str, label: int, boxes: Tensor, probability: Tensor, product: Tensor, of_class: Tensor) -> tuple:
    """(box, score of the label, rank of the label) by the rule, in plain loops."""
    best, region, kind = -1.0, 0, label - 1
    for r in range(len(boxes)):
        match rule:
            case "rank-first":
                options = [(float(product[r, label - 1]), label - 1)]
            case "max-score":
                options = [(float(product[r, c]), c) for c in range(CLASSES)]
            case _:
                sides = boxes[r, 2:] - boxes[r, :2]
                options = [(float(sides[0] * sides[1]), -1)]
        for value, c in options:
            if value > best:
                best, region, kind = value, r, c
    box = boxes[region] if rule == "max-size" else of_class[region, kind]
    rank = 1 + sum(float(p) > float(probability[region, label - 1]) for p in probability[region])
    return box, float(product[region, label - 1]), rank


@pytest.mark.parametrize("rule", ["rank-first", "max-score", "max-size"])
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_each_rule_in_loops(make_detector: MakeDetector, head: dict[str, bool], rule: str, seed: int) -> None:
    detector = lively(make_detector(classes=CLASSES, **head), seed)
    everything = scored(detector)
    assert min(len(boxes) for boxes, *_ in everything) > 20
    for labels in ([1, 2, 3], [5, 4, 1]):
        found = label_regions(detector, resized(detector, PICTURES), labels, rule)  # type: ignore[arg-type]
        for region, label, of_picture in zip(found, labels, everything, strict=True):
            box, score, rank = by_loops(rule, label, *of_picture)
            assert region.score == pytest.approx(score, rel=1e-4)
            assert region.rank == rank
            sides = (box[2:] - box[:2]) * 64
            if float(sides.min()) > 3:
                assert region.box is not None
                torch.testing.assert_close(region.box, box, atol=1e-4, rtol=0)
                assert region.box.dtype == torch.float32


@pytest.mark.parametrize("first", [1, 2, 7, 1000])
@pytest.mark.parametrize("objectness", [-6.0, 0.0, 6.0])
def test_looking_at_few_objectnesses_finds_the_best(
    make_detector: MakeDetector, monkeypatch: pytest.MonkeyPatch, first: int, objectness: float
) -> None:
    monkeypatch.setattr(module, "FIRST", first)
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=True), 1, objectness)
    for label in range(1, CLASSES + 1):
        found = label_regions(detector, resized(detector, PICTURES), [label] * 3)
        for region, of_picture in zip(found, scored(detector), strict=True):
            assert region.score == pytest.approx(by_loops("rank-first", label, *of_picture)[1], rel=1e-4)


def test_objectness_is_looked_at_no_more_often_than_needed(
    make_detector: MakeDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=True), 0, 20.0)  # all objects
    seen: list[int] = []
    assert detector.head.loc_2fc is not None
    detector.head.loc_2fc.register_forward_hook(lambda m, inputs, output: seen.append(len(output)))
    monkeypatch.setattr(module, "FIRST", 4)
    label_regions(detector, resized(detector, PICTURES), [1, 2, 3])
    assert seen == [3 * 4, 3]  # the best four of each picture, then the chosen ones for their boxes


def test_a_batch_is_its_pictures(make_detector: MakeDetector) -> None:
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=True))
    pictures, labels = [picture(64, 64, seed=s) for s in range(4)], [1, 5, 2, 2]
    together = label_regions(detector, resized(detector, pictures), labels)
    for one, image, label in zip(together, pictures, labels, strict=True):
        (alone,) = label_regions(detector, resized(detector, [image]), [label])
        assert alone.score == pytest.approx(one.score, rel=1e-4)
        assert alone.rank == one.rank
        torch.testing.assert_close(alone.box, one.box, atol=1e-4, rtol=0)


def test_the_rank_first_region_is_the_best_detection_of_its_class(make_detector: MakeDetector) -> None:
    """What the detector itself finds, where its limits cut nothing off."""
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=True))
    post = detector.config.postprocess.model_copy(update={"score_threshold": 0.0, "detections": 10_000})
    detector.config = detector.config.model_copy(update={"postprocess": post})
    with torch.no_grad():
        detections = detector(PICTURES)
    for label in range(1, CLASSES + 1):
        found = label_regions(detector, resized(detector, PICTURES), [label] * 3)
        for region, image, detection in zip(found, PICTURES, detections, strict=True):
            best = (detection.labels == label).nonzero()[0, 0]  # they come best first
            assert region.score == pytest.approx(float(detection.scores[best]), rel=1e-4)
            if region.box is not None:
                frame = torch.tensor([image.shape[2], image.shape[1]] * 2)
                torch.testing.assert_close(region.box * frame, detection.boxes[best], atol=1e-2, rtol=0)


def test_the_score_does_not_limit_the_choice(make_detector: MakeDetector) -> None:
    """A class that the detector hardly ever gives still has its best region (sec. IV-A3)."""
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=True))
    with torch.no_grad():
        detector.head.fc_cls.bias[2] -= 14.0  # label 2: far below the threshold of the post-processing
    assert detector.config.postprocess.score_threshold == 1e-4
    found = label_regions(detector, resized(detector, PICTURES), [2, 2, 2])
    assert all(0 < region.score < 1e-4 for region in found)
    assert all(region.rank > 1 for region in found)
    for region, of_picture in zip(found, scored(detector), strict=True):
        box, score, _ = by_loops("rank-first", 2, *of_picture)
        assert region.score == pytest.approx(score, rel=1e-3)
        if region.box is not None:
            torch.testing.assert_close(region.box, box, atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", ["rank-first", "max-score", "max-size"])
@pytest.mark.parametrize("counts", [(0, 40, 40), (40, 0, 3), (9, 40, 1), (0, 0, 0), (1, 1, 1), (7, 36, 33)], ids=str)
@pytest.mark.parametrize("objectness", [False, True])
def test_pictures_with_few_proposals_or_none(
    make_detector: MakeDetector,
    monkeypatch: pytest.MonkeyPatch,
    rule: Literal["rank-first", "max-score", "max-size"],
    counts: tuple[int, ...],
    objectness: bool,
) -> None:
    monkeypatch.setattr(module, "FIRST", 8)
    detector = lively(make_detector(classes=CLASSES, specialised=True, objectness=objectness))
    everything, propose = scored(detector), detector.rpn.propose
    monkeypatch.setattr(
        detector.rpn, "propose", lambda *a: [b[:count] for b, count in zip(propose(*a), counts, strict=True)]
    )
    labels = [1, 2, 3]
    found = label_regions(detector, resized(detector, PICTURES), labels, rule)
    for region, label, count, of_picture in zip(found, labels, counts, everything, strict=True):
        if not count:
            assert region == LabelRegion(None, 0.0, 0)
            continue
        box, score, rank = by_loops(rule, label, *(part[:count] for part in of_picture))
        assert (region.score, region.rank) == (pytest.approx(score, rel=1e-4), rank)
        if region.box is not None:
            torch.testing.assert_close(region.box, box, atol=1e-4, rtol=0)


@pytest.mark.parametrize("offset", [-1e9, math.nan])
def test_a_box_that_shows_nothing_is_none(make_detector: MakeDetector, offset: float) -> None:
    detector = lively(make_detector(classes=CLASSES))
    with torch.no_grad():
        detector.head.fc_reg.bias.fill_(offset)
    for region in label_regions(detector, resized(detector, PICTURES), [1, 2, 3]):
        assert region.box is None
        assert region.score > 0
        assert region.rank >= 1
    assert all(r.box is not None for r in label_regions(detector, resized(detector, PICTURES), [1, 2, 3], "max-size"))


def test_nothing_is_left_on_the_graph(make_detector: MakeDetector) -> None:
    detector = lively(make_detector(classes=CLASSES, objectness=True))
    (region,) = label_regions(detector, resized(detector, PICTURES[:1]), [1])
    assert region.box is not None
    assert not region.box.requires_grad
    assert isinstance(region.score, float)
    assert isinstance(region.rank, int)
