"""MTL-SSL: its losses in plain loops, the same keys whatever comes, and where gradients go."""

import math

import pytest
import torch

from clis_core.batch import Target, Verified
from clis_core.config.class_loss import FederatedLoss, SeesawLoss
from clis_core.config.detector import MtlConfig
from clis_core.config.method import ClisConfig, MtlTraining, RoiTraining, RpnTraining, SupervisedConfig
from clis_core.detectors.build import build_detector
from clis_core.methods import mtl_ssl
from clis_core.methods.build import build_method
from clis_core.methods.detection_losses import sample_regions
from clis_core.methods.mtl_labels import SoftLabels, closeness_labels, foreground, random_windows, window_labels
from clis_core.methods.mtl_ssl import SecondStage, at_cells, soft_cross_entropy
from tests.losses.some import some_counts
from tests.methods.small import check_gradients, small_config, small_detector, some_batch, with_pictures

TASKS = {
    "windows": {"window": True},
    "closeness": {"closeness": True},
    "foreground": {},
    "all three": {"window": True, "closeness": True},
    "by windows": {"window": True, "refine": True},
    "by closeness": {"closeness": True, "refine": True},
    "everything": {"window": True, "closeness": True, "refine": True},
}
KEYS = {"window": "window", "closeness": "closeness", "refine": "class_refined"}
TRAINING = {"rpn": RpnTraining(before_nms=100, proposals=60, samples=64), "roi": RoiTraining(samples=32)}


def make(heads, *, foreground=1.0, clis=False, loss=None, specialised=False, **training):
    detector = small_detector(specialised=specialised, objectness=specialised).config
    detector = detector.model_copy(update={"mtl": MtlConfig(width=16, **heads)})
    if loss is not None:
        detector = detector.model_copy(update={"class_loss": loss})
    torch.manual_seed(0)
    mtl = MtlTraining(foreground_weight=foreground, windows=8, shortest=12, **training)
    config = ClisConfig(projector=8, mtl=mtl, **TRAINING) if clis else SupervisedConfig(mtl=mtl, **TRAINING)
    return build_method(config, build_detector(detector, 5, some_counts()), 64).train()


def federated(batch):
    """The same boxes; of the other classes 1 is known to be absent, and of 2 there may be more."""
    known = Verified(torch.tensor([1]), torch.tensor([2]))
    return batch.__class__(batch.images, [t._replace(verified=known, seed=7) for t in batch.targets], batch.names)


@pytest.mark.parametrize("boxes", [(3, 2), (0, 0), (1,), (2, 0)])
@pytest.mark.parametrize("name", TASKS)
def test_the_same_keys_whatever_comes(name, boxes):
    heads = TASKS[name]
    method = make(heads, foreground=1.0 if name in ("foreground", "all three", "everything") else 0.0)
    expected = {"rpn_objectness", "rpn_box", "class", "box"} | {KEYS[h] for h in heads}
    expected |= {"foreground"} if method.mtl.foreground is not None else set()
    for batch in (some_batch(boxes), federated(some_batch(boxes))):
        losses = method(batch)
        assert losses.keys() == expected
        assert all(v.shape == () and v.isfinite() and v.dtype == torch.float32 for v in losses.values())
        method.zero_grad()
        sum(losses.values()).backward()
        check_gradients(method)


@pytest.mark.parametrize("boxes", [(3, 2), (0,)])
def test_together_with_clis(boxes):
    method = make(TASKS["everything"], clis=True, specialised=True)
    losses = method(with_pictures(some_batch(boxes)))
    assert {"image_class", "contrast", "window", "closeness", "foreground", "class_refined"} < losses.keys()
    sum(losses.values()).backward()
    check_gradients(method)
    method.after_step()


def test_without_tasks_nothing_changes():
    plain = build_method(small_config(), small_detector()).train()
    off = make({}, foreground=0.0)
    assert plain.state_dict().keys() == off.state_dict().keys()
    off.load_state_dict(plain.state_dict())
    torch.manual_seed(1)
    first = plain(some_batch())
    torch.manual_seed(1)
    second = off(some_batch())
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


def row_loss(logits, shares, allowed):
    """- sum of share x log softmax over the classes that take part."""
    total = sum(math.exp(logits[k]) for k in allowed)
    return -sum(share * math.log(math.exp(logits[k]) / total) for k, share in shares.items())


def test_soft_cross_entropy_in_loops():
    torch.manual_seed(0)
    logits = torch.randn(3, 6, requires_grad=True)
    complete = SoftLabels(*(torch.tensor(x).numpy() for x in ([0, 3], [[0.4, 0.6]], [[True, True]])), absent=None)
    complete = complete._replace(shares=complete.shares.astype("float32"))
    shares = torch.tensor([[0.3, 0.0, 0.7], [0.5, 0.5, 0.0]]).numpy()
    known = torch.tensor([[True, False, True], [True, True, True]]).numpy()
    part = SoftLabels(torch.tensor([0, 2, 4]).numpy(), shares, known, torch.tensor([5]).numpy())
    got = soft_cross_entropy(logits, [complete, part])
    rows = logits.tolist()
    wanted = row_loss(rows[0], {0: 0.4, 3: 0.6}, range(6))
    wanted += row_loss(rows[1], {0: 0.3, 4: 0.7}, [0, 4, 5]) + row_loss(rows[2], {0: 0.5, 2: 0.5}, [0, 2, 4, 5])
    assert got.item() == pytest.approx(wanted, rel=1e-5)
    got.backward()
    # What is not known of a row has no part in it.
    assert (logits.grad[1, [1, 2, 3]] == 0).all()
    assert (logits.grad[2, [1, 3]] == 0).all()
    assert (logits.grad[1, [0, 4, 5]] != 0).all()
    # Without rows, and where a row has nothing to teach, there is a zero with a gradient.
    empty = SoftLabels(part.classes[:0], shares[:0, :0], known[:0, :0], None)
    assert soft_cross_entropy(logits[:0], [empty]).requires_grad
    alone = SoftLabels(part.classes[:1], shares[:1, :1] * 0, known[:1, :1], None)
    assert soft_cross_entropy(logits[:1], [alone]).item() == 0


@pytest.fixture
def scene(monkeypatch):
    """A method with all tasks, and what a forward pass of it is made of."""
    method = make(TASKS["everything"], window_weight=2.0, closeness_weight=3.0, refine_weight=4.0)
    torch.nn.init.normal_(method.detector.mtl.fc_refine.weight, std=0.2)
    batch = federated(some_batch((3, 2)))
    detector = method.detector
    images = detector.preprocess(batch.images)
    # Those of a network without first weights are next to nothing.
    features = [f / f.std().detach() for f in detector.encoder(images.pixels)]
    for part in (detector.mtl.window, detector.mtl.closeness):
        torch.nn.init.normal_(part.fc.weight, std=0.5)
    more = torch.rand(2, 6, 4) * 20 + torch.tensor([0, 0, 25, 25])
    proposals = [torch.cat((t.boxes + 1.5, m)) for t, m in zip(batch.targets, more, strict=True)]
    boxes, labels, matched, _ = sample_regions(proposals, batch.targets, RoiTraining(samples=8))
    pooled = detector.pool_regions(features, boxes)
    logits = detector.head.fc_cls(detector.head.cls_2fc(pooled))
    sampled = SecondStage(boxes, labels, matched, pooled, logits)
    return method, batch.targets, images.sizes, features, sampled


def test_losses_in_loops(scene):
    method, targets, sizes, features, sampled = scene
    detector, heads = method.detector, method.detector.mtl
    got = method.mtl(detector, features, sizes, targets, sampled)
    windows, near, start = [], [], 0
    closeness = heads.closeness(sampled.pooled)
    for image, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        places = random_windows(target, size, 8, 12)
        soft = window_labels(target, places)
        for number, place in enumerate(places):
            box = torch.from_numpy(place).float()[None]
            pooled = detector.pool_regions(features, [box if n == image else box[:0] for n in range(2)])
            shares = dict(zip(soft.classes.tolist(), soft.shares[number].tolist(), strict=True))
            allowed = [k for k, known in zip(soft.classes.tolist(), soft.known[number], strict=True) if known]
            windows.append(row_loss(heads.window(pooled)[0].tolist(), shares, [*allowed, *soft.absent.tolist()]))
        objects = int((sampled.labels[image] > 0).sum())
        soft = closeness_labels(
            target, sampled.matched[image].double().numpy(), sampled.labels[image][:objects].numpy(), size
        )
        for number in range(objects):
            row = closeness[start + number].tolist()
            shares = {k - 1: s for k, s in zip(soft.classes.tolist(), soft.shares[number].tolist(), strict=True)}
            near.append(row_loss(row, shares, [*shares, *(soft.absent - 1).tolist()]) if sum(shares.values()) else 0)
        start += len(sampled.labels[image])
    assert len(near) > 2
    assert got["window"].item() == pytest.approx(2 * sum(windows) / len(windows), rel=1e-4)
    assert got["closeness"].item() == pytest.approx(3 * sum(near) / len(near), rel=1e-4)
    refined = detector.refined(sampled.logits, features, sampled.boxes, sizes, sampled.pooled, closeness)
    label = torch.cat(sampled.labels)
    wanted = torch.nn.functional.cross_entropy(refined, label)
    assert got["class_refined"].item() == pytest.approx(4 * wanted.item(), rel=1e-5)
    assert (refined - sampled.logits).abs().max() > 0.01


def test_foreground_in_loops(scene):
    method, targets, sizes, features, sampled = scene
    got = method.mtl(method.detector, features, sizes, targets, sampled)["foreground"]
    level = method.detector.strides.index(16)
    seen = torch.tanh(method.mtl.foreground(features[level]))
    total = 0.0
    for image, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        wanted, logits = foreground(target, size), at_cells(seen[image, None], [size], 16)[0]
        for row in range(64):
            for column in range(64):
                a, b = logits[:, row, column].tolist()
                own = (a, b)[wanted.mask[row, column]]
                total += wanted.weights[row, column] * (math.log(math.exp(a) + math.exp(b)) - own) / 64**2
    assert got.item() == pytest.approx(total / 2, rel=1e-4)


def test_cells_are_where_they_are_in_the_image():
    stride, (height, width) = 16, (6, 8)
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack((y * stride, x * stride))[None].float()  # each value is where it lies, in pixels
    got = at_cells(places, [(70, 100)], stride)[0]
    wanted = (torch.arange(64) + 0.5) / 64
    inside = slice(8, 63)  # beyond the middle of the outermost values there is nothing to interpolate with
    torch.testing.assert_close(got[0][inside, 3], (wanted * 70)[inside])
    torch.testing.assert_close(got[1][5, inside], (wanted * 100)[inside])


def touched(method, loss):
    method.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)
    return {n for n, p in method.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_where_gradients_go(scene):
    method, targets, sizes, features, sampled = scene
    losses = method.mtl(method.detector, features, sizes, targets, sampled)

    def parts(names):
        return {n.removeprefix("detector.").split(".fc")[0].split(".branch")[0].partition(".weight")[0]
                for n in names if ".encoder." not in n}  # fmt: skip

    for name, expected in {
        "window": {"mtl.window"},
        "closeness": {"mtl.closeness"},
        "class_refined": {"mtl", "head", "head.cls_2fc"},
        "foreground": {"mtl.foreground", "mtl.foreground.bias"},
    }.items():
        names = touched(method, losses[name])
        assert any(n.startswith("detector.encoder.") for n in names), name
        assert parts(names) == expected, name


def test_regions_are_counted_once():
    counts = []
    for heads in ({}, TASKS["everything"]):
        method = make(heads, loss=SeesawLoss(), foreground=0.0)
        torch.manual_seed(5)
        method(some_batch())
        counts.append([b.clone() for n, b in method.named_buffers() if "class_loss" in n])
    assert any(bool(b.sum()) for b in counts[0])
    for plain, refined in zip(*counts, strict=True):
        assert plain.sum() == refined.sum()


def test_other_class_losses_refine_as_well():
    method = make(TASKS["everything"], loss=FederatedLoss(classes=3))
    losses = method(federated(some_batch()))
    sum(losses.values()).backward()
    check_gradients(method)


def test_draws_hang_on_the_seed_of_the_image(scene, monkeypatch):
    method, targets, sizes, features, sampled = scene
    seen = []
    monkeypatch.setattr(mtl_ssl, "window_labels", lambda t, w: (seen.append(w), window_labels(t, w))[1])
    for seed in (7, 7, 8):
        torch.manual_seed(seed + len(seen))
        method.mtl(method.detector, features, sizes, [Target(t.boxes, t.labels, seed=seed) for t in targets], sampled)
    assert (seen[0] == seen[2]).all()
    assert (seen[0] != seen[4]).any()
