"""The loop: resuming, stopping, diverging, averaging, and what it leaves on disk."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from clis_core.categories import Categories, Category
from clis_core.config.method import RoiTraining, RpnTraining, SupervisedConfig
from clis_core.config.train import AdamW, Cosine, Sgd, TrainConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from clis_core.errors import CheckpointError, DataError, Interrupted, TrainingDiverged
from clis_core.methods.build import build_method
from clis_core.report import JsonLinesReporter, SilentReporter
from clis_core.training.checkpoint import TrainState, restore
from clis_core.training.ema import Averaged
from clis_core.training.loop import train_loop
from clis_core.training.optim import build_optimiser
from tests.methods.small import small_config, small_detector, some_batch

CLASSES = Categories(Category(i, f"class {i}") for i in range(1, 6))
CONFIG = TrainConfig(
    iterations=6,
    batch=2,
    lr=1e-3,
    lr_batch=2,
    optimiser=AdamW(),
    schedule=Cosine(),
    warmup=2,
    clip=10.0,
    ema=0.9,
    log_every=2,
    checkpoint_every=2,
)


def make_state(config=CONFIG):
    method = build_method(small_config(), small_detector(specialised=True, objectness=True))
    return TrainState(
        method,
        build_optimiser(method, config),
        torch.amp.GradScaler(enabled=False),
        Averaged(method.detector, config.ema) if config.ema else None,
    )


def batches(start, config=CONFIG, spoil=None):
    for step in range(start, config.iterations):
        batch = some_batch((2, 1), seed=step)
        yield spoil(step, batch) if spoil else batch


def run_loop(run, state, config=CONFIG, evaluate=None, reporter=None, spoil=None):
    return train_loop(
        state,
        batches(state.step, config, spoil),
        config,
        seed=3,
        run=run,
        categories=CLASSES,
        reporter=reporter or SilentReporter(),
        evaluate=evaluate,
    )


def everything(state):
    tensors = {f"method.{k}": v for k, v in state.method.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.averaged.module.state_dict().items()}
    for index, slot in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in slot.items()}
    return tensors


def assert_same(a, b):
    mine, theirs = everything(a), everything(b)
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        assert torch.equal(value, theirs[key]), key


def test_resume_is_bit_for_bit(tmp_path):
    through = make_state()
    run_loop(tmp_path / "a", through)

    class Killed(Exception):
        pass

    def kill(step, batch):
        if step == 5:
            raise Killed
        return batch

    with pytest.raises(Killed):
        run_loop(tmp_path / "b", make_state(), spoil=kill)
    assert [f.name for f in checkpoints_of(tmp_path / "b")] == ["step-00000002.pt", "step-00000004.pt"]
    torch.manual_seed(99)  # whatever the new process did with random numbers
    resumed = make_state()
    assert restore(tmp_path / "b", resumed, CLASSES, SilentReporter()).name == "step-00000004.pt"
    assert resumed.step == 4
    run_loop(tmp_path / "b", resumed)
    assert_same(through, resumed)
    shipped = [detector_from_checkpoint(checkpoints_of(tmp_path / name)[-1]).detector for name in "ab"]
    assert fingerprint(shipped[0].state_dict()) == fingerprint(shipped[1].state_dict())


def test_other_seed_gives_other_weights(tmp_path):
    a, b = make_state(), make_state()
    run_loop(tmp_path, a)
    train_loop(
        b,
        batches(0),
        CONFIG,
        seed=4,
        run=tmp_path,
        categories=CLASSES,
        reporter=SilentReporter(),
        evaluate=None,
    )
    assert any(not torch.equal(v, everything(b)[k]) for k, v in everything(a).items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_stops(tmp_path, number):
    before = signal.getsignal(number)

    def stop(step, batch):
        if step == 2:
            os.kill(os.getpid(), number)
        return batch

    state = make_state()
    with pytest.raises(Interrupted, match=number.name) as caught:
        run_loop(tmp_path / "b", state, spoil=stop)
    assert caught.value.exit_code == 130
    assert "--resume" in caught.value.hint
    assert state.step == 2  # the signal came while the third step's images were awaited
    assert checkpoints_of(tmp_path / "b")[-1].name == "step-00000002.pt"
    assert signal.getsignal(number) == before

    through, resumed = make_state(), make_state()
    run_loop(tmp_path / "a", through)
    restore(tmp_path / "b", resumed, CLASSES, SilentReporter())
    run_loop(tmp_path / "b", resumed)
    assert_same(through, resumed)


def test_sigterm_twice_still_saves(tmp_path):
    """As from a scheduler that signals the process and its group."""

    def stop(step, batch):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)  # within a second: not yet impatience
        return batch

    with pytest.raises(Interrupted, match="SIGTERM"):
        run_loop(tmp_path, make_state(), spoil=stop)
    assert checkpoints_of(tmp_path)[-1].name == "step-00000002.pt"


def test_a_second_ctrl_c_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("clis_core.training.interrupt.IMPATIENT", 0.0)

    def stop(step, batch):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return batch

    with pytest.raises(KeyboardInterrupt):
        run_loop(tmp_path, make_state(), spoil=stop)


def test_an_unreadable_image_costs_no_steps(tmp_path):
    def broken(step, batch):
        if step == 3:
            raise DataError("7.jpg is cut short.")
        return batch

    with pytest.raises(DataError, match=r"7\.jpg"):
        run_loop(tmp_path, make_state(), spoil=broken)
    assert checkpoints_of(tmp_path)[-1].name == "step-00000003.pt"


def test_diverged_loss_names_term_step_and_images(tmp_path):
    state = make_state()

    def spoil(step, batch):
        if step == 3:
            state.method.detector.head.fc_obj.bias.data.fill_(float("nan"))
        return batch

    with pytest.raises(TrainingDiverged, match=r"Step 3.*: objectness = nan\. Images: 0\.jpg, 1\.jpg") as caught:
        run_loop(tmp_path, state, spoil=spoil)
    assert "--lr" in caught.value.hint
    assert "step-00000002.pt" in caught.value.hint
    assert [f.name for f in checkpoints_of(tmp_path)] == ["step-00000002.pt"]
    for tensor in detector_from_checkpoint(checkpoints_of(tmp_path)[-1]).detector.state_dict().values():
        assert tensor.isfinite().all()


def test_diverged_gradient(tmp_path):
    state = make_state()
    weight = state.method.detector.head.fc_cls.weight
    weight.register_hook(lambda g: g * float("inf") if state.step == 1 else g)
    with pytest.raises(TrainingDiverged, match="Step 1: the gradient is not finite"):
        run_loop(tmp_path, state)
    assert weight.isfinite().all()


def test_accumulation_equals_the_mean_of_its_parts(tmp_path):
    """Every anchor and every region is sampled, so that parts do not draw differently."""
    config = CONFIG.model_copy(
        update={"optimiser": Sgd(), "ema": 0.0, "iterations": 1, "warmup": 0, "accumulate": 2, "clip": 0.0}
    )
    everything_sampled = SupervisedConfig(
        rpn=RpnTraining(before_nms=20, proposals=20, samples=10**6), roi=RoiTraining(samples=10**6)
    )

    def make():
        method = build_method(everything_sampled, small_detector(specialised=True, objectness=True))
        return TrainState(method, build_optimiser(method, config), torch.amp.GradScaler(enabled=False), None)

    state, other = make(), make()
    before = {n: p.detach().clone() for n, p in state.method.named_parameters()}
    run_loop(tmp_path, state, config)
    batch = some_batch((2, 1), seed=0)
    for i in range(2):
        part = replace(batch, images=batch.images[i : i + 1], targets=batch.targets[i : i + 1], names=[])
        (sum(other.method(part).values()) / 2).backward()
    decay, rate, checked = 1e-4, 1e-3, 0
    for name, parameter in other.method.named_parameters():
        if not parameter.requires_grad:
            continue
        step = (before[name] - dict(state.method.named_parameters())[name]) / rate
        wanted = parameter.grad + decay * before[name]
        torch.testing.assert_close(step, wanted, atol=3e-4, rtol=1e-2, msg=lambda text, name=name: f"{name}: {text}")
        checked += bool(wanted.abs().max() > 6e-3)
    assert checked > 10  # gradients well above the tolerance


def test_log_keep_and_evaluation(tmp_path):
    calls = []

    def evaluate(detector, step, stopping):
        assert not detector.training
        calls.append(step)
        return {"AP": {3: 5.0, 6: 4.0}[step]}

    state = make_state()
    config = CONFIG.model_copy(update={"eval_every": 3, "keep": 1})
    metrics = run_loop(tmp_path, state, config, evaluate, JsonLinesReporter(tmp_path / "log.jsonl", SilentReporter()))
    assert calls == [3, 6]
    assert metrics == {"AP": 4.0}
    assert state.method.training
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    assert [line["step"] for line in train] == [2, 4, 6]
    assert {
        "loss",
        "class",
        "box",
        "objectness",
        "rpn_box",
        "rpn_objectness",
        "lr",
        "gradient_norm",
    } <= train[0].keys()
    parts = ("class", "box", "objectness", "rpn_box", "rpn_objectness")
    assert train[0]["loss"] == pytest.approx(sum(train[0][k] for k in parts))
    assert [(line["step"], line["AP"]) for line in lines if line["kind"] == "eval"] == [(3, 5.0), (6, 4.0)]
    assert len(checkpoints_of(tmp_path)) == 1
    best = detector_from_checkpoint(tmp_path / "best.pt")
    assert best.step == 3
    assert list(best.categories) == list(CLASSES)


def test_an_evaluation_that_was_cut_short_is_made_up_for(tmp_path):
    config = CONFIG.model_copy(update={"eval_every": 3, "checkpoint_every": 100})

    def stopped(detector, step, stopping):
        return None

    with pytest.raises(Interrupted):
        run_loop(tmp_path, make_state(config), config, stopped)
    state = make_state(config)
    restore(tmp_path, state, CLASSES, SilentReporter())
    assert state.step == 3
    calls = []

    def evaluate(detector, step, stopping):
        calls.append(step)
        return {"AP": 1.0}

    run_loop(tmp_path, state, config, evaluate)
    assert calls == [3, 6]


def test_detector_of_a_checkpoint_is_the_averaged_one(tmp_path):
    state = make_state()
    run_loop(tmp_path, state)
    image = some_batch((1,)).images[0].pixels
    state.averaged.module.eval()
    with torch.no_grad():
        wanted = state.averaged.module([image])[0]
        found = detector_from_checkpoint(checkpoints_of(tmp_path)[-1]).detector([image])[0]
    for a, b in zip(wanted[:3], found[:3], strict=True):
        assert torch.equal(a, b)


def test_averaging_in_a_loop():
    module, decay = torch.nn.Linear(2, 1, bias=False), 0.5
    averaged = Averaged(module, decay)
    expected = module.weight.detach().clone()
    for step in range(1, 5):
        with torch.no_grad():
            module.weight.fill_(float(step))
        averaged.update(module, step)
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * module.weight.detach()
    torch.testing.assert_close(averaged.module.weight, expected)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    texts = []

    class Warned(SilentReporter):
        def warn(self, text):
            texts.append(text)

    run_loop(tmp_path, make_state())
    files = checkpoints_of(tmp_path)
    files[-1].write_bytes(files[-1].read_bytes()[:1000])
    state, reporter = make_state(), Warned()
    assert restore(tmp_path, state, CLASSES, reporter) == files[-2]
    assert state.step == 4
    assert "damaged" in texts[0]
    for file in files:
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        restore(tmp_path, make_state(), CLASSES, reporter)


def test_a_checkpoint_of_another_model(tmp_path):
    run_loop(tmp_path, make_state())
    other = build_method(small_config(), small_detector(classes=6, specialised=True, objectness=True))
    state = TrainState(
        other,
        build_optimiser(other, CONFIG),
        torch.amp.GradScaler(enabled=False),
        Averaged(other.detector, 0.9),
    )
    with pytest.raises(CheckpointError, match="do not fit"):
        restore(tmp_path, state, CLASSES, SilentReporter())
    config = CONFIG.model_copy(update={"ema": 0.0})
    with pytest.raises(CheckpointError, match=r"train\.ema"):
        restore(tmp_path, make_state(config), CLASSES, SilentReporter())


def test_a_checkpoint_of_other_annotations(tmp_path):
    run_loop(tmp_path, make_state())
    for other in (
        [Category(i, f"kind {i}") for i in range(1, 6)],
        [Category(i, f"class {i}", images=3) for i in range(1, 6)],
    ):
        with pytest.raises(CheckpointError, match="other categories"):
            restore(tmp_path, make_state(), Categories(other), SilentReporter())


def test_a_full_disk_is_said_and_leaves_old_checkpoints(tmp_path, monkeypatch):
    def full(content, path):
        path.write(b"half")
        raise OSError(28, "No space left on device")

    config = CONFIG.model_copy(update={"iterations": 3})
    run_loop(tmp_path, make_state(config), config)
    names = sorted(f.name for f in (tmp_path / "checkpoints").iterdir())
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match="No space left"):
        run_loop(tmp_path, make_state())
    assert sorted(f.name for f in (tmp_path / "checkpoints").iterdir()) == names


def test_bf16_trains_and_keeps_its_weights_in_fp32(tmp_path):
    config = CONFIG.model_copy(update={"amp": "bf16", "iterations": 2})
    state = make_state(config)
    run_loop(tmp_path, state, config)
    assert all(p.dtype == torch.float32 for p in state.method.parameters())
    assert all(p.isfinite().all() for p in state.method.parameters())
