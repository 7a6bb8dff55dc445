"""What holds for every class loss: nothing to learn, one class, half precision, statistics, resuming, settings."""

import copy

import pytest
import torch
from pydantic import TypeAdapter

from clis_core.config.class_loss import ClassLossConfig
from clis_core.config.load import Layer, dump_toml, load_config, resolve
from clis_core.errors import ConfigError
from clis_core.losses.build import build_class_loss
from tests.losses.some import LOSSES, make, regions

COUNTING = {"seesaw", "seesaw-plain", "eqlv2", "eqlv2-plain"}
FROM_DATA = {"eql", "bags", "federated"}


@pytest.fixture(params=LOSSES)
def name(request):
    return request.param


def state_of(loss):
    return {k: v.clone() for k, v in loss.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_nothing_to_learn_is_zero_and_attached(name):
    loss = make(name)
    logits = torch.zeros(0, loss.num_logits, requires_grad=True)
    before = state_of(loss)
    value = loss(logits, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert value.shape == ()
    assert logits.grad is not None
    assert same(before, state_of(loss))
    assert loss.scores(logits.detach()).shape == (0, 5)


def test_background_alone_and_objects_alone(name):
    loss = make(name)
    logits, _ = regions(loss)
    logits.requires_grad_()
    for label in (0, 3):
        value = loss(logits, torch.full((12,), label))
        value.backward()
        assert value.isfinite()
        assert value > 0
        assert logits.grad.isfinite().all()


def test_one_class(name):
    loss = make(name, classes=1)
    for seed in range(2):
        logits, labels = regions(loss, classes=1, seed=seed)
        value = loss(logits.requires_grad_(), labels)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()
    assert loss.scores(logits.detach()).shape == (12, 1)


def test_scores_are_between_0_and_1_and_rise_with_the_class_logit(name):
    loss = make(name)
    logits, _ = regions(loss)
    scores = loss.scores(logits)
    assert scores.shape == (12, 5)
    assert scores.dtype == torch.float32
    assert ((scores > 0) & (scores < 1)).all()
    for label in range(1, 6):
        more = logits.clone()
        more[:, loss.num_logits - 5 + label - 1] += 1  # the classes are the last columns
        assert (loss.scores(more)[:, label - 1] > scores[:, label - 1]).all()


def test_learning_raises_the_score_of_the_label(name):
    torch.manual_seed(0)
    loss = make(name)
    _, labels = regions(loss, count=40, seed=3)
    logits = (loss.first_bias().expand(40, -1) + 0.01 * torch.randn(40, loss.num_logits)).clone().requires_grad_()
    before = loss.scores(logits.detach())
    for _ in range(60):
        (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
        with torch.no_grad():
            logits -= 20 * gradient
    after = loss.scores(logits.detach())
    rows = labels.nonzero()[:, 0]
    assert (after[rows].argmax(dim=1) + 1 == labels[rows]).all()
    assert (after[rows, labels[rows] - 1] > before[rows, labels[rows] - 1]).all()
    assert after[labels == 0].max() < after[rows, labels[rows] - 1].min()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name, dtype):
    loss = make(name)
    for scale in (2.0, 200.0):
        logits, labels = regions(loss, scale=scale)
        logits = logits.to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(logits, labels)
            scores = loss.scores(logits.detach())
        value.backward()
        assert value.dtype == scores.dtype == torch.float32
        assert value.isfinite()
        assert logits.grad.isfinite().all()
        assert scores.isfinite().all()
        assert all(v.isfinite().all() for v in loss.state_dict().values())
    fresh = make(name)
    logits, labels = regions(fresh)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        under = fresh(logits, labels)
    torch.manual_seed(1)
    assert torch.equal(under, make(name)(logits, labels))


def test_statistics_change_where_boxes_are_learnt_from_alone(name):
    loss = make(name)
    logits, labels = regions(loss)
    before = state_of(loss)
    loss(logits, labels, count=False)  # the pictures of CLIS
    assert same(before, state_of(loss))
    loss.eval()(logits, labels)
    assert same(before, state_of(loss))
    loss.train()(logits, labels)
    assert same(before, state_of(loss)) == (name not in COUNTING)


def test_a_state_that_is_loaded_goes_on_exactly(name):
    through = make(name)
    batches = [regions(through, seed=seed) for seed in range(6)]
    for logits, labels in batches[:3]:
        through(logits, labels)
    resumed = build_class_loss(LOSSES[name], 5)  # the data's counts are in the state
    resumed.load_state_dict(copy.deepcopy(through.state_dict()))
    results = []
    for loss in (through, resumed.train()):
        torch.manual_seed(7)
        results.append([loss(*batch) for batch in batches[3:]])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    assert same(through.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("name", FROM_DATA)
def test_counts_of_the_data_are_asked_for(name):
    loss = build_class_loss(LOSSES[name], 5)
    with pytest.raises(ConfigError, match="without them") as caught:
        loss(*regions(loss))
    assert caught.value.hint


def test_settings_come_back_from_their_file(name, tmp_path):
    values = LOSSES[name].model_dump()
    config = resolve([Layer("test", {"detector": {"class_loss": values}})])
    assert config.detector.class_loss == LOSSES[name]
    (tmp_path / "config.toml").write_text(dump_toml(config))
    assert load_config(tmp_path / "config.toml") == config
    adapter = TypeAdapter(ClassLossConfig)
    assert adapter.validate_json(adapter.dump_json(LOSSES[name])) == LOSSES[name]


def test_settings_of_another_loss_are_refused():
    with pytest.raises(ConfigError, match=r"'eql' has no gamma; of kind 'eqlv2' it has"):
        resolve([Layer("test", {"detector": {"class_loss": {"kind": "eql", "gamma": 2.0}}})])
    with pytest.raises(ConfigError, match="rising order"):
        resolve([Layer("test", {"detector": {"class_loss": {"kind": "bags", "bounds": [10, 5]}}})])
