"""The losses of one-stage detectors: their contract, their formulas in plain loops, and where their gradients go."""

import math

import pytest
import torch
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetClassificationHead, RetinaNetRegressionHead

from clis_core.batch import Target
from clis_core.config.class_loss import EqualizedFocalLoss, EqualizedQualityFocalLoss, FocalLoss
from clis_core.config.method import ClisConfig, MaxIouAssign
from clis_core.detectors.boxcoding import paired_iou
from clis_core.errors import ConfigError
from clis_core.methods.assign import IGNORED
from clis_core.methods.assign_dense import assign
from clis_core.methods.build import build_method
from clis_core.methods.dense_losses import centerness, dense_losses
from tests.detectors.dense import KINDS, enliven
from tests.methods.dense import dense_method
from tests.methods.small import some_batch

LOSSES = {"focal": FocalLoss(), "efl": EqualizedFocalLoss(), "eqfl": EqualizedQualityFocalLoss()}


@pytest.mark.parametrize(
    ("kind", "loss"), [*((kind, "focal") for kind in KINDS), ("retinanet-iou", "efl"), ("fcos", "eqfl")]
)
@pytest.mark.parametrize("rule", [0, 1])
def test_whatever_comes(kind, loss, rule):
    method = dense_method(kind, rule=rule, box="l1" if rule else "giou", loss=LOSSES[loss])
    expected = ["class", "box"]
    expected += ["quality"] if method.detector.head.conv_quality is not None else []
    for boxes in ((3, 2), (0, 2), (0, 0), (1,), (40,)):
        with torch.autocast("cpu", torch.bfloat16, enabled=boxes == (0, 2)):
            losses = method(some_batch(boxes))
        assert list(losses) == expected
        for value in losses.values():
            assert value.shape == ()
            assert value.dtype == torch.float32
            assert value.isfinite()
        method.zero_grad()
        sum(losses.values()).backward()
        for name, parameter in method.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name  # attached even where there is nothing to learn
                assert parameter.grad.isfinite().all(), name
        method.after_step()


def taught(kind, rule=0, **options):
    """A method with lively outputs, a batch, and what the network says of it."""
    method = dense_method(kind, rule=rule, **options)
    enliven(method.detector)
    batch = some_batch((3, 2))
    images = method.detector.preprocess(batch.images)
    features = method.detector.encoder(images.pixels)
    return method, batch, images, features


def log_sigmoid(z):
    return min(z, 0.0) - math.log1p(math.exp(-abs(z)))


def outputs(method, images, features):
    output = method.detector.output(images.pixels, features)
    parts = [torch.cat([getattr(level, name) for level in output.levels], dim=1) for name in ("logits", "codes")]
    quality = output.levels[0].quality
    return output, *parts, None if quality is None else torch.cat([level.quality for level in output.levels], dim=1)


@pytest.mark.parametrize("kind", ["retinanet-iou", "fcos", "fcos-iou"])
@pytest.mark.parametrize("rule", [0, 1])
def test_all_losses_in_loops(kind, rule):
    method, batch, images, features = taught(kind, rule, box_weight=2.0, quality_weight=3.0)
    detector, rule = method.detector, method.config.dense.assign
    with torch.no_grad():
        losses = dense_losses(detector, images, features, batch.targets, method.config.dense)
        output, logits, codes, quality = outputs(method, images, features)
    wanted, count, rows = {"class": 0.0, "box": 0.0, "quality": 0.0}, 0, logits.tolist()
    for n, target in enumerate(batch.targets):
        labels = target.labels.tolist()
        matched = assign(target, output.anchors, output.counts, rule, points=detector.points).tolist()
        for a, m in enumerate(matched):
            if m == IGNORED:
                continue
            for c in range(5):
                z = rows[n][a][c]
                if m >= 0 and labels[m] == c + 1:
                    wanted["class"] -= 0.25 * math.exp(2 * log_sigmoid(-z)) * log_sigmoid(z)
                else:
                    wanted["class"] -= 0.75 * math.exp(2 * log_sigmoid(z)) * log_sigmoid(-z)
            if m < 0:
                continue
            count += 1
            box = detector.decode(codes[n, a][None], output.anchors[a][None])[0]
            truth = target.boxes[m]
            iou = float(paired_iou(box, truth))
            hull = torch.cat((torch.minimum(box[:2], truth[:2]), torch.maximum(box[2:], truth[2:])))
            area = [float((x[2:] - x[:2]).prod()) for x in (box, truth, hull)]
            union = (area[0] + area[1]) / (1 + iou)
            wanted["box"] += 2 * (1 - iou + (area[2] - union) / area[2])
            x, y = (float(v) for v in (output.anchors[a][:2] + output.anchors[a][2:]) / 2)
            before, behind = (torch.tensor([x, y]) - truth[:2]).tolist(), (truth[2:] - torch.tensor([x, y])).tolist()
            ratios = [max(0.0, min(low, high)) / max(low, high) for low, high in zip(before, behind, strict=True)]
            central = math.sqrt(ratios[0] * ratios[1])
            goal = iou if detector.config.head.quality == "iou" else central
            u = float(quality[n, a])
            wanted["quality"] -= 3 * (goal * log_sigmoid(u) + (1 - goal) * log_sigmoid(-u))
    assert count > 5
    for name, value in losses.items():
        assert float(value) == pytest.approx(wanted[name] / count, rel=1e-3), name


def test_the_quality_focal_loss_gets_the_overlap_of_each_positive():
    config = EqualizedQualityFocalLoss(scale=0.0)
    method, batch, images, features = taught("retinanet-iou", 1, loss=config)
    detector = method.detector
    with torch.no_grad():
        loss = dense_losses(detector, images, features, batch.targets, method.config.dense)["class"]
        output, logits, codes, _ = outputs(method, images, features)
    total, count = 0.0, 0
    for n, target in enumerate(batch.targets):
        matched = assign(target, output.anchors, output.counts, method.config.dense.assign, points=False)
        y = torch.zeros_like(logits[n])
        for a in (matched >= 0).nonzero()[:, 0].tolist():
            box = detector.decode(codes[n, a][None], output.anchors[a][None])[0]
            truth = target.boxes[matched[a]]
            y[a, int(target.labels[matched[a]]) - 1] = float(paired_iou(box, truth))
            count += 1
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits[n], y, reduction="none")
        total += float(((logits[n].sigmoid() - y) ** 2 * entropy).sum())
    assert float(loss) == pytest.approx(total / count, rel=1e-4)


def test_the_losses_of_retinanet_are_torchvision_s_for_one_image():
    """It divides by the objects of each image, here by those of the batch: the same for one."""
    method, _, _, _ = taught("retinanet", box="l1")
    batch = some_batch((4,))
    detector = method.detector
    images = detector.preprocess(batch.images)
    features = detector.encoder(images.pixels)
    with torch.no_grad():
        losses = dense_losses(detector, images, features, batch.targets, method.config.dense)
        output, logits, codes, _ = outputs(method, images, features)
    target = batch.targets[0]
    matched = [assign(target, output.anchors, output.counts, MaxIouAssign(), points=False)]
    assert (matched[0] >= 0).sum() > 3
    truth = [{"boxes": target.boxes, "labels": target.labels - 1}]
    classes = RetinaNetClassificationHead(16, 9, 5).compute_loss(truth, {"cls_logits": logits}, matched)
    torch.testing.assert_close(losses["class"], classes)
    boxes = RetinaNetRegressionHead(16, 9).compute_loss(truth, {"bbox_regression": codes}, [output.anchors], matched)
    torch.testing.assert_close(losses["box"], boxes)


def test_the_losses_of_fcos_are_torchvision_s():
    method, batch, images, features = taught("fcos")
    detector = method.detector
    with torch.no_grad():
        losses = dense_losses(detector, images, features, batch.targets, method.config.dense)
        output, logits, codes, quality = outputs(method, images, features)
    rule = method.config.dense.assign
    matched = [assign(t, output.anchors, output.counts, rule, points=True) for t in batch.targets]
    truth = [{"boxes": t.boxes, "labels": t.labels - 1} for t in batch.targets]
    head = {"cls_logits": logits, "bbox_regression": codes, "bbox_ctrness": quality[:, :, None]}
    expected = FCOSHead(32, 1, 5).compute_loss(truth, head, [output.anchors] * 2, matched)
    torch.testing.assert_close(losses["class"], expected["classification"])
    torch.testing.assert_close(losses["box"], expected["bbox_regression"])
    torch.testing.assert_close(losses["quality"], expected["bbox_ctrness"])


def test_centerness():
    anchors = torch.tensor([[8.0, 8.0, 12.0, 12.0]]).repeat(4, 1)  # around (10, 10)
    truth = torch.tensor([[0, 0, 20, 20], [0, 0, 40, 20], [5, 5, 25, 45], [11, 0, 30, 20]]).float()
    expected = [1.0, math.sqrt(10 / 30), math.sqrt(5 / 15 * 5 / 35), 0.0]
    assert centerness(anchors, truth).tolist() == pytest.approx(expected)


def test_what_lies_on_a_crowd_is_no_background():
    method, batch, images, features = taught("retinanet")
    everywhere = torch.tensor([[0.0, 0.0, 96.0, 64.0]])
    targets = [Target(t.boxes[:0], t.labels[:0], everywhere) for t in batch.targets]
    plain = [t._replace(ignored=None) for t in targets]
    config = method.config.dense
    with torch.no_grad():
        less = dense_losses(method.detector, images, features, targets, config)["class"]
        whole = dense_losses(method.detector, images, features, plain, config)["class"]
    assert 0 < float(less) < float(whole)


def gradients(name, kind="fcos-iou", **options):
    method = dense_method(kind, **options)
    method(some_batch())[name].backward()
    names = {n for n, p in method.detector.named_parameters() if p.grad is not None and p.grad.any()}
    return {n.split(".")[1] if n.startswith("head") else n.split(".")[0] for n in names}


def test_gradient_map():
    assert gradients("class") == {"encoder", "cls_tower", "conv_cls"}
    assert gradients("class", "retinanet-iou", rule=1, loss=LOSSES["eqfl"]) == {"encoder", "cls_tower", "conv_cls"}
    assert gradients("box") == {"encoder", "box_tower", "conv_box"}
    assert gradients("quality") == {"encoder", "box_tower", "conv_quality"}


@pytest.mark.parametrize("kind", ["retinanet-iou", "fcos"])
def test_it_learns_to_find_a_box(kind):
    method = dense_method(kind, rule=int(kind != "fcos"))
    batch = some_batch((2, 2))
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    totals = []
    for _ in range(12):
        total = sum(method(batch).values())
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        totals.append(total.item())
    assert sum(totals[-3:]) < 0.8 * sum(totals[:3])


def test_pairs_that_do_not_go_are_refused_by_name():
    detector = dense_method("retinanet").detector
    with pytest.raises(
        ConfigError, match=r"method.kind = 'clis' does not go with detector.kind = 'retinanet'"
    ) as caught:
        build_method(ClisConfig(), detector, 64)
    assert "method.kind=supervised" in caught.value.hint
