"""Pictures whose class is known go in; the region of each where that class is most likely comes out.

N pictures, R regions of all of them, L of the picture that has most, C classes. Boxes are xyxy in pixels.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clis_core.batch import RawImage
from clis_core.detectors.boxcoding import ROI_WEIGHTS, decode
from clis_core.detectors.build import Detector
from clis_core.detectors.dense import DenseDetector, DenseOutput
from clis_core.detectors.faster_rcnn import FasterRCNN
from clis_core.errors import ConfigError

Rule = Literal["rank-first", "max-score", "max-size"]

FIRST = 32
"""Regions of a picture whose objectness is looked at first."""
SMALLEST = 2.0
"""A box with a shorter side, in pixels of the resized picture, shows nothing."""


class LabelRegion(NamedTuple):
    """Where a picture's class is.

    Attributes:
        box: float32 ``[4]``, relative to the picture, 0..1; None where there is nothing sensible.
        score: of the picture's class in that region, 0..1.
        rank: of that class among all classes there, 1 is the best; 0 where there is no region.
    """

    box: Tensor | None
    score: float
    rank: int


class _Scored(NamedTuple):
    """Regions of N pictures, each of which has one or more.

    Attributes:
        boxes: ``[R, 4]``, xyxy in pixels of the resized picture.
        pooled: their features ``[R, channels, P, P]``.
        probabilities: of each class, ``[R, C]``.
        counts: N numbers of regions, whose sum is R.
    """

    boxes: Tensor
    pooled: Tensor
    probabilities: Tensor
    counts: list[int]


def check_rule(detector: Detector, rule: Rule) -> None:
    """Check that a detector can find regions by a rule.

    Raises:
        ConfigError: it cannot.
    """
    if rule == "max-size" and isinstance(detector, DenseDetector):
        raise ConfigError(
            "The rule max-size takes the largest proposal, and this detector, of kind "
            f"{detector.config.kind!r}, makes none.",
            hint="--rule rank-first, or --rule full-image",
        )


@torch.no_grad()
def label_regions(
    detector: Detector, images: list[RawImage], labels: list[int], rule: Rule = "rank-first"
) -> list[LabelRegion]:
    """One region for each picture.

    "rank-first" is CLIS, sec. IV-A3: of all regions, the one with the highest score of the picture's own class,
    whatever the other classes' scores; no threshold, no NMS, no limit on the number. "max-score" is the region with the
    highest score of any class, "max-size" the largest proposal (Zhou et al. 2022, Detic, sec. 3.2). The regions of a
    one-stage detector are the boxes of all its anchors.

    Args:
        detector: in inference mode.
        images: the pictures, each with the size in which the detector shall see it.
        labels: 1..C, one for each image.
        rule: which region.

    Raises:
        ConfigError: the detector has no such regions.
    """
    check_rule(detector, rule)
    batch = detector.preprocess(images)
    if isinstance(detector, DenseDetector):
        output = detector.output(batch.pixels, detector.encoder(batch.pixels))
        return [_of_anchors(detector, output, n, size, labels[n], rule) for n, size in enumerate(batch.sizes)]
    features = detector.encoder(batch.pixels)
    rpn = detector.config.rpn
    proposed = detector.rpn(batch.pixels, features)
    proposals = detector.rpn.propose(proposed, batch.sizes, rpn.before_nms, rpn.proposals, rpn.nms_iou)
    found = [LabelRegion(None, 0.0, 0)] * len(images)
    some = [i for i, boxes in enumerate(proposals) if len(boxes)]
    if some:
        pooled = detector.pool_regions(features, proposals)
        logits = detector.class_logits(detector.head.cls_2fc(pooled), features, proposals, batch.sizes, pooled)
        probabilities = detector.head.class_loss.scores(logits)
        scored = _Scored(torch.cat(proposals), pooled, probabilities, [len(proposals[i]) for i in some])
        sizes = [batch.sizes[i] for i in some]
        for i, region in zip(some, _choose(detector, scored, sizes, [labels[i] for i in some], rule), strict=True):
            found[i] = region
    return found


def _of_anchors(
    detector: DenseDetector, output: DenseOutput, image: int, size: tuple[int, int], label: int, rule: Rule
) -> LabelRegion:
    """The region of one picture of a batch; each anchor is scored for the classes that the rule looks at alone."""
    values, qualities = [], []
    for level in output.levels:
        logits = level.logits[image]  # [A_l, C]
        values.append(logits[:, label - 1, None] if rule == "rank-first" else logits.amax(dim=1, keepdim=True))
        qualities += [] if level.quality is None else [level.quality[image]]
    quality = torch.cat(qualities) if qualities else None
    best = detector.head.scores(torch.cat(values), quality)[:, 0].argmax()
    row = _logits(output, image, int(best))
    own = row[label - 1]
    score = detector.head.scores(own[None, None], None if quality is None else quality[best, None])
    box = detector.boxes_of(output, image, size)(best[None], row.argmax()[None] + 1)
    return _regions(box, [size], score[:, 0], 1 + (row > own).sum()[None])[0]


def _logits(output: DenseOutput, image: int, anchor: int) -> Tensor:
    """The class logits ``[C]`` of one anchor."""
    for level in output.levels:
        if anchor < level.logits.shape[1]:
            return level.logits[image, anchor]
        anchor -= level.logits.shape[1]
    raise IndexError(anchor)


def _choose(
    detector: FasterRCNN, scored: _Scored, sizes: list[tuple[int, int]], labels: list[int], rule: Rule
) -> list[LabelRegion]:
    """The regions of N pictures, each of which has some; one pass through the localisation side for all of them."""
    head, boxes, device = detector.head, scored.boxes, scored.boxes.device
    label = torch.tensor(labels, device=device)  # [N]
    picture = torch.repeat_interleave(torch.tensor(scored.counts, device=device))  # [R]
    own = scored.probabilities.gather(1, (label - 1)[picture][:, None])[:, 0]  # [R]
    kind = label
    match rule:
        case "rank-first":
            best = _argmax(detector, scored, own)  # [N], into R
        case "max-score":
            values, kinds = scored.probabilities.max(dim=1)
            best = _argmax(detector, scored, values)
            kind = kinds[best] + 1
        case "max-size":
            areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
            best = _first(scored) + _padded(areas, scored).argmax(dim=1)
    embedded = _localise(detector, scored.pooled[best])  # [N, D]
    score = own[best]
    if head.fc_obj is not None:
        score = score * head.fc_obj(embedded)[:, 0].float().sigmoid()
    rank = 1 + (scored.probabilities[best] > own[best, None]).sum(dim=1)
    box = boxes[best]
    if rule != "max-size":
        box = decode(head.offsets(embedded, kind).float(), box, ROI_WEIGHTS)
    return _regions(box, sizes, score, rank)


def _regions(box: Tensor, sizes: list[tuple[int, int]], score: Tensor, rank: Tensor) -> list[LabelRegion]:
    """N regions of their boxes ``[N, 4]`` in pixels of resized pictures, scores and ranks ``[N]``."""
    frame = torch.tensor([(w, h, w, h) for h, w in sizes], dtype=box.dtype, device=box.device)  # [N, 4]
    box = torch.minimum(box.clamp(min=0), frame)
    # Written so that a box that is not finite shows nothing as well.
    sensible = ((box[:, 2:] - box[:, :2]) >= SMALLEST).all(dim=1)
    relative = (box / frame).clamp(0, 1).cpu()
    rows = zip(relative, sensible.tolist(), score.tolist(), rank.tolist(), strict=True)
    return [LabelRegion(one if shows else None, value, place) for one, shows, value, place in rows]


def _argmax(detector: FasterRCNN, scored: _Scored, values: Tensor) -> Tensor:
    """The region of each picture with the highest value times objectness: int64 ``[N]``, into R.

    Objectness is at most 1, so that regions below the best product found so far need not be looked at.

    Args:
        detector: gives the objectness.
        scored: the regions.
        values: ``[R]``, 0 or more.
    """
    head, first = detector.head, _first(scored)
    by_picture = _padded(values, scored)  # [N, L]
    if head.fc_obj is None:
        return first + by_picture.argmax(dim=1)
    values, order = by_picture.sort(dim=1, descending=True)
    best = values.new_full((len(values),), -1.0)
    region = first.clone()
    rows = torch.arange(len(values), device=values.device)  # pictures that are not settled
    start, stop = 0, FIRST
    while len(rows):
        columns = order[rows, start:stop]  # [n, k]
        # Where a picture has fewer regions, its first one stands in; its value there is -1.
        chosen = first[rows, None] + torch.where(values[rows, start:stop] >= 0, columns, 0)
        objectness = head.fc_obj(_localise(detector, scored.pooled[chosen.flatten()])).float().sigmoid()
        product, place = (values[rows, start:stop] * objectness.view(columns.shape)).max(dim=1)
        better = product > best[rows]
        best[rows[better]] = product[better]
        region[rows[better]] = chosen[better, place[better]]
        rows = rows[best[rows] < values[rows, stop]] if stop < values.shape[1] else rows[:0]
        start, stop = stop, min(4 * stop, values.shape[1])
    return region


def _first(scored: _Scored) -> Tensor:
    """The first region of each picture, int64 ``[N]``."""
    counts = torch.tensor(scored.counts, device=scored.boxes.device)
    return counts.cumsum(0) - counts


def _padded(values: Tensor, scored: _Scored) -> Tensor:
    """Values of regions ``[R]`` by picture, ``[N, L]``; -1 behind a picture's last."""
    return pad_sequence(list(torch.split(values, scored.counts)), batch_first=True, padding_value=-1.0)


def _localise(detector: FasterRCNN, pooled: Tensor) -> Tensor:
    """The localisation side's ``[R, D]``."""
    branch = detector.head.loc_2fc or detector.head.cls_2fc
    return branch(pooled)  # type: ignore[no-any-return]
