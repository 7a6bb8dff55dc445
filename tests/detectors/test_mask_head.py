"""The mask head: masks of the final detections, of their own classes, and nothing else changed."""

import pytest
import torch
from torchvision.models.detection.roi_heads import maskrcnn_inference

from clis_core.config.detector import MaskConfig, RetinaNetConfig, finds_masks
from clis_core.detectors.above_floors import detect_above_floors
from clis_core.detectors.build import build_detector
from tests.detectors.conftest import SMALL
from tests.detectors.test_faster_rcnn import picture

MASK = {"enabled": True, "convs": 2, "channels": 8, "pool": 5}
HEADS = [{}, {"specialised": True, "objectness": True}, {"class_agnostic": True}]
IMAGES = [picture(50, 80), picture(90, 40, seed=1)]


def masked_detector(mask=None, **head):
    torch.manual_seed(0)
    config = SMALL.model_copy(
        update={"head": SMALL.head.model_copy(update=head), "mask": MaskConfig(**{**MASK, **(mask or {})})}
    )
    return build_detector(config, 5).eval()


@pytest.mark.parametrize("head", HEADS)
def test_boxes_are_those_of_the_detector_without(make_detector, head):
    plain, masked = make_detector(**head), masked_detector(**head)
    with torch.no_grad():
        for without, found in zip(plain(IMAGES), masked(IMAGES), strict=True):
            assert without.masks is None
            assert all(torch.equal(a, b) for a, b in zip(without[:3], found[:3], strict=True))
            assert found.masks.shape == (len(found.scores), 10, 10)
            assert 0 < found.masks.min() < found.masks.max() < 1
    assert plain.state_dict().keys() == {k for k in masked.state_dict() if not k.startswith("mask_head.")}


@pytest.mark.parametrize("agnostic", [False, True])
def test_masks_are_torchvisions(agnostic):
    """All classes' masks by torchvision's own modules, of which its `maskrcnn_inference` takes the detections'."""
    detector = masked_detector({"class_agnostic": agnostic})
    head = detector.mask_head
    torch.nn.init.normal_(head.predictor.mask_fcn_logits.weight, std=0.5)
    torch.nn.init.normal_(head.predictor.mask_fcn_logits.bias, std=0.5)
    batch = detector.preprocess.fitted(IMAGES, 64, 128)
    with torch.no_grad():
        features = detector.encoder(batch.pixels)
        found = detector.detect(batch)
        pooled = head.pool(features[:-1], [f.boxes for f in found])
        every = head.predictor(head.convs(pooled))
        labels = [torch.zeros_like(f.labels) if agnostic else f.labels - 1 for f in found]
        expected = maskrcnn_inference(every, labels)
    assert every.shape[1] == (1 if agnostic else 5)
    for one, theirs in zip(found, expected, strict=True):
        assert len(one.scores) > 5
        torch.testing.assert_close(one.masks, theirs[:, 0])


def test_nothing_found():
    detector = masked_detector()
    post = detector.config.postprocess.model_copy(update={"score_threshold": 0.9999})
    detector.config = detector.config.model_copy(update={"postprocess": post})
    with torch.no_grad():
        found = detector(IMAGES)
    assert [f.masks.shape for f in found] == [(0, 10, 10)] * 2


def test_without_a_cap_the_ordinary_detections_have_their_masks():
    detector = masked_detector()
    with torch.no_grad():
        own = detector(IMAGES)
        found = detect_above_floors(detector, IMAGES, torch.full((5,), -torch.inf))
    for expected, (ordinary, every) in zip(own, found, strict=True):
        assert torch.equal(ordinary.masks, expected.masks)
        assert every.masks is None


def test_which_detectors_find_masks():
    assert not finds_masks(SMALL)
    assert finds_masks(masked_detector().config)
    assert not finds_masks(RetinaNetConfig())
