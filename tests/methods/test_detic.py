"""Detic: each rule in plain loops, where gradients go, the same keys whatever comes."""

import math

import pytest
import torch

from clis_core.config.image_methods import DeticConfig
from clis_core.config.method import RoiTraining, RpnTraining
from clis_core.methods.build import build_method
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.detic import wsddn_loss
from clis_core.methods.whole_pictures import whole_pictures
from tests.methods.small import check_gradients, small_config, small_detector, some_batch, with_pictures

RULES = ["max-size", "max-score", "max-objectness", "image", "wsddn"]
KEYS = ["rpn_objectness", "rpn_box", "class", "box", "objectness", "image_class"]


def make(rule="max-size", classes=5, head=None, **values):
    config = DeticConfig(
        rule=rule,
        proposals=12,
        rpn=RpnTraining(before_nms=100, proposals=60, samples=64),
        roi=RoiTraining(samples=32),
        **values,
    )
    head = {"specialised": True, "objectness": True} if head is None else head
    return build_method(config, small_detector(classes, **head)).train()


def pictured(boxes=(2, 1), **values):
    return with_pictures(some_batch(boxes, **{k: v for k, v in values.items() if k == "classes"}), t=0, **values)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("boxes", "s"), [((3, 2), 8), ((0, 0), 4), ((2, 1), 0), ((0,), 0)])
def test_the_same_keys_whatever_comes(rule, boxes, s):
    method = make(rule)
    losses = method(with_pictures(some_batch(boxes), s, 0) if s else some_batch(boxes))
    assert list(losses) == KEYS
    assert all(v.shape == () and v.isfinite() and v.dtype == torch.float32 for v in losses.values())
    assert (float(losses["image_class"].detach()) > 0) == bool(s)
    sum(losses.values()).backward()
    method.after_step()
    check_gradients(method)


@pytest.mark.parametrize("rule", RULES)
def test_one_class_and_bf16(rule):
    method = make(rule, classes=1, head={})
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(pictured(classes=1))
    assert list(losses) == [k for k in KEYS if k != "objectness"]
    assert all(v.isfinite() and v.dtype == torch.float32 for v in losses.values())


def test_pictures_are_cut_out_of_their_mosaics():
    batch = pictured()
    pictures, labels, _ = whole_pictures(batch, torch.device("cpu"))
    mosaics = [m for c in batch.companions for m in c.mosaics]
    assert len(pictures) == len(labels) == 4 * len(mosaics) == 16
    for n, picture in enumerate(pictures):
        mosaic = mosaics[n // 4]
        x0, y0, x1, y1 = (round(float(v)) for v in mosaic.regions[n % 4])
        assert torch.equal(picture.pixels, mosaic.pixels[:, y0:y1, x0:x1])
        assert picture.size == (y1 - y0, x1 - x0)
        assert labels[n] == mosaic.labels[n % 4]


def proposals_of(detector, picture):
    images = detector.preprocess([picture])
    features = detector.encoder(images.pixels)
    output = detector.rpn(images.pixels, features)
    return features, detector.rpn.propose(output, images.sizes, 100, 12, detector.config.rpn.nms_iou)[0]


def area(box):
    x0, y0, x1, y1 = box.tolist()
    return (x1 - x0) * (y1 - y0)


@pytest.mark.parametrize("rule", RULES[:-1])
def test_a_rule_in_loops(rule):
    method = make(rule, weight=0.3)
    detector, head = method.detector, method.detector.head
    batch = pictured()
    found = float(method(batch)["image_class"].detach())
    entropy, several = 0.0, 0
    pictures, labels, _ = whole_pictures(batch, torch.device("cpu"))
    with torch.no_grad():
        for picture, label in zip(pictures, labels.tolist(), strict=True):
            features, proposals = proposals_of(detector, picture)
            several += len(proposals) > 1
            logits = [head.fc_cls(head.cls_2fc(detector.pool_regions(features, [b[None]])))[0] for b in proposals]
            match rule:
                case "max-size":
                    chosen = logits[max(range(len(logits)), key=lambda r: area(proposals[r]))]
                case "max-score":
                    chosen = max(logits, key=lambda z: float(z.softmax(0)[label]))
                case "max-objectness":
                    chosen = logits[0]
                case "image":
                    height, width = picture.size
                    frame = torch.tensor([[0.0, 0.0, width, height]])
                    chosen = head.fc_cls(head.cls_2fc(detector.pool_regions(features, [frame])))[0]
            entropy += math.log(sum(math.exp(v) for v in chosen.tolist())) - float(chosen[label])
    assert several == len(pictures)
    assert found == pytest.approx(0.3 * entropy / len(pictures), rel=1e-3)


def test_wsddn_in_loops():
    torch.manual_seed(1)
    counts, labels = [3, 1, 2], torch.tensor([2, 4, 1])
    scores, stream = torch.rand(6, 4), torch.randn(6, 4)
    loss, first = 0.0, 0
    for count, label in zip(counts, labels.tolist(), strict=True):
        for c in range(4):
            total = sum(math.exp(float(stream[r, c])) for r in range(first, first + count))
            p = sum(math.exp(float(stream[r, c])) / total * float(scores[r, c]) for r in range(first, first + count))
            loss -= math.log(p if c == label - 1 else 1 - p)
        first += count
    assert float(wsddn_loss(scores, stream, counts, labels)) == pytest.approx(loss / 3, rel=1e-5)


def test_wsddn_of_certain_scores_is_finite():
    scores = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = wsddn_loss(scores, torch.zeros(1, 2), [1], torch.tensor([1]))
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("rule", RULES)
def test_pictures_teach_classifier_and_features_alone(rule):
    method = make(rule)
    method(pictured())["image_class"].backward()
    reached = {n for n, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert "detector.head.fc_cls.weight" in reached
    assert "detector.head.cls_2fc.fc6.weight" in reached
    assert any(n.startswith("detector.encoder.backbone") for n in reached)
    assert ("detection_stream.weight" in reached) == (rule == "wsddn")
    for part in ("detector.rpn", "detector.head.loc_2fc", "detector.head.fc_reg", "detector.head.fc_obj"):
        assert not [n for n in reached if n.startswith(part)], part


def test_detection_losses_are_those_of_boxes_alone():
    method = make()
    batch = pictured((3, 2))
    torch.manual_seed(5)
    losses = method(batch)
    torch.manual_seed(5)
    images = method.detector.preprocess(batch.images)
    features = method.detector.encoder(images.pixels)
    alone = detection_losses(method.detector, images, features, batch.targets, method.config.rpn, method.config.roi)
    for name, value in alone.items():
        torch.testing.assert_close(losses[name], value)


def test_inference_needs_the_detector_alone():
    for rule in RULES:
        own = make(rule).detector.state_dict()
        baseline = build_method(small_config(), small_detector(specialised=True, objectness=True))
        assert own.keys() == baseline.detector.state_dict().keys()
