"""The detection losses: their contract, their formulas in plain loops, and where their gradients go."""

import math

import pytest
import torch

from clis_core.batch import Target
from clis_core.config.method import RoiTraining, RpnTraining
from clis_core.detectors.boxcoding import ROI_WEIGHTS, RPN_WEIGHTS, encode
from clis_core.detectors.rpn import RpnOutput
from clis_core.methods import detection_losses as losses_module
from clis_core.methods.build import build_method
from clis_core.methods.detection_losses import region_losses, rpn_losses, sample_regions
from tests.methods.small import small_config, small_detector, some_batch


@pytest.mark.parametrize("boxes", [(3, 2), (0, 2), (0, 0), (1,), (0,), (40,)])
def test_contract(method, boxes):
    losses = method(some_batch(boxes))
    expected = ["rpn_objectness", "rpn_box", "class", "box"]
    expected += ["objectness"] if method.detector.head.fc_obj is not None else []
    assert list(losses) == expected
    for value in losses.values():
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()
    sum(losses.values()).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name  # attached even where there is nothing to learn
            assert parameter.grad.isfinite().all()
    method.after_step()


def test_images_of_different_size_share_a_batch(method):
    a, b = some_batch((2,), (64, 96)), some_batch((2,), (96, 64), seed=1)
    joined = a.__class__(a.images + b.images, a.targets + b.targets, a.names + b.names)
    assert all(v.isfinite() for v in method(joined).values())


def test_rpn_losses_in_loops():
    torch.manual_seed(0)
    anchors = torch.rand(60, 4) * 40
    anchors[:, 2:] += anchors[:, :2] + 5
    truth = [anchors[[4, 9]] + 0.5, torch.zeros(0, 4)]
    targets = [Target(t, torch.ones(len(t), dtype=torch.int64)) for t in truth]
    output = RpnOutput(anchors, torch.randn(2, 60), torch.randn(2, 60, 4), [60])
    config = RpnTraining(samples=1000, beta=0.3)  # everything is sampled
    got = rpn_losses(output, targets, config)

    cross_entropy = distance = count = 0.0
    for image in range(2):
        matched = losses_module.match(truth[image], anchors, 0.7, 0.3, best_anchor=True)
        objects = [a for a in range(60) if matched[a] >= 0]
        background = [a for a in range(60) if matched[a] == -1]
        assert len(objects) <= 500
        for a in objects + background[: 1000 - len(objects)]:
            p = 1 / (1 + math.exp(-output.logits[image, a].item()))
            cross_entropy -= math.log(p if a in objects else 1 - p)
            count += 1
        for a in objects:
            goal = encode(truth[image][matched[a]][None], anchors[a][None], RPN_WEIGHTS)[0]
            for k in range(4):
                x = abs(output.offsets[image, a, k].item() - goal[k].item())
                distance += 0.5 * x * x / 0.3 if x < 0.3 else x - 0.15
    assert got["rpn_objectness"].item() == pytest.approx(cross_entropy / count, rel=1e-5)
    assert got["rpn_box"].item() == pytest.approx(distance / count, rel=1e-5)


def test_region_losses_in_loops(monkeypatch):
    detector = small_detector(classes=4, specialised=True, objectness=True)
    batch = some_batch((3, 2), classes=4)
    images = detector.preprocess(batch.images)
    features = detector.encoder(images.pixels)
    proposals = [
        torch.cat((t.boxes + 1.5, torch.rand(6, 4) * 20 + torch.tensor([0, 0, 25, 25]))) for t in batch.targets
    ]
    config = RoiTraining(samples=8, beta=0.0, box_weight=2.0, objectness_weight=3.0)
    chosen = sample_regions(proposals, batch.targets, config)
    monkeypatch.setattr(losses_module, "sample_regions", lambda *a: chosen)
    got = region_losses(detector, features, proposals, batch.targets, config)

    cross_entropy = distance = objectness = count = 0.0
    head = detector.head
    for image, (regions, labels, boxes, _) in enumerate(zip(*chosen, strict=True)):
        for r, (region, label) in enumerate(zip(regions, labels.tolist(), strict=True)):
            alone = [torch.zeros(0, 4), torch.zeros(0, 4)]
            alone[image] = region[None]
            x = detector.pool_regions(features, alone)
            cls, loc = head.cls_2fc(x), head.loc_2fc(x)
            cross_entropy -= head.fc_cls(cls)[0].log_softmax(0)[label].item()
            p = head.fc_obj(loc)[0, 0].sigmoid().item()
            objectness -= math.log(p if label else 1 - p)
            count += 1
            if label:
                offsets = head.fc_reg(loc).view(4, 4)[label - 1]
                goal = encode(boxes[r][None], region[None], ROI_WEIGHTS)[0]
                distance += (offsets - goal).abs().sum().item()
    assert got["class"].item() == pytest.approx(cross_entropy / count, rel=1e-4)
    assert got["box"].item() == pytest.approx(2 * distance / count, rel=1e-4)
    assert got["objectness"].item() == pytest.approx(3 * objectness / count, rel=1e-4)


def test_regions_are_sampled_from_proposals_and_boxes():
    truth = torch.tensor([[10.0, 10.0, 30.0, 30.0]])
    far = torch.tensor([[60.0, 60.0, 90.0, 90.0]]).repeat(20, 1)
    near = truth + 1
    regions, labels, boxes, matched = sample_regions(
        [torch.cat((far, near))], [Target(truth, torch.tensor([3]))], RoiTraining(samples=8)
    )
    assert labels[0].tolist() == [
        3,
        3,
        0,
        0,
        0,
        0,
        0,
        0,
    ]  # at most a quarter are objects: the proposal and the box
    assert {tuple(r) for r in regions[0][:2].tolist()} == {tuple(truth[0].tolist()), tuple(near[0].tolist())}
    assert torch.equal(boxes[0], truth.repeat(2, 1))
    assert matched[0].tolist() == [0, 0]


def gradients(name, **head):
    method = build_method(small_config(), small_detector(**head)).train()
    method(some_batch())[name].backward()
    return {n for n, p in method.detector.named_parameters() if p.grad is not None and p.grad.any()}


def test_gradient_map_of_specialised_heads():
    head = {"specialised": True, "objectness": True}

    def parts(name):
        names = gradients(name, **head)
        return {n.split(".")[1] if n.startswith("head") else n.split(".")[0] for n in names}

    assert parts("class") == {"encoder", "cls_2fc", "fc_cls"}
    assert parts("box") == {"encoder", "loc_2fc", "fc_reg"}
    assert parts("objectness") == {"encoder", "loc_2fc", "fc_obj"}
    assert parts("rpn_objectness") == {"encoder", "rpn"}
    assert parts("rpn_box") == {"encoder", "rpn"}


def test_frozen_stem_gets_no_gradient():
    assert not {n for n in gradients("class") if n.startswith("encoder.backbone.stages.0.")}
    assert {n for n in gradients("class") if n.startswith("encoder.backbone.stages.1.")}


def test_it_learns_to_find_a_box():
    torch.manual_seed(0)
    method = build_method(small_config(), small_detector(specialised=True, objectness=True)).train()
    batch = some_batch((2, 2))
    optimiser = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=2e-3)
    totals = []
    for _ in range(30):
        total = sum(method(batch).values())
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.5 * sum(totals[:5])
