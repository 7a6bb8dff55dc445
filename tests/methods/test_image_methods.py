"""Self-training, DLWL and Unbiased Teacher: the same keys whatever comes, where gradients go, state that goes on."""

import copy

import pytest
import torch

from clis_core.config.image_methods import DlwlConfig, SelfTrainingConfig, UnbiasedTeacherConfig
from clis_core.config.method import RoiTraining, RpnTraining
from clis_core.methods.build import build_method
from tests.methods.small import check_gradients, small_config, small_detector, some_batch, with_pictures

OWN = ["rpn_objectness", "rpn_box", "class", "box", "objectness"]
KINDS = {
    "self-training": (SelfTrainingConfig, {}, [f"pseudo_{name}" for name in OWN]),
    "dlwl": (DlwlConfig, {}, ["image_class"]),
    "teacher": (
        UnbiasedTeacherConfig,
        {"burn_in": 0, "threshold": 0.001, "momentum": 0.9},
        ["pseudo_rpn_objectness", "pseudo_class", "pseudo_objectness"],
    ),
}
NEVER = {
    "self-training": (),
    "dlwl": ("detector.rpn", "detector.head.loc_2fc", "detector.head.fc_reg", "detector.head.fc_obj"),
    "teacher": ("detector.rpn.head.bbox_pred", "detector.head.fc_reg", "teacher"),
}


def make(kind, classes=5, head=None, **values):
    config, settings, _ = KINDS[kind]
    rpn, roi = RpnTraining(before_nms=100, proposals=60, samples=64), RoiTraining(samples=32)
    head = {"specialised": True, "objectness": True} if head is None else head
    return build_method(config(rpn=rpn, roi=roi, **{**settings, **values}), small_detector(classes, **head)).train()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("boxes", "s"), [((3, 2), 8), ((0, 0), 4), ((2, 1), 0), ((0,), 0)])
@pytest.mark.parametrize("head", [None, {}], ids=["specialised", "plain"])
def test_the_same_keys_whatever_comes(kind, boxes, s, head):
    method = make(kind, head=head)
    for _ in range(2):
        losses = method(with_pictures(some_batch(boxes), s, 0) if s else some_batch(boxes))
        wanted = OWN + KINDS[kind][2]
        assert list(losses) == [k for k in wanted if head is None or "objectness" not in k or "rpn" in k]
        assert all(v.shape == () and v.isfinite() and v.dtype == torch.float32 for v in losses.values())
        assert any(float(losses[k].detach()) > 0 for k in KINDS[kind][2] if k in losses) == bool(s)
        method.zero_grad()
        sum(losses.values()).backward()
        method.after_step()
    check_gradients(method)


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_and_bf16(kind):
    method = make(kind, classes=1)
    with torch.autocast("cpu", torch.bfloat16):
        losses = method(with_pictures(some_batch((2,), classes=1), t=0, classes=1))
    assert all(v.isfinite() and v.dtype == torch.float32 for v in losses.values())


@pytest.mark.parametrize("kind", KINDS)
def test_where_gradients_go(kind):
    method = make(kind)
    losses = method(with_pictures(some_batch((3, 2)), t=0))
    sum(losses[k] for k in KINDS[kind][2]).backward()
    reached = {n for n, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert {"detector.head.fc_cls.weight", "detector.head.cls_2fc.fc6.weight"} <= reached
    assert any(n.startswith("detector.encoder.backbone") for n in reached)
    assert ("detector.rpn.head.cls_logits.weight" in reached) == (kind != "dlwl")
    for part in NEVER[kind]:
        assert not [n for n in reached if n.startswith(part)], part


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_on_exactly(kind):
    method = make(kind)
    batches = [with_pictures(some_batch((2, 1)), t=0, seed=n) for n in range(4)]

    def step(taught, batch, seed):
        torch.manual_seed(seed)
        losses = taught(batch)
        sum(losses.values()).backward()
        with torch.no_grad():
            for p in taught.parameters():
                if p.grad is not None:
                    p.sub_(0.01 * p.grad)
        taught.zero_grad()
        taught.after_step()
        return {k: float(v.detach()) for k, v in losses.items()}

    for n, batch in enumerate(batches[:2]):
        step(method, batch, n)
    other = make(kind)
    other.load_state_dict(copy.deepcopy(method.state_dict()))
    found = [[step(taught, batch, 9) for batch in batches[2:]] for taught in (method, other)]
    assert found[0] == found[1]
    assert method.state_dict().keys() == other.state_dict().keys()
    for a, b in zip(method.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_inference_needs_the_detector_alone(kind):
    baseline = build_method(small_config(), small_detector(specialised=True, objectness=True))
    assert make(kind).detector.state_dict().keys() == baseline.detector.state_dict().keys()
