"""Starting from a checkpoint: which weights come, which stay, what is refused, and what is then taught."""

import pytest
import torch

from clis_core.categories import Categories, Category
from clis_core.config.class_loss import BagsLoss, SeesawLoss, SoftmaxLoss
from clis_core.config.detector import MaskConfig, MtlConfig
from clis_core.detectors.build import build_detector
from clis_core.detectors.checkpoint import pack
from clis_core.errors import CheckpointError, ConfigError
from clis_core.methods.build import build_method
from clis_core.training.start import learn_only, start_from
from tests.losses.some import some_counts
from tests.methods.small import small_config, small_detector, some_batch

CLASSES = Categories(Category(i, f"class {i}") for i in range(1, 6))


def detector_of(loss, seed=0, **head):
    config = small_detector(**head).config.model_copy(update={"class_loss": loss})
    torch.manual_seed(seed)
    return build_detector(config, 5, some_counts())


def saved(detector, path, categories=CLASSES):
    torch.save(pack(detector, detector.state_dict(), categories, 3), path)
    return path


def equal(a, b):
    return {k for k, v in a.items() if k in b and v.shape == b[k].shape and torch.equal(v, b[k])}


def test_the_same_loss_brings_its_class_layer_and_not_its_statistics(tmp_path):
    first, second = detector_of(SeesawLoss()), detector_of(SeesawLoss(p=0.5), seed=1)
    first.head.class_loss.seen += 7
    assert start_from(second, CLASSES, saved(first, tmp_path / "a.pt")) == []
    own, other = second.state_dict(), first.state_dict()
    assert own.keys() - equal(own, other) == {"head.class_loss.seen"}
    assert not second.head.class_loss.seen.any()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SoftmaxLoss(), BagsLoss(bounds=(5, 50))),
        (SoftmaxLoss(), SeesawLoss(objectness=False)),  # of the same shape
        (BagsLoss(bounds=(5, 50)), BagsLoss(bounds=(6, 50))),
    ],
    ids=str,
)
def test_another_loss_gets_a_class_layer_of_its_own(tmp_path, before, after):
    first, second = detector_of(before), detector_of(after, seed=1)
    layer = second.head.fc_cls.weight.clone()
    kept = start_from(second, CLASSES, saved(first, tmp_path / "a.pt"))
    assert kept == ["head.fc_cls.weight", "head.fc_cls.bias"]
    assert torch.equal(second.head.fc_cls.weight, layer)
    own = {k: v for k, v in second.state_dict().items() if "class_loss" not in k and "fc_cls" not in k}
    assert equal(own, first.state_dict()) == own.keys()
    if isinstance(after, BagsLoss):
        assert second.head.class_loss.group.min() >= 0  # of this training's data


@pytest.mark.parametrize(
    ("more", "prefix", "first_name"),
    [
        ({"mtl": MtlConfig(window=True, refine=True, width=16)}, "mtl.", r"mtl\.fc_refine\.bias is \[6\]"),
        ({"mask": MaskConfig(enabled=True, convs=1, channels=8, pool=2)}, "mask_head.", r"mask_head\.\S+ is \[8\]"),
    ],
)
def test_further_heads_may_be_added_and_come_along(tmp_path, more, prefix, first_name):
    plain = small_detector().config
    heads = plain.model_copy(update=more)
    first, second, third = (build_detector(config, 5) for config in (plain, heads, heads))
    kept = start_from(second, CLASSES, saved(first, tmp_path / "plain.pt"))
    assert kept
    assert all(name.startswith(prefix) for name in kept)
    assert equal(second.state_dict(), first.state_dict()) == first.state_dict().keys()
    assert start_from(third, CLASSES, saved(second, tmp_path / "heads.pt")) == []
    assert equal(third.state_dict(), second.state_dict()) == second.state_dict().keys()
    with pytest.raises(CheckpointError, match=f"{first_name} there, none here"):
        start_from(first, CLASSES, tmp_path / "heads.pt")


def test_what_does_not_fit_is_refused_and_nothing_is_changed(tmp_path):
    second = detector_of(BagsLoss(), seed=1)
    before = {k: v.clone() for k, v in second.state_dict().items()}
    path = saved(detector_of(SoftmaxLoss(), specialised=True), tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"head\.loc_2fc\.fc6\.bias is \[32\] there, none here") as caught:
        start_from(second, CLASSES, path)
    assert caught.value.hint
    others = Categories(Category(i, f"thing {i}") for i in range(1, 6))
    with pytest.raises(CheckpointError, match="other classes"):
        start_from(second, CLASSES, saved(detector_of(SoftmaxLoss()), tmp_path / "b.pt", others))
    assert equal(before, second.state_dict()) == before.keys()


def test_the_class_layer_alone_is_taught():
    method = build_method(small_config(), detector_of(BagsLoss(bounds=(5, 50)), specialised=True, objectness=True))
    learn_only(method.detector, "classifier")
    for boxes in ((3, 2), (0, 0)):
        losses = method.train()(some_batch(boxes))
        sum(losses.values()).backward()
    assert [n for n, p in method.named_parameters() if p.grad is not None] == [
        "detector.head.fc_cls.weight",
        "detector.head.fc_cls.bias",
    ]
    assert method.detector.head.fc_cls.weight.grad.any()


def test_a_class_layer_that_fits_can_start_anew(tmp_path):
    first, second = detector_of(SoftmaxLoss()), detector_of(SoftmaxLoss(), seed=1)
    layer = {k: v.clone() for k, v in second.state_dict().items() if "fc_cls" in k}
    kept = start_from(second, CLASSES, saved(first, tmp_path / "a.pt"), reset_classifier=True)
    assert kept == ["head.fc_cls.weight", "head.fc_cls.bias"]
    own, other = second.state_dict(), first.state_dict()
    assert equal(own, layer) == layer.keys()
    assert equal(own, other) >= {k for k in own if "fc_cls" not in k}


def test_factors_begin_at_one_over_the_class_layer_of_the_first_stage(tmp_path):
    first, second = detector_of(SoftmaxLoss()), detector_of(SoftmaxLoss(), seed=1, classifier="scaled")
    assert start_from(second, CLASSES, saved(first, tmp_path / "a.pt")) == []
    assert equal(first.state_dict(), second.state_dict()) == first.state_dict().keys()
    x = torch.randn(4, 32)
    torch.testing.assert_close(second.head.fc_cls(x), first.head.fc_cls(x))
    with torch.no_grad():
        second.head.fc_cls.scale[2] = 3.0
        logits = 3 * (first.head.fc_cls.weight[2] @ x[1]) + first.head.fc_cls.bias[2]
        torch.testing.assert_close(second.head.fc_cls(x)[1, 2], logits)
    third = detector_of(SoftmaxLoss(), seed=2, classifier="scaled")
    start_from(third, CLASSES, saved(second, tmp_path / "b.pt"))
    assert third.head.fc_cls.scale[2] == 3
    with pytest.raises(CheckpointError, match=r"fc_cls\.scale"):  # factors do not get lost
        start_from(detector_of(SoftmaxLoss()), CLASSES, saved(second, tmp_path / "b.pt"))


def test_factors_alone_are_taught():
    method = build_method(small_config(), detector_of(SoftmaxLoss(), classifier="scaled"))
    learn_only(method.detector, "scales")
    sum(method.train()(some_batch((3, 2))).values()).backward()
    assert [n for n, p in method.named_parameters() if p.grad is not None] == ["detector.head.fc_cls.scale"]
    assert method.detector.head.fc_cls.scale.grad.all()
    with pytest.raises(ConfigError, match="no factors") as caught:
        learn_only(detector_of(SoftmaxLoss()), "scales")
    assert caught.value.hint
