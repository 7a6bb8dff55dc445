"""The mask loss: its targets and its formula in plain loops, what it leaves out, and where its gradients go."""

import math

import pytest
import torch

from clis_core.batch import Masks, Target
from clis_core.config.method import ClisConfig, RoiTraining
from clis_core.methods.build import build_method
from clis_core.methods.detection_losses import region_losses, sample_regions
from clis_core.methods.mask_loss import mask_loss, mask_targets
from tests.methods.small import check_gradients, small_config, small_detector, some_batch, with_pictures

MASK = {"enabled": True, "convs": 1, "channels": 8, "pool": 3}


def masked(batch, seed=5, without=()):
    """The batch with random bitmaps over its boxes; the boxes ``without`` of each image have none."""
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for target in batch.targets:
        shapes = [(0, 0) if n in without else (7 + n % 3, 9) for n in range(len(target.boxes))]
        count = sum(h * w for h, w in shapes)
        pixels = (torch.rand(count, generator=generator) < 0.6).to(torch.uint8)
        targets.append(target._replace(masks=Masks(pixels, shapes, target.boxes.clone())))
    return batch.__class__(batch.images, targets, batch.names, batch.companions)


def detector_with_masks(**mask):
    detector = small_detector(mask={**MASK, **mask}, specialised=True, objectness=True)
    torch.nn.init.normal_(detector.mask_head.predictor.mask_fcn_logits.weight, std=0.3)
    return detector


def share_of_cell(bitmap, window, cell):
    """Pixel by pixel: how much of a cell (xyxy) the bitmap, stretched over the window, covers."""
    height, width = bitmap.shape
    covered = 0.0
    for row in range(height):
        for column in range(width):
            pixel = [
                window[0] + (window[2] - window[0]) * column / width,
                window[1] + (window[3] - window[1]) * row / height,
                window[0] + (window[2] - window[0]) * (column + 1) / width,
                window[1] + (window[3] - window[1]) * (row + 1) / height,
            ]
            across = min(pixel[2], cell[2]) - max(pixel[0], cell[0])
            down = min(pixel[3], cell[3]) - max(pixel[1], cell[1])
            covered += float(bitmap[row, column]) * max(0.0, across) * max(0.0, down)
    return covered / ((cell[2] - cell[0]) * (cell[3] - cell[1]))


def test_targets_pixel_by_pixel():
    batch = masked(some_batch((3,)))
    (target,) = batch.targets
    index = torch.tensor([0, 1, 2, 1, 0])
    regions = target.boxes[index] + torch.tensor(
        [[0.0, 0, 0, 0], [2, -1, 3, 1], [-3, 2, 1, 1], [0, 0, 5, -2], [9, 0, 9, 0]]
    )
    found = mask_targets(target.masks, regions, index, 6)
    assert 20 < found.sum() < 140
    near = 0
    for r, (region, box) in enumerate(zip(regions.tolist(), index.tolist(), strict=True)):
        sides = [(region[2] - region[0]) / 6, (region[3] - region[1]) / 6]
        for y in range(6):
            for x in range(6):
                low = [region[0] + sides[0] * x, region[1] + sides[1] * y]
                cell = [*low, low[0] + sides[0], low[1] + sides[1]]
                share = share_of_cell(target.masks.bitmaps()[box], target.masks.windows[box].tolist(), cell)
                if abs(share - 0.5) < 1e-5:
                    near += 1
                else:
                    assert found[r, y, x] == (share >= 0.5), (r, y, x, share)
    assert near < 5


def test_the_mirror_image_has_the_mirrored_target():
    (target,) = masked(some_batch((2,))).targets
    width, index = 96, torch.tensor([0, 1, 1])
    regions = target.boxes[index] + torch.rand(3, 4)
    bitmaps = torch.cat([b.flip(1).reshape(-1) for b in target.masks.bitmaps()])

    def mirror(boxes):
        return torch.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), dim=1)

    mirrored = Masks(bitmaps, target.masks.shapes, mirror(target.masks.windows))
    plain = mask_targets(target.masks, regions, index, 14)
    flipped = mask_targets(mirrored, mirror(regions), index, 14)
    assert (plain.flip(2) != flipped).float().mean() < 0.01  # rounding, at a share of a half
    assert plain.any()


@pytest.mark.parametrize("agnostic", [False, True])
def test_loss_in_loops(agnostic):
    detector = detector_with_masks(class_agnostic=agnostic)
    batch = masked(some_batch((3, 2)), without=(1,))
    images = detector.preprocess(batch.images)
    features = detector.encoder(images.pixels)
    index = [torch.tensor([0, 1, 2, 0]), torch.tensor([1, 0])]
    regions = [t.boxes[i] + 1.0 for t, i in zip(batch.targets, index, strict=True)]
    head = detector.mask_head
    got = mask_loss(head, features[:-1], regions, index, batch.targets)

    total = count = 0.0
    for image in range(2):
        target = batch.targets[image]
        for region, box in zip(regions[image], index[image].tolist(), strict=True):
            if box == 1:
                continue  # it has no mask
            boxes = [torch.zeros(0, 4), torch.zeros(0, 4)]
            boxes[image] = region[None]
            x = head.predictor(head.convs(head.pool(features[:-1], boxes)))[0]  # every class's mask
            logits = x[0 if agnostic else int(target.labels[box]) - 1]
            goal = mask_targets(target.masks, region[None], torch.tensor([box]), 6)[0]
            for logit, wanted in zip(logits.flatten().tolist(), goal.flatten().tolist(), strict=True):
                p = 1 / (1 + math.exp(-logit))
                total -= math.log(p if wanted else 1 - p)
                count += 1
    assert count == 4 * 36
    assert got.item() == pytest.approx(total / count, rel=1e-4)


def losses_of(detector, targets, config=None):
    batch = some_batch((0,) * len(targets))
    features = detector.encoder(detector.preprocess(batch.images).pixels)
    torch.manual_seed(1)
    return region_losses(detector, features, [t.boxes + 1 for t in targets], targets, config or RoiTraining(samples=32))


def test_pasted_boxes_stay_out_of_the_mask_loss_alone():
    """Their regions teach class and box, and change the mask loss by nothing."""
    detector = detector_with_masks()
    own = masked(some_batch((2, 1))).targets
    pasted = torch.tensor([[50.0, 10.0, 70.0, 30.0]])
    both = [
        Target(torch.cat((t.boxes, pasted)), torch.cat((t.labels, torch.tensor([4]))), masks=t.masks.extended(1))
        for t in own
    ]
    few, more = losses_of(detector, own), losses_of(detector, both)
    assert more["mask"].item() == pytest.approx(few["mask"].item(), rel=1e-5)
    assert more["class"] != few["class"]
    assert more["box"] != few["box"]
    dot = torch.ones(1, dtype=torch.uint8)
    as_if = [
        t._replace(masks=Masks(torch.cat((t.masks.pixels, dot)), [*t.masks.shapes[:-1], (1, 1)], t.boxes)) for t in both
    ]
    assert losses_of(detector, as_if)["mask"].item() != pytest.approx(few["mask"].item(), rel=1e-3)


def test_the_weight():
    detector = detector_with_masks()
    targets = masked(some_batch((2, 1))).targets
    once, thrice = (losses_of(detector, targets, RoiTraining(samples=32, mask_weight=w)) for w in (1.0, 3.0))
    assert thrice["mask"].item() == pytest.approx(3 * once["mask"].item(), rel=1e-5)
    assert thrice["box"].item() == pytest.approx(once["box"].item(), rel=1e-5)


@pytest.mark.parametrize("boxes", [(3, 2), (0, 2), (0, 0), (1,)])
@pytest.mark.parametrize("kind", ["all", "some", "none", "no field"])
def test_contract(boxes, kind):
    method = build_method(small_config(), detector_with_masks()).train()
    batch = some_batch(boxes)
    if kind != "no field":
        batch = masked(batch, without={"all": (), "some": (0,), "none": range(9)}[kind])
    losses = method(batch)
    assert list(losses) == ["rpn_objectness", "rpn_box", "class", "box", "objectness", "mask"]
    assert all(v.isfinite() and v.shape == () and v.dtype == torch.float32 for v in losses.values())
    has_any = any(t.masks is not None and any(h for h, _ in t.masks.shapes) for t in batch.targets)
    assert (losses["mask"] > 0) == has_any
    sum(losses.values()).backward()
    check_gradients(method)


def test_the_losses_of_pictures_do_not_touch_the_mask_head():
    """CLIS teaches the box head alone: of its losses none but the mask loss reaches the mask head."""
    detector = detector_with_masks()
    method = build_method(ClisConfig(rpn=small_config().rpn, roi=RoiTraining(samples=32)), detector, 64).train()
    batch = with_pictures(some_batch((3, 2)))
    batch = masked(batch, without=(3, 4))
    method(batch)
    method.after_step()  # keys for the contrast
    losses = method(batch)
    assert losses["image_class"] > 0
    assert losses["contrast"] > 0
    of_mask = set(detector.mask_head.parameters())
    for name, value in losses.items():
        method.zero_grad()
        value.backward(retain_graph=True)
        reached = any(p.grad is not None and bool(p.grad.any()) for p in of_mask)
        assert reached == (name == "mask"), name
        if name == "mask":
            beside = [*detector.head.parameters(), *detector.rpn.parameters(), *method.projector.parameters()]
            assert not any(p.grad is not None and bool(p.grad.any()) for p in beside)
            assert bool(detector.encoder.pyramid.inner_blocks[0][0].weight.grad.any())


def test_only_the_own_class_is_taught():
    detector = detector_with_masks()
    (target,) = masked(some_batch((1,))).targets
    losses_of(detector, [target])["mask"].backward()
    taught = detector.mask_head.predictor.mask_fcn_logits.bias.grad.nonzero()[:, 0]
    assert taught.tolist() == [int(target.labels[0]) - 1]


def test_objects_come_first_among_the_regions():
    """The mask loss takes the first regions for those that are matched."""
    batch = some_batch((3, 2))
    sampled = sample_regions([t.boxes + 40 for t in batch.targets], batch.targets, RoiTraining(samples=16))
    for regions, labels, boxes, matched, target in zip(*sampled, batch.targets, strict=True):
        assert (labels[: len(matched)] > 0).all()
        assert not labels[len(matched) :].any()
        assert torch.equal(boxes, target.boxes[matched])
        assert len(regions) == len(labels) > len(matched) > 0
