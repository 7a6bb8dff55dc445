"""The exact post-processing equals torchvision's NMS over every candidate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms

from clis_core.batch import Detection
from clis_core.detectors.postprocess import MIN_SIDE, select


def every_pair(scores, boxes, threshold, iou, detections):
    """torchvision over all candidates; survivors of equal score in the order of region and class."""
    flat, flat_boxes = scores.reshape(-1), boxes.reshape(-1, 4)
    labels = torch.arange(1, scores.shape[1] + 1).repeat(len(scores))
    side = flat_boxes[:, 2:] - flat_boxes[:, :2]
    keep = ((flat > threshold) & (side >= MIN_SIDE).all(dim=1)).nonzero()[:, 0]
    flat, flat_boxes, labels = flat[keep], flat_boxes[keep], labels[keep]
    # The vanilla way, class by class: the offset way that small inputs get is exact only without rounding.
    kept = torch.zeros(len(flat), dtype=torch.bool)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        kept[members[batched_nms(flat_boxes[members], flat[members], torch.zeros_like(members), iou)]] = True
    index = kept.nonzero()[:, 0]
    index = index[flat[index].sort(descending=True, stable=True).indices][:detections]
    return Detection(flat_boxes[index], labels[index], flat[index])


@st.composite
def cases(draw):
    regions, classes = draw(st.integers(0, 40)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    corner = torch.rand(regions, classes, 2, generator=generator) * draw(st.sampled_from([5.0, 60.0]))
    side = torch.rand(regions, classes, 2, generator=generator) * 30 - draw(st.sampled_from([0.0, 3.0]))
    boxes = torch.cat((corner, corner + side), dim=-1)
    scores = torch.rand(regions, classes, generator=generator)
    levels = draw(st.sampled_from([0, 3, 20]))
    if levels:  # many ties
        scores = (scores * levels).round() / levels
    if draw(st.booleans()) and regions:  # doubled boxes: overlap of exactly 1
        boxes[regions // 2 :] = boxes[: regions - regions // 2].clone()
    return scores, boxes


@settings(max_examples=300, deadline=None)
@given(
    case=cases(),
    threshold=st.sampled_from([0.0, 1e-4, 0.3, 0.5]),
    iou=st.sampled_from([0.3, 0.5, 1.0]),
    detections=st.sampled_from([1, 5, 300]),
    first=st.sampled_from([None, 1, 7]),
)
def test_equals_nms_over_all_pairs(case, threshold, iou, detections, first):
    scores, boxes = case
    ours = select(
        scores,
        lambda r, c: boxes[r, c - 1],
        score_threshold=threshold,
        nms_iou=iou,
        detections=detections,
        first=first,
    )
    for mine, theirs in zip(ours[:3], every_pair(scores, boxes, threshold, iou, detections)[:3], strict=True):
        assert torch.equal(mine, theirs)


def test_looks_at_few_pairs_only():
    scores, boxes = torch.rand(300, 400), torch.rand(300, 400, 2) * 500
    boxes = torch.cat((boxes, boxes + 20), dim=-1)
    asked = []

    def boxes_of(regions, labels):
        asked.append(len(regions))
        return boxes[regions, labels - 1]

    found = select(scores, boxes_of, score_threshold=1e-4, nms_iou=0.5, detections=100)
    assert len(found.scores) == 100
    assert sum(asked) < 2000  # of 120,000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu():
    scores, boxes = torch.rand(100, 50), torch.rand(100, 50, 2) * 100
    boxes = torch.cat((boxes, boxes + 20), dim=-1)

    def run(device):
        s, b = scores.to(device), boxes.to(device)
        return select(s, lambda r, c: b[r, c - 1], score_threshold=0, nms_iou=0.5, detections=50)

    for cpu, gpu in zip(run("cpu")[:3], run("cuda")[:3], strict=True):
        assert torch.equal(cpu, gpu.cpu())
