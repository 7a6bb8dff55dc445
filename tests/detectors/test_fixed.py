"""The graph of fixed shapes finds what the detector finds, and says when it cannot know."""

import pytest
import torch

from clis_core.batch import Detection, ImageBatch, RawImage
from clis_core.detectors.fixed import FixedDetector, TorchKernels, candidates_needed
from tests.detectors.test_faster_rcnn import picture

ALL = 40 * 5  # proposals x classes of the small detector


def onnx_kernels():
    pytest.importorskip("onnxscript")
    from clis_core.detectors.export.onnx_kernels import OnnxKernels

    return OnnxKernels()


@pytest.fixture(params=["torch", "onnx"])
def kernels(request):
    return TorchKernels() if request.param == "torch" else onnx_kernels()


@pytest.fixture
def sharp(make_detector):
    """A small detector whose scores differ as a trained one's do."""

    def make(**head):
        detector = make_detector(**head)
        torch.manual_seed(3)
        torch.nn.init.normal_(detector.head.fc_cls.weight, std=0.3)
        torch.nn.init.normal_(detector.head.fc_reg.weight, std=0.05)
        torch.nn.init.normal_(detector.rpn.head.bbox_pred.weight, std=0.05)
        torch.nn.init.normal_(detector.rpn.head.cls_logits.weight, std=0.3)
        return detector

    return make


def framed(detector, images, frame):
    """Images that lie at the top left of a frame: as the detector takes them, and as the graph does."""
    sizes = [(int(x.shape[1]), int(x.shape[2])) for x in images]
    pixels = torch.zeros(len(images), 3, *frame).contiguous(memory_format=torch.channels_last)
    out = torch.full((len(images), 3, *frame), 77, dtype=torch.uint8)  # what lies outside must not matter
    for place, canvas, image, (h, w) in zip(pixels, out, images, sizes, strict=True):
        place[:, :h, :w] = detector.preprocess([RawImage(image, (h, w))]).pixels[0, :, :h, :w]
        canvas[:, :h, :w] = image
    return ImageBatch(pixels, sizes), (out, torch.tensor(sizes))


def found(result, index):
    boxes, labels, scores, _ = (x[index] for x in result[:4])
    there = scores > 0
    assert not boxes[~there].any()
    assert not labels[~there].any()
    return Detection(boxes[there], labels[there], scores[there])


@pytest.mark.parametrize("head", [{}, {"specialised": True, "objectness": True}, {"class_agnostic": True}])
@pytest.mark.parametrize("frame", [(64, 96), (128, 160)])
def test_equals_the_detector(sharp, kernels, head, frame):
    detector = sharp(**head)
    images = [picture(64, 96), picture(50, 80, seed=1), picture(30, 90, seed=2)]
    batch, inputs = framed(detector, images, frame)
    graph = FixedDetector(detector, ALL, kernels)
    with torch.no_grad():
        expected, result = detector.detect(batch), graph(*inputs)
    assert result.certain.all()
    for index, reference in enumerate(expected):
        mine = found(result, index)
        assert 5 < len(mine.scores) == len(reference.scores)
        torch.testing.assert_close(mine.boxes, reference.boxes, atol=1e-3, rtol=1e-4)
        assert torch.equal(mine.labels, reference.labels)
        torch.testing.assert_close(mine.scores, reference.scores, atol=1e-5, rtol=1e-4)


def test_both_kinds_of_kernels_keep_the_same_boxes():
    kernels = onnx_kernels()
    torch.manual_seed(0)
    corner = torch.rand(3, 200, 2) * 60
    boxes = torch.cat((corner, corner + torch.rand(3, 200, 2) * 40), dim=2)
    valid, labels = torch.rand(3, 200) > 0.2, torch.randint(1, 4, (3, 200))
    kept = kernels.keep(boxes, valid, 0.5)
    assert torch.equal(kept, TorchKernels().keep(boxes, valid, 0.5))
    by_class = kernels.keep_by_class(boxes, valid, labels, 3, 0.5)
    assert torch.equal(by_class, TorchKernels().keep_by_class(boxes, valid, labels, 3, 0.5))
    assert (by_class & ~valid).sum() == 0
    assert kept.sum() < by_class.sum() < valid.sum()


def test_too_few_candidates_are_told(sharp, kernels):
    """Certain exactly where the K best pairs decide: checked against the detector for every K."""
    detector = sharp()
    detector.config = detector.config.model_copy(
        update={"postprocess": detector.config.postprocess.model_copy(update={"detections": 12})}
    )
    batch, inputs = framed(detector, [picture(64, 96)], (64, 96))
    with torch.no_grad():
        scored = detector.score(batch)
        expected = detector.select(scored, batch.sizes)[0]
        needed = candidates_needed(scored.scores, expected, detector.config.postprocess)
        assert 12 < needed < ALL
        for count in (12, needed - 2, needed, ALL):
            result = FixedDetector(detector, count, kernels)(*inputs)
            same = torch.equal(found(result, 0).labels, expected.labels)
            assert bool(result.certain[0]) == (count >= needed)
            assert same or not result.certain[0]


def test_few_detections_need_every_pair_above_the_threshold(sharp):
    detector = sharp()
    post = detector.config.postprocess.model_copy(update={"score_threshold": 0.4})
    detector.config = detector.config.model_copy(update={"postprocess": post})
    batch, inputs = framed(detector, [picture(64, 96)], (64, 96))
    with torch.no_grad():
        scored = detector.score(batch)
        expected = detector.select(scored, batch.sizes)[0]
        needed = candidates_needed(scored.scores, expected, post)
        assert needed == int((scored.scores > 0.4).sum()) + 1 > 3
        assert FixedDetector(detector, needed, TorchKernels())(*inputs).certain.all()
        assert not FixedDetector(detector, needed - 2, TorchKernels())(*inputs).certain.any()


def test_without_the_last_nms_the_candidates_come_out(sharp):
    detector = sharp()
    batch, inputs = framed(detector, [picture(64, 96)], (64, 96))
    with torch.no_grad():
        result = FixedDetector(detector, 50, TorchKernels(), nms=False)(*inputs)
        flat = detector.score(batch).scores.flatten().sort(descending=True).values
    assert result.boxes.shape == (1, 50, 4)
    torch.testing.assert_close(result.scores[0], flat[:50], atol=1e-5, rtol=1e-4)


def test_nothing_to_find(sharp, kernels):
    detector = sharp()
    post = detector.config.postprocess.model_copy(update={"score_threshold": 0.9999})
    detector.config = detector.config.model_copy(update={"postprocess": post})
    _, inputs = framed(detector, [picture(64, 96)], (64, 96))
    with torch.no_grad():
        result = FixedDetector(detector, 20, kernels)(*inputs)
    assert not result.scores.any()
    assert not result.labels.any()
    assert result.certain.all()


def test_the_detector_stays_as_it_was(sharp):
    detector = sharp()
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    FixedDetector(detector, 20, TorchKernels(), half=True)
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())
    assert all(v.dtype == before[k].dtype for k, v in detector.state_dict().items())
