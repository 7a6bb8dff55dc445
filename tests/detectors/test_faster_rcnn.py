"""The whole detector: its contract, its frame of reference, and its two heads."""

import pytest
import torch
from torchvision.ops import batched_nms

from clis_core.batch import RawImage
from clis_core.detectors.boxcoding import ROI_WEIGHTS, clip, decode


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("head", [{}, {"specialised": True, "objectness": True}, {"class_agnostic": True}])
def test_contract(make_detector, head):
    detector = make_detector(**head)
    images = [picture(50, 80), picture(90, 40, seed=1)]
    with torch.no_grad():
        found = detector(images)
    assert len(found) == 2
    for image, (boxes, labels, scores, masks) in zip(images, found, strict=True):
        assert masks is None
        assert boxes.shape == (len(labels), 4)
        assert scores.shape == labels.shape
        assert 0 < len(labels) <= 300
        assert labels.min() >= 1
        assert labels.max() <= 5
        assert (scores[:-1] >= scores[1:]).all()
        assert boxes.min() >= 0
        assert boxes[:, 2].max() <= image.shape[2]
        assert boxes[:, 3].max() <= image.shape[1]


def test_a_batch_is_its_images(make_detector):
    detector = make_detector()
    images = [picture(64, 96), picture(64, 96, seed=1)]
    with torch.no_grad():
        together = detector(images)
        alone = [detector([image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.scores, b.scores, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(a.boxes.mean(), b.boxes.mean(), atol=0.1, rtol=1e-3)


def test_equals_the_long_way(make_detector):
    """All class-specific boxes of all regions decoded, NMS over all pairs: the same detections."""
    detector = make_detector(classes=7, specialised=True, objectness=True)
    batch = detector.preprocess([RawImage(picture(64, 96), (64, 96))])
    with torch.no_grad():
        found = detector.detect(batch)[0]
        features = detector.encoder(batch.pixels)
        proposals = detector.rpn.propose(detector.rpn(batch.pixels, features), batch.sizes, 50, 40, 0.7)
        head = detector.head
        pooled = detector.pool_regions(features, proposals)
        cls, loc = head.cls_2fc(pooled), head.loc_2fc(pooled)
        probability = head.fc_cls(cls).softmax(dim=1)[:, 1:] * head.fc_obj(loc).sigmoid()  # CLIS, sec. III-B5
        offsets = head.fc_reg(loc).view(-1, 7, 4)
        boxes = torch.stack([clip(decode(offsets[:, c], proposals[0], ROI_WEIGHTS), (64, 96)) for c in range(7)], dim=1)
        flat, labels = probability.reshape(-1), torch.arange(1, 8).repeat(len(probability))
        keep = (flat > 1e-4).nonzero()[:, 0]
        keep = keep[batched_nms(boxes.reshape(-1, 4)[keep], flat[keep], labels[keep], 0.5)][:300]
    torch.testing.assert_close(found.scores, flat[keep], atol=1e-5, rtol=1e-4)
    assert (found.labels == labels[keep]).float().mean() > 0.98  # order may differ between near-equal scores


def test_boxes_come_back_in_the_frame_of_the_image(make_detector):
    detector = make_detector()
    image = picture(64, 96)
    doubled = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
    batch = detector.preprocess([RawImage(doubled, (64, 96))])
    with torch.no_grad():
        inner = detector.detect(batch)[0]
        outer = detector([doubled])[0]  # short_side is 64: the network sees the same pixels
    torch.testing.assert_close(outer.boxes, inner.boxes * 2)


def test_specialised_head_has_two_2fc_and_objectness_multiplies(make_detector):
    plain, special = make_detector(), make_detector(specialised=True, objectness=True)
    assert plain.head.loc_2fc is None
    assert plain.head.fc_obj is None
    extra = {n.split(".")[1] for n, _ in special.named_parameters() if n.startswith("head.")} - {
        n.split(".")[1] for n, _ in plain.named_parameters() if n.startswith("head.")
    }
    assert extra == {"loc_2fc", "fc_obj"}
    pooled = torch.randn(6, 16, 3, 3)
    with torch.no_grad():
        embedded = special.head.embed(pooled)
        assert not torch.equal(embedded.cls, embedded.loc)
        special.head.fc_obj.bias.fill_(-20.0)
        assert special.head.scores(special.head.fc_cls(embedded.cls), embedded.loc).max() < 1e-6


def test_offsets_of_chosen_classes_equal_the_full_regression(make_detector):
    head = make_detector(classes=6).head
    loc, labels = torch.randn(10, 32), torch.randint(1, 7, (10,))
    full = head.fc_reg(loc).view(10, 6, 4)
    torch.testing.assert_close(head.offsets(loc, labels), full[torch.arange(10), labels - 1])


@pytest.mark.parametrize("head", [{}, {"class_agnostic": True}])
def test_offsets_of_pairs_are_the_same_by_either_way(make_detector, head):
    head = make_detector(classes=6, **head).head
    loc, regions, labels = torch.randn(4, 32), torch.randint(0, 4, (30,)), torch.randint(1, 7, (30,))
    many = head.pair_offsets(loc, regions, labels)
    few = torch.cat([head.pair_offsets(loc, r[None], c[None]) for r, c in zip(regions, labels, strict=True)])
    torch.testing.assert_close(many, few)
    torch.testing.assert_close(many, head.offsets(loc[regions], labels))


def test_anchors_are_exact_under_mixed_precision(make_detector):
    rpn = make_detector().rpn
    pixels = torch.zeros(1, 3, 32, 1344)
    features = [torch.zeros(1, 16, -(-32 // s), 1344 // s) for s in (8, 16, 32, 64)]
    exact = rpn(pixels, features).anchors
    with torch.autocast("cpu", torch.bfloat16):
        mixed = rpn(pixels, [f.bfloat16() for f in features]).anchors
    assert torch.equal(exact, mixed)


def test_image_without_any_candidate(make_detector):
    detector = make_detector(classes=3)
    detector.config = detector.config.model_copy(
        update={"postprocess": detector.config.postprocess.model_copy(update={"score_threshold": 0.999})}
    )
    with torch.no_grad():
        boxes, labels, scores, _ = detector([picture(64, 64)])[0]
    assert boxes.shape == (0, 4)
    assert len(labels) == len(scores) == 0
