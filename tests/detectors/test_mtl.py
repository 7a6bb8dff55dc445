"""Refinement by a region's surroundings: in plain loops, in the exported graph, and in what finds regions."""

import pytest
import torch

from clis_core.batch import RawImage
from clis_core.config.class_loss import EqlLoss, SeesawLoss
from clis_core.detectors.fixed import FixedDetector, TorchKernels
from clis_core.detectors.label_regions import label_regions
from tests.detectors.mtl import HEADS, mtl_detector
from tests.detectors.test_faster_rcnn import picture
from tests.detectors.test_fixed import ALL, found, framed, onnx_kernels


def test_windows_by_hand():
    heads = mtl_detector(window=True, refine=True).mtl
    boxes, frame = torch.tensor([[40.0, 20, 60, 40], [0, 0, 100, 80]]), torch.tensor([[0.0, 0, 100, 80]])
    windows = heads.surroundings(boxes, frame)
    assert windows.tolist() == [
        [30, 15, 70, 50],
        [20, 10, 80, 60],
        [10, 5, 90, 70],
        [0, 0, 100, 80],
        [0, 0, 100, 80],
        [0, 0, 100, 80],
        [0, 0, 100, 80],
    ]
    own, around = torch.tensor([[1.0], [2]]), torch.arange(3.0, 10)[:, None]
    assert heads.windows_of(own, around).tolist() == [[1, 3, 4, 5, 9], [2, 6, 7, 8, 9]]


def in_loops(detector, features, regions, sizes):
    """Refined logits, one region after the other."""
    heads, rows = detector.mtl, []
    for image, (boxes, (height, width)) in enumerate(zip(regions, sizes, strict=True)):

        def pooled(box, image=image):
            return detector.pool_regions(features, [box[None] if n == image else box[:0, None].expand(0, 4)
                                                    for n in range(len(regions))])  # fmt: skip

        near = [heads.closeness(pooled(box))[0] for box in boxes] if heads.closeness else []
        for box in boxes:
            logits = detector.head.fc_cls(detector.head.cls_2fc(pooled(box)))[0]
            said = []
            for i in range(heads.steps + 1) if heads.window else ():
                part = i / heads.steps
                window = (1 - part) * box + part * torch.tensor([0.0, 0, width, height])
                said.append(heads.window(pooled(window))[0])
            if near:
                said.append(torch.stack(near).mean(dim=0))
            rows.append(logits + heads.fc_refine(torch.cat([*said, logits])))
    return torch.stack(rows)


@pytest.mark.parametrize("heads", HEADS)
def test_refinement_in_loops(heads):
    detector = mtl_detector(refine=True, windows=4, **HEADS[heads])
    sizes = [(64, 96), (50, 80)]
    batch = detector.preprocess([RawImage(picture(h, w, seed=h), (h, w)) for h, w in sizes])
    regions = [torch.tensor([[3.0, 5, 40, 30], [20, 20, 90, 60]]), torch.tensor([[10.0, 10, 30, 49]])]
    with torch.no_grad():
        features = detector.encoder(batch.pixels)
        pooled = detector.pool_regions(features, regions)
        got = detector.class_logits(detector.head.cls_2fc(pooled), features, regions, sizes, pooled)
        torch.testing.assert_close(got, in_loops(detector, features, regions, sizes), atol=1e-4, rtol=1e-4)
        assert (got - detector.head.fc_cls(detector.head.cls_2fc(pooled))).abs().max() > 0.1


def test_images_without_regions_do_not_spoil_others():
    detector = mtl_detector(refine=True, window=True, closeness=True)
    features = detector.encoder(torch.rand(2, 3, 64, 96))
    boxes = [torch.zeros(0, 4), torch.tensor([[3.0, 5, 40, 30]])]
    pooled = detector.pool_regions(features, boxes)
    for regions in (boxes, [boxes[0], boxes[0]]):
        rows = pooled[: sum(map(len, regions))]
        got = detector.class_logits(detector.head.cls_2fc(rows), features, regions, [(64, 96)] * 2, rows)
        assert got.shape == (len(rows), 6)
        assert got.isfinite().all()


def test_it_begins_as_the_identity_and_only_the_residue_has_a_gradient():
    detector = mtl_detector(refine=True, window=True, closeness=True)
    heads = detector.mtl
    logits = torch.randn(3, 6, requires_grad=True)
    said = [torch.randn(3, 30, requires_grad=True), torch.randn(3, 5, requires_grad=True)]
    heads.refined(logits, said).sum().backward()
    assert (logits.grad == 1).all()
    assert said[0].grad is None
    assert said[1].grad is None
    assert heads.fc_refine.weight.grad.abs().sum() > 0
    plain = type(heads)(detector.config.mtl, 144, 5, 6)
    assert torch.equal(plain.refined(logits, said), logits)


@pytest.mark.parametrize("kernels", ["torch", "onnx"])
@pytest.mark.parametrize("heads", HEADS)
def test_the_exported_graph_refines_likewise(kernels, heads):
    head = {"specialised": True, "objectness": True}
    detector = mtl_detector(refine=True, head=head, loss=SeesawLoss() if heads == "window" else None, **HEADS[heads])
    batch, inputs = framed(detector, [picture(64, 96), picture(50, 80, seed=1), picture(30, 90, seed=2)], (96, 128))
    graph = FixedDetector(detector, ALL, TorchKernels() if kernels == "torch" else onnx_kernels())
    with torch.no_grad():
        expected, result = detector.detect(batch), graph(*inputs)
    for index, reference in enumerate(expected):
        mine = found(result, index)
        assert 5 < len(mine.scores) == len(reference.scores)
        torch.testing.assert_close(mine.boxes, reference.boxes, atol=1e-3, rtol=1e-4)
        assert torch.equal(mine.labels, reference.labels)
        torch.testing.assert_close(mine.scores, reference.scores, atol=1e-5, rtol=1e-4)


def test_regions_of_a_label_are_found_by_refined_scores():
    detector = mtl_detector(refine=True, window=True, closeness=True, head={"objectness": True})
    image = RawImage(picture(64, 96), (64, 96))
    with torch.no_grad():
        scores = detector.score(detector.preprocess([image])).scores  # [R, C]
    for label in (1, 4):
        region = label_regions(detector, [image], [label])[0]
        assert region.score == pytest.approx(float(scores[:, label - 1].max()), rel=1e-4)


@pytest.mark.parametrize("loss", [SeesawLoss(), EqlLoss()], ids=lambda loss: loss.kind)
def test_as_many_logits_as_the_class_loss_has(loss):
    detector = mtl_detector(refine=True, window=True, loss=loss)
    assert detector.mtl.fc_refine.out_features == detector.head.class_loss.num_logits
    assert len(detector([picture(64, 96)])[0].scores) > 0
