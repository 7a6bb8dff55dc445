"""Every class loss under every head, taught by boxes alone and with CLIS on top."""

import pytest
import torch

from clis_core.config.method import ClisConfig, RoiTraining, RpnTraining
from clis_core.detectors.build import build_detector
from clis_core.methods.build import build_method
from tests.losses.some import LOSSES, some_counts
from tests.methods.small import small_config, small_detector, some_batch, with_pictures

HEADS = {
    "shared": {},
    "specialised": {"specialised": True, "objectness": True},
    "cosine": {"classifier": "cosine"},
}


def make(name, method="supervised", head="specialised", classes=5, **clis):
    torch.manual_seed(0)
    config = small_detector().config
    head_config = config.head.model_copy(update=HEADS[head])
    config = config.model_copy(update={"head": head_config, "class_loss": LOSSES[name]})
    detector = build_detector(config, classes, some_counts(classes))
    if method == "supervised":
        return build_method(small_config(), detector).train()
    rpn, roi = RpnTraining(before_nms=100, proposals=60, samples=64), RoiTraining(samples=32)
    return build_method(ClisConfig(rpn=rpn, roi=roi, projector=8, **clis), detector, 64).train()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("method", ["supervised", "clis"])
def test_whatever_comes(method, name, head):
    taught = make(name, method, head)
    keys = None
    for boxes in ((3, 2), (0, 0), (0, 2)):
        batch = some_batch(boxes)
        with torch.autocast("cpu", torch.bfloat16, enabled=boxes == (0, 2)):
            losses = taught(with_pictures(batch) if method == "clis" else batch)
        keys = keys or list(losses)
        assert list(losses) == keys
        assert all(v.isfinite() and v.shape == () and v.dtype == torch.float32 for v in losses.values())
        taught.zero_grad()
        sum(losses.values()).backward()
        for parameter_name, parameter in taught.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, parameter_name
                assert parameter.grad.isfinite().all(), parameter_name
        taught.after_step()
    taught.detector.eval()
    with torch.no_grad():
        (found,) = taught.detector([torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)])
    assert found.scores.isfinite().all()
    assert (found.scores <= 1).all()


@pytest.mark.parametrize("name", LOSSES)
def test_pictures_are_learnt_from_by_the_same_loss_and_not_counted(name):
    clis, alone = make(name, "clis", alpha=0.3, beta=0.0), make(name)
    alone.detector.load_state_dict(clis.detector.state_dict())
    batch = with_pictures(some_batch((0, 0)), t=0)
    losses = clis(batch)
    alone(some_batch((0, 0)))
    mine, theirs = clis.detector.head.class_loss.state_dict(), alone.detector.head.class_loss.state_dict()
    for key, value in mine.items():
        torch.testing.assert_close(value, theirs[key])
    mosaics = [m for companions in batch.companions for m in companions.mosaics]
    logits = clis.detector.head.fc_cls(clis._embed_pictures(clis._pool_pictures(mosaics)))
    labels = torch.cat([m.labels for m in mosaics])
    if name not in ("bags", "federated"):  # these draw
        wanted = clis.detector.head.class_loss(logits, labels, count=False)
        torch.testing.assert_close(losses["image_class"], 0.3 * wanted)
    assert losses["image_class"] > 0


@pytest.mark.parametrize("name", LOSSES)
def test_the_heads_objectness_multiplies_the_score(name):
    head = make(name).detector.eval().head
    with torch.no_grad():
        head.fc_obj.bias.fill_(-1.0)
        embedded = head.embed(torch.randn(6, 16, 3, 3))
        wanted = head.class_loss.scores(head.fc_cls(embedded.cls)) * head.fc_obj(embedded.loc).sigmoid()
        torch.testing.assert_close(head.scores(head.fc_cls(embedded.cls), embedded.loc), wanted)


def test_without_weight_sharing_pictures_have_a_class_layer_of_the_same_kind():
    taught = make("eqlv2", "clis", "cosine", siamese=False)
    assert type(taught.image_fc) is type(taught.detector.head.fc_cls)
    assert torch.equal(taught.image_fc.bias, taught.detector.head.class_loss.first_bias())
    assert taught(with_pictures(some_batch((2, 1))))["image_class"] > 0


@pytest.mark.parametrize("name", ["eql", "eqlv2", "federated"])
def test_a_sigmoid_for_each_of_many_classes_begins_with_a_small_loss(name):
    taught = make(name, head="shared", classes=300)
    assert float(taught(some_batch((2, 1), classes=300))["class"].detach()) < 12  # 0.7 a class without the first bias
