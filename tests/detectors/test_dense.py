"""RetinaNet and FCOS: torchvision's outputs with torchvision's weights, exact candidates, and images of every kind."""

import copy
import math

import pytest
import torch
from torch import nn
from torchvision.models.detection import fcos_resnet50_fpn, retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2
from torchvision.models.detection.image_list import ImageList

from clis_core.batch import ImageBatch
from clis_core.config.class_loss import FocalLoss
from clis_core.config.detector import (
    AnchorConfig,
    BackboneConfig,
    DenseHeadConfig,
    DensePostprocessConfig,
    DensePyramidConfig,
    FCOSConfig,
    PointHeadConfig,
    RetinaNetConfig,
)
from clis_core.detectors.build import build_detector
from clis_core.detectors.foreign_dense import load_torchvision_dense
from clis_core.errors import CheckpointError
from tests.detectors.dense import KINDS, lively_dense, pictures

CLASSES = 6
RESNET = BackboneConfig(name="resnet50", init="none", norm="frozen")
PEERS = {
    "retinanet": (retinanet_resnet50_fpn, RetinaNetConfig(backbone=RESNET)),
    "retinanet-v2": (
        retinanet_resnet50_fpn_v2,
        RetinaNetConfig(backbone=RESNET, pyramid=DensePyramidConfig(extra="c5"), head=DenseHeadConfig(norm="group")),
    ),
    "fcos": (fcos_resnet50_fpn, FCOSConfig(backbone=RESNET)),
}


def peer_of(name, **settings):
    """torchvision's detector with random weights whose outputs differ from place to place, and ours with the same."""
    make, config = PEERS[name]
    torch.manual_seed(1)
    theirs = make(weights=None, weights_backbone=None, num_classes=CLASSES + 1, **settings).eval()
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2.0)
            if isinstance(module, nn.GroupNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
        for head in (theirs.head.classification_head, theirs.head.regression_head):
            for layer in head.conv.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        classes, boxes = theirs.head.classification_head.cls_logits, theirs.head.regression_head.bbox_reg
        output = theirs.head(list(theirs.backbone(normal((160, 224))).values()))
        classes.weight.mul_(1.5 / output["cls_logits"].std())  # scores differ, and few are alike
        classes.bias.fill_(-2.0)
        boxes.weight.mul_(0.3 / output["bbox_regression"].std())
        boxes.bias.fill_(0.8 * (name == "fcos"))
    post = DensePostprocessConfig(
        score_threshold=theirs.score_thresh,
        nms_iou=theirs.nms_thresh,
        detections=theirs.detections_per_img,
        level_candidates=theirs.topk_candidates,
    )
    ours = build_detector(config.model_copy(update={"postprocess": post}), CLASSES).eval()
    load_torchvision_dense(ours, theirs.state_dict(), "file")
    return theirs, ours


def normal(size, images=2):
    return torch.randn(images, 3, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("threshold", [0.05, 0.3])
def test_equals_torchvision_with_its_weights(name, threshold):
    theirs, ours = peer_of(name, score_thresh=threshold, topk_candidates=300)
    pixels = normal((160, 224))
    sizes = [(160, 224), (150, 200)]
    with torch.inference_mode():
        features = list(theirs.backbone(pixels).values())
        for mine, other in zip(ours.encoder(pixels), features, strict=True):
            torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)
        output = ours.output(pixels, features)
        expected = theirs.head(features)
        anchors = theirs.anchor_generator(ImageList(pixels, sizes), features)
        assert torch.equal(output.anchors, anchors[0])
        logits = torch.cat([level.logits for level in output.levels], dim=1)
        torch.testing.assert_close(logits, expected["cls_logits"][:, :, 1:], atol=1e-3, rtol=1e-3)
        codes = torch.cat([level.codes for level in output.levels], dim=1)
        torch.testing.assert_close(codes, expected["bbox_regression"], atol=1e-3, rtol=1e-3)
        if name == "fcos":
            quality = torch.cat([level.quality for level in output.levels], dim=1)
            torch.testing.assert_close(quality, expected["bbox_ctrness"][:, :, 0], atol=1e-3, rtol=1e-3)
        counts = output.counts
        expected["cls_logits"][:, :, 0] = -100  # its class 0 is nothing
        split = {k: list(v.split(counts, dim=1)) for k, v in expected.items()}
        references = theirs.postprocess_detections(split, [list(a.split(counts)) for a in anchors], sizes)
        found = ours.select(ours.score(ImageBatch(pixels, sizes)), sizes)
    for mine, reference in zip(found, references, strict=True):
        there = ((reference["boxes"][:, 2:] - reference["boxes"][:, :2]) >= 0.01).all(dim=1)
        assert int(there.sum()) > 20
        if there.all():
            assert len(mine.scores) == len(there)
        count = min(len(mine.scores), int(there.sum()))
        torch.testing.assert_close(mine.scores[:count], reference["scores"][there][:count], atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(mine.boxes[:count], reference["boxes"][there][:count], atol=0.05, rtol=1e-3)
        assert torch.equal(mine.labels[:count], reference["labels"][there][:count])


@pytest.mark.slow
def test_weights_with_torchvision_s_former_names_and_those_that_do_not_fit():
    theirs, ours = peer_of("retinanet")
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    old = {}
    for key, value in theirs.state_dict().items():
        head, found, rest = key.partition(".conv.")
        number, _, part = rest.partition(".0.")
        old[f"{head}.conv.{2 * int(number)}.{part}" if found and head.startswith("head") else key] = value
    assert old.keys() != theirs.state_dict().keys()
    for value in ours.state_dict().values():
        if value.is_floating_point():
            value.zero_()
    load_torchvision_dense(ours, old, "file")
    assert all(torch.equal(v, before[k]) for k, v in ours.state_dict().items())

    other = build_detector(ours.config, CLASSES + 1)
    with pytest.raises(CheckpointError, match="cls_logits") as caught:
        load_torchvision_dense(other, theirs.state_dict(), "file")
    assert caught.value.hint
    with pytest.raises(CheckpointError, match="not a RetinaNet"):
        load_torchvision_dense(ours, {"a": torch.zeros(1)}, "file")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [3, 50, 10_000])
def test_candidates_are_the_best_of_all_pairs_of_a_level(kind, count):
    detector = lively_dense(kind, level_candidates=count)
    head = detector.head
    with torch.inference_mode():
        scored = detector.score(detector.preprocess.fitted(pictures()[:2], 64, 128))
    for image, found in enumerate(scored.candidates):
        expected, first = [], 0
        for level in scored.output.levels:
            logits = level.logits[image].tolist()
            quality = [None] * len(logits) if level.quality is None else level.quality[image].tolist()
            rows = []
            for a, (row, u) in enumerate(zip(logits, quality, strict=True)):
                for c, z in enumerate(row):
                    score = 1 / (1 + math.exp(-z))
                    if u is not None:
                        score /= 1 + math.exp(-u)
                        score = score**0.5 if head.square_root else score
                    rows.append((score, first + a, c + 1))
            expected += sorted(rows, reverse=True)[:count]
            first += len(logits)
        assert len(found.scores) == len(expected)
        wanted = sorted(row[0] for row in expected)
        torch.testing.assert_close(found.scores.sort().values, torch.tensor(wanted), atol=1e-5, rtol=1e-4)
        by_pair = {row[1:]: row[0] for row in expected}
        of_pair = zip(found.anchors.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
        same = [by_pair[a, c] == pytest.approx(s, abs=1e-5) for a, c, s in of_pair if (a, c) in by_pair]
        # Places of the padding are alike, and which of equals is taken is left open.
        assert all(same)
        assert len(same) > 0.5 * len(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_size_and_the_frame_of_the_boxes(kind):
    detector = lively_dense(kind)
    images = pictures()
    with torch.inference_mode():
        together = detector(images)
        for image, found in zip(images, together, strict=True):
            assert 0 < len(found.scores) <= detector.config.postprocess.detections
            assert (found.scores[:-1] >= found.scores[1:]).all()
            assert found.labels.min() >= 1
            assert found.labels.max() <= 5
            height, width = image.shape[1:]
            assert (found.boxes >= 0).all()
            assert (found.boxes <= torch.tensor([width, height, width, height])).all()
        assert detector(images[:1])[0].boxes.shape[1] == 4


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_every_class_scores_its_prior(kind):
    plain = lively_dense(kind, lively=False)
    config = plain.config.model_copy(update={"class_loss": FocalLoss(prior=0.03)})
    detector = build_detector(config, 5).eval()
    with torch.inference_mode():
        batch = detector.preprocess.fitted(pictures()[:1], 64, 128)
        output = detector.output(batch.pixels, detector.encoder(batch.pixels))
    for level in output.levels:
        assert level.logits.sigmoid().mean() == pytest.approx(0.03, rel=0.2)


def test_the_sixth_level_is_made_of_what_the_config_says():
    for extra in ("p5", "c5"):
        config = RetinaNetConfig(
            backbone=BackboneConfig(name="resnet18", init="none"),
            pyramid=DensePyramidConfig(channels=512, extra=extra),  # as many as the backbone's last map has
        )
        detector = build_detector(config, 2)
        assert detector.encoder.pyramid.extra_blocks.use_P5 == (extra == "p5")


def test_codes_come_back():
    torch.manual_seed(0)
    corner = torch.rand(20, 2) * 50
    boxes = torch.cat((corner, corner + 5 + torch.rand(20, 2) * 40), dim=1)
    anchors = torch.cat((corner + 2, corner + 2 + 16), dim=1)
    for kind in ("retinanet", "fcos"):
        detector = lively_dense(kind, lively=False)
        torch.testing.assert_close(detector.decode(detector.encode(boxes, anchors), anchors), boxes)


def test_anchors_are_torchvision_s_and_points_are_a_stride_apart():
    plain = RetinaNetConfig(backbone=BackboneConfig(name="resnet18", init="none"))
    sizes = build_detector(plain, 2).anchors.sizes
    assert sizes == tuple((x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512))
    square = plain.model_copy(update={"anchors": AnchorConfig(scales=(6, 8), ratios=(1.0,))})
    assert build_detector(square, 2).anchors.sizes[0] == (48, 64)
    points = build_detector(FCOSConfig(backbone=plain.backbone, head=PointHeadConfig(convs=1)), 2)
    assert points.anchors.sizes == ((8,), (16,), (32,), (64,), (128,))


def test_a_copy_is_independent():
    detector = lively_dense("retinanet")
    other = copy.deepcopy(detector)
    with torch.no_grad():
        other.head.conv_box.weight.zero_()
    assert detector.head.conv_box.weight.any()
