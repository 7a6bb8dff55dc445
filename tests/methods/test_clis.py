"""CLIS: its losses in plain loops, the same keys whatever comes, where gradients go, and its memory of keys."""

import copy
import math

import pytest
import torch

from clis_core.batch import Batch
from clis_core.config.method import ClisConfig, RoiTraining, RpnTraining
from clis_core.methods.build import build_method
from clis_core.methods.clis import Clis, paste
from clis_core.methods.detection_losses import detection_losses
from tests.methods.small import check_gradients, small_config, small_detector, some_batch, with_pictures

KEYS = ["rpn_objectness", "rpn_box", "class", "box", "objectness", "image_class", "contrast"]


def make(pictures: int = 64, classes: int = 5, head: dict | None = None, **values) -> Clis:
    config = ClisConfig(
        rpn=RpnTraining(before_nms=100, proposals=60, samples=64),
        roi=RoiTraining(samples=32),
        projector=8,
        **values,
    )
    method = build_method(
        config,
        small_detector(classes, **({"specialised": True, "objectness": True} if head is None else head)),
        pictures,
    )
    assert isinstance(method, Clis)
    return method.train()


@pytest.mark.parametrize(
    ("boxes", "s", "t"),
    [((3, 2), 8, 2), ((0, 0), 8, 2), ((2,), 4, 0), ((2, 0), 0, 0), ((0,), 0, 0), ((1,), 4, 4), ((1,), 4, 1)],
)
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"alpha": 0.0},
        {"beta": 0.0},
        {"positive": "momentum"},
        {"shared_projector": False, "projector_layers": 2},
        {"siamese": False},
        {"mask_same_class": True},
    ],
    ids=str,
)
def test_the_same_keys_whatever_comes(boxes, s, t, values) -> None:
    method = make(**values)
    for _ in range(2):  # with an empty queue, and with a filled one
        batch = with_pictures(some_batch(boxes), s, t) if s else some_batch(boxes)
        losses = method(batch)
        assert list(losses) == KEYS
        assert all(v.shape == () and v.isfinite() and v.dtype == torch.float32 for v in losses.values())
        method.zero_grad()
        sum(losses.values()).backward()
        method.after_step()
    check_gradients(method)


@pytest.mark.parametrize("head", [{}, {"specialised": True}, {"objectness": True}], ids=str)
def test_any_head_can_be_taught(head) -> None:
    method = make(head=head)
    losses = method(with_pictures(some_batch((2, 1))))
    assert set(losses) == set(KEYS) - (set() if "objectness" in head else {"objectness"})


def test_one_class_only() -> None:
    method = make(classes=1, mask_same_class=True)
    for _ in range(2):
        losses = method(with_pictures(some_batch((2,), classes=1), classes=1))
        method.after_step()
    assert all(v.isfinite() for v in losses.values())
    assert float(losses["contrast"].detach()) == 0  # all keys are of its own class


def test_detection_losses_are_those_of_the_detector_on_the_pasted_images() -> None:
    method = make()
    batch = with_pictures(some_batch((3, 2)))
    state = torch.get_rng_state()
    losses = method(batch)
    torch.set_rng_state(state)
    images = method.detector.preprocess(batch.images)
    paste(images, batch.companions, method.detector.preprocess)
    features = method.detector.encoder(images.pixels)
    alone = detection_losses(method.detector, images, features, batch.targets, method.config.rpn, method.config.roi)
    for name, value in alone.items():
        torch.testing.assert_close(losses[name], value)


def test_pasting_blends_the_pixels() -> None:
    method = make()
    batch = with_pictures(some_batch((1,)), t=1)
    images = method.detector.preprocess(batch.images)
    before = images.pixels.clone()
    paste(images, batch.companions, method.detector.preprocess)
    patch = batch.companions[0].patches[0]
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    height, width = images.pixels.shape[-2:]
    for y in range(0, height, 3):
        for x in range(0, width, 3):
            inside = patch.top <= y < patch.top + 20 and patch.left <= x < patch.left + 24
            for c in range(3):
                wanted = float(before[0, c, y, x])
                if inside:
                    value = (float(patch.pixels[c, y - patch.top, x - patch.left]) - mean[c]) / std[c]
                    wanted = 0.6 * value + 0.4 * wanted
                assert float(images.pixels[0, c, y, x]) == pytest.approx(wanted, abs=1e-5)


def test_image_loss_and_contrast_in_loops() -> None:
    torch.manual_seed(0)
    method = make(alpha=0.3, beta=0.7, tau=0.5, momentum=0.5)
    first = with_pictures(some_batch((2, 1)), seed=1)
    method(first)
    method.after_step()
    queue = method.queue.held()[0].clone()
    assert len(queue) == 2 * 2 * 2  # both views of t = 2 instances of two images
    with torch.no_grad():
        for p in method.detector.head.cls_2fc.parameters():
            p.add_(0.02 * torch.randn_like(p))
    batch = with_pictures(some_batch((2, 1)), seed=2)
    losses = {k: float(v.detach()) for k, v in method(batch).items()}

    head, detector = method.detector.head, method.detector
    images = detector.preprocess(batch.images)
    paste(images, batch.companions, detector.preprocess)
    scene_maps = detector.encoder(images.pixels)
    entropy, contrast, pictures, pairs, keys = 0.0, 0.0, 0, 0, []
    for n, companions in enumerate(batch.companions):
        features = []
        for mosaic in companions.mosaics:
            raw = [batch.images[0]._replace(pixels=mosaic.pixels, size=(64, 64), flip=False)]
            maps = detector.encoder(detector.preprocess(raw).pixels)
            for region, label in zip(mosaic.regions, mosaic.labels, strict=True):
                pooled = detector.pool_regions(maps, [region[None]])
                features.append(pooled)
                logits = head.fc_cls(head.cls_2fc(pooled))[0].tolist()
                entropy += math.log(sum(math.exp(v) for v in logits)) - logits[int(label)]
                pictures += 1
        for patch in companions.patches:
            scene = detector.pool_regions([m[n : n + 1] for m in scene_maps], [patch.box[None]])
            views = [method.projector(head.cls_2fc(x))[0].tolist() for x in (features[patch.source], scene)]
            f_i, f_d = ([v / math.sqrt(sum(w * w for w in view)) for v in view] for view in views)
            top = math.exp(sum(a * b for a, b in zip(f_i, f_d, strict=True)) / 0.5)
            rest = sum(math.exp(sum(a * b for a, b in zip(f_i, q.tolist(), strict=True)) / 0.5) for q in queue)
            contrast -= math.log(top / (top + rest))
            pairs += 1
            keys += [method.slow(features[patch.source]), method.slow(scene)]
    assert losses["image_class"] == pytest.approx(0.3 * entropy / pictures, rel=1e-4)
    assert losses["contrast"] == pytest.approx(0.7 * contrast / pairs, rel=1e-4)

    method.after_step()
    held = method.queue.held()[0]
    for key in keys:
        unit = key[0] / key[0].norm()
        assert (held - unit).norm(dim=1).min() < 1e-4


def gradients_of(method: Clis, name: str, batch: Batch) -> set[str]:
    method.zero_grad()
    method(batch)[name].backward()
    return {
        n
        for n, p in method.named_parameters()
        if p.requires_grad and p.grad is not None and bool(p.grad.abs().max() > 0)
    }


@pytest.mark.parametrize("positive", ["live", "momentum"])
def test_where_gradients_go(positive) -> None:
    method = make(positive=positive)
    batch = with_pictures(some_batch((3, 2)))
    method(batch)
    method.after_step()
    for name in ("image_class", "contrast"):
        reached = gradients_of(method, name, batch)
        assert any(n.startswith("detector.encoder.backbone") for n in reached), name
        assert "detector.head.cls_2fc.fc6.weight" in reached
        for part in ("detector.rpn", "detector.head.loc_2fc", "detector.head.fc_reg", "detector.head.fc_obj", "slow"):
            assert not [n for n in reached if n.startswith(part)], (name, part)
    assert "detector.head.fc_cls.weight" in gradients_of(method, "image_class", batch)
    assert "detector.head.fc_cls.weight" not in gradients_of(method, "contrast", batch)
    assert "projector.weight" in gradients_of(method, "contrast", batch)
    assert "projector.weight" not in gradients_of(method, "image_class", batch)


def test_without_weight_sharing_the_images_have_a_branch_of_their_own() -> None:
    method = make(siamese=False)
    batch = with_pictures(some_batch((3, 2)))
    reached = gradients_of(method, "image_class", batch)
    assert {"image_2fc.fc6.weight", "image_fc.weight"} <= reached
    assert not [n for n in reached if n.startswith("detector.head")]
    assert not hasattr(make(), "image_2fc") or make().image_2fc is None


def test_the_shared_branch_is_one_module() -> None:
    method = make()
    names = [n for n, _ in method.named_parameters() if n.endswith("fc6.weight") and not n.startswith("slow")]
    assert names == ["detector.head.cls_2fc.fc6.weight", "detector.head.loc_2fc.fc6.weight"]


def test_alpha_and_beta_weigh() -> None:
    batch = with_pictures(some_batch((2, 1)))
    values = []
    for alpha, beta in ((0.1, 0.05), (0.2, 0.15)):
        torch.manual_seed(0)
        method = make(alpha=alpha, beta=beta)
        method(batch)
        method.after_step()
        values.append({k: float(v.detach()) for k, v in method(batch).items()})
    assert values[1]["image_class"] == pytest.approx(2 * values[0]["image_class"], rel=1e-5)
    assert values[1]["contrast"] == pytest.approx(3 * values[0]["contrast"], rel=1e-5)
    assert values[0]["contrast"] > 0


def test_beta_can_begin_late_and_slowly() -> None:
    method = make(beta=0.8, beta_from=2, beta_ramp=4)
    weights = []
    for _ in range(8):
        weights.append(method._beta())
        method.after_step()
    assert weights == pytest.approx([0, 0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_the_current_instances_are_not_among_their_own_negatives() -> None:
    method = make()
    batch = with_pictures(some_batch((2,)))
    assert float(method(batch)["contrast"].detach()) == 0  # the queue is still empty
    assert int(method.queue.count) == 0  # and fills after the step alone: backward needs it as it was
    method.after_step()
    assert int(method.queue.count) == 4
    assert float(method(batch)["contrast"].detach()) > 0


def test_same_class_keys_can_be_masked() -> None:
    batch = with_pictures(some_batch((2, 2), classes=2), classes=2)
    method, masked = make(classes=2), make(classes=2, mask_same_class=True)
    masked.load_state_dict(method.state_dict())
    for m in (method, masked):
        torch.manual_seed(0)
        m(batch)
        m.after_step()
    a, b = (float(m(batch)["contrast"].detach()) for m in (method, masked))
    assert 0 < b < a


@pytest.mark.parametrize(("pictures", "size"), [(0, 1), (1, 1), (5, 4), (64, 64), (10**7, 200)])
def test_the_queue_is_no_larger_than_the_pictures_fill(pictures: int, size: int) -> None:
    assert len(make(pictures=pictures, queue_size=200).queue.keys) == size


def test_accumulated_parts_push_the_keys_of_all() -> None:
    method = make()
    batch = with_pictures(some_batch((2, 1)))
    for i in range(2):
        method(
            Batch(
                batch.images[i : i + 1], batch.targets[i : i + 1], batch.names[i : i + 1], batch.companions[i : i + 1]
            )
        )
    method.after_step()
    assert int(method.queue.count) == 8


def test_the_detector_alone_is_the_same_as_of_the_specialised_baseline() -> None:
    method = make()
    baseline = build_method(small_config(), small_detector(specialised=True, objectness=True))
    own = {k: v.shape for k, v in method.detector.state_dict().items()}
    assert own == {k: v.shape for k, v in baseline.detector.state_dict().items()}
    baseline.detector.load_state_dict(method.detector.state_dict())
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        a, b = (m.detector.eval()([image])[0] for m in (method, baseline))
    assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_state_goes_on_exactly() -> None:
    method = make(momentum=0.9)
    batches = [with_pictures(some_batch((2, 1)), seed=n) for n in range(4)]
    for batch in batches[:2]:
        torch.manual_seed(0)
        method(batch)
        method.after_step()
    other = make(momentum=0.9)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    for m in (method, other):
        for batch in batches[2:]:
            torch.manual_seed(5)
            losses = m(batch)
            m.after_step()
        m.result = {k: float(v.detach()) for k, v in losses.items()}
    assert method.result == other.result
    for a, b in zip(method.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("beta", [0.1, 1.0, 10.0])
def test_large_beta_in_bf16_stays_finite(beta: float) -> None:
    """Table IV of the paper has NaN at beta = 0.1."""
    method = make(beta=beta, tau=0.02)
    optimiser = torch.optim.SGD(method.parameters(), lr=0.01, momentum=0.9)
    for n in range(6):
        with torch.autocast("cpu", torch.bfloat16):
            losses = method(with_pictures(some_batch((2, 1)), seed=n))
        total = torch.stack([v.float() for v in losses.values()]).sum()
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 10)
        optimiser.step()
        method.after_step()
        assert total.isfinite()
    assert all(p.isfinite().all() for p in method.parameters())
