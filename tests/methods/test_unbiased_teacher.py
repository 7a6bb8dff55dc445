"""Unbiased Teacher: what its teacher finds, how it follows, what is taught of it, and the strong augmentation."""

import pytest
import torch

from clis_core.batch import Detection, RawImage
from clis_core.methods.detection_losses import detection_losses
from clis_core.methods.strong_augment import strong_augment
from clis_core.methods.whole_pictures import whole_pictures
from tests.methods.small import some_batch, with_pictures
from tests.methods.test_image_methods import make


def test_the_teacher_is_the_detectors_copy_after_the_burn_in_and_follows_then():
    method = make("teacher", burn_in=2, momentum=0.75)
    name = "head.fc_reg.weight"
    live = method.detector.get_parameter(name)
    first = live.detach().clone()
    copied = method.teacher.network.get_parameter(name)
    wanted = first.clone()
    for step in range(1, 6):
        with torch.no_grad():
            live.add_(1.0)
        method.after_step()
        if step == 2:
            wanted = live.detach().clone()
        elif step > 2:
            wanted = 0.75 * wanted + 0.25 * live.detach()
        torch.testing.assert_close(copied, wanted)
    assert not copied.requires_grad
    assert int(method.steps) == 5


def test_boxes_alone_are_learnt_from_until_then():
    method = make("teacher", burn_in=1)
    batch = with_pictures(some_batch((2, 1)), t=0)
    before = method(batch)
    assert all(float(v.detach()) == 0 for k, v in before.items() if k.startswith("pseudo_"))
    method.after_step()
    assert float(method(batch)["pseudo_class"].detach()) > 0


def findings(method, found, labels, monkeypatch):
    monkeypatch.setattr(method.teacher.network, "detect", lambda images: found)
    pictures = [RawImage(torch.zeros(3, 20, 30, dtype=torch.uint8), (20, 30))] * len(found)
    return method.findings(pictures, torch.tensor(labels))


def test_the_label_keeps_findings_of_its_own_class_and_no_background_without_one(monkeypatch):
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 5, 15, 15], [1, 1, 1.5, 9]])
    one = Detection(boxes, torch.tensor([2, 3, 2]), torch.tensor([0.9, 0.8, 0.8]))
    none = Detection(boxes[:1], torch.tensor([4]), torch.tensor([0.9]))
    a, b = findings(make("teacher"), [one, none], [2, 1], monkeypatch)
    assert a.labels.tolist() == [2, 3]  # the third is thinner than a pixel
    assert b.labels.tolist() == [4]
    assert a.ignored is None
    assert b.ignored is None
    a, b = findings(make("teacher", use_label=True), [one, none], [2, 1], monkeypatch)
    assert a.labels.tolist() == [2]
    assert torch.equal(a.boxes, boxes[:1])
    assert a.ignored is None
    assert len(b.boxes) == 0
    assert b.ignored.tolist() == [[0, 0, 30, 20]]


def test_findings_are_detections_above_the_threshold():
    method = make("teacher", threshold=0.0)
    raw, labels, _ = whole_pictures(with_pictures(some_batch((1,)), t=0), torch.device("cpu"))
    scores = []
    with torch.no_grad():
        for picture in raw:
            batch = method.detector.preprocess([picture])
            scores += method.detector.detect(batch)[0].scores.tolist()
    for threshold in (0.0, sorted(scores)[len(scores) // 2]):
        method = make("teacher", threshold=threshold)
        found = method.findings(raw, labels)
        count = 0
        for picture, target in zip(raw, found, strict=True):
            plain = method.detector.detect(method.detector.preprocess([picture]))[0]
            keep = (plain.scores > threshold) & ((plain.boxes[:, 2:] - plain.boxes[:, :2]) >= 1).all(dim=1)
            torch.testing.assert_close(target.boxes, plain.boxes[keep])
            assert target.labels.tolist() == plain.labels[keep].tolist()
            count += int(keep.sum())
        assert count > 0


def test_losses_are_those_of_the_findings_on_strong_pictures(monkeypatch):
    monkeypatch.setattr("clis_core.methods.unbiased_teacher.strong_augment", lambda pixels, draw: 255 - pixels)
    method = make("teacher", weight=3.0, strong_scenes=True)
    detector, config = method.detector, method.config
    batch = with_pictures(some_batch((2, 1)), t=0)
    torch.manual_seed(1)
    losses = {k: float(v.detach()) for k, v in method(batch).items()}
    torch.manual_seed(1)
    scenes = [*batch.images, *(i._replace(pixels=255 - i.pixels) for i in batch.images)]
    images = detector.preprocess(scenes)
    maps = detector.encoder(images.pixels)
    own = detection_losses(detector, images, maps, [*batch.targets, *batch.targets], config.rpn, config.roi)
    raw, labels, _ = whole_pictures(batch, torch.device("cpu"))
    targets = method.findings(raw, labels)
    pictures = detector.preprocess([r._replace(pixels=255 - r.pixels) for r in raw])
    maps = detector.encoder(pictures.pixels)
    pseudo = detection_losses(detector, pictures, maps, targets, config.rpn, config.roi)
    for name, value in own.items():
        assert losses[name] == pytest.approx(float(value.detach()), rel=1e-5)
    for name in ("rpn_objectness", "class", "objectness"):
        assert losses[f"pseudo_{name}"] == pytest.approx(3 * float(pseudo[name].detach()), rel=1e-5)
    assert not {"pseudo_box", "pseudo_rpn_box"} & losses.keys()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40), (31, 64)])
def test_strong_augmentation_of_any_size(size):
    pixels = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    before, changed = pixels.clone(), 0
    for seed in range(30):
        draw = torch.Generator().manual_seed(seed)
        made = strong_augment(pixels, draw)
        assert made.shape == pixels.shape
        assert made.dtype == torch.uint8
        assert torch.equal(made, strong_augment(pixels, torch.Generator().manual_seed(seed)))
        changed += not torch.equal(made, pixels)
    assert torch.equal(pixels, before)
    assert changed > 20


def test_strong_augmentation_draws_from_what_is_given():
    state = torch.get_rng_state()
    strong_augment(torch.zeros(3, 8, 8, dtype=torch.uint8), torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(3)
    a = strong_augment(torch.full((3, 30, 30), 128, dtype=torch.uint8))
    torch.manual_seed(3)
    assert torch.equal(a, strong_augment(torch.full((3, 30, 30), 128, dtype=torch.uint8)))
