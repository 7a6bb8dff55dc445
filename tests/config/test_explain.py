"""What a user reads when a setting is wrong: key, value, source and what may have been meant."""

from pathlib import Path

import pytest

from clis_core.config.load import command_layer, read_layer, resolve, run_layers
from clis_core.errors import ConfigError


def complaint(*settings: str, preset: str = "baseline-r50-1x", **flags: tuple[str, object]) -> str:
    command = command_layer([f"preset={preset}", *settings], {f"--{k}": v for k, v in flags.items()})
    with pytest.raises(ConfigError) as caught:
        resolve(run_layers(None, None, command))
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr=1", "lr = 1 (--set): unknown key; did you mean train.lr?"),
        ("batch=4", "batch = 4 (--set): unknown key; did you mean train.batch or eval.batch?"),
        ("train.lrr=1", "train.lrr = 1 (--set): unknown key; did you mean train.lr?"),
        ("train.warm_up=1", "train.warm_up = 1 (--set): unknown key; did you mean train.warmup?"),
        ("train.log-every=1", "train.log-every = 1 (--set): unknown key; did you mean train.log_every?"),
        ("trian.lr=1", "trian.lr = 1 (--set): unknown key; did you mean train.lr?"),
        (
            "sampler.threshold=0.1",
            "sampler.threshold = 0.1 (--set): unknown key; did you mean data.sampler.threshold?",
        ),
        ("optim.lr=1", "optim.lr = 1 (--set): unknown key; did you mean train.lr?"),
        (
            "train.optimizer.kind=adamw",
            'train.optimizer.kind = "adamw" (--set): unknown key; did you mean train.optimiser.kind?',
        ),
        ("zzz.qqq=1", "zzz.qqq = 1 (--set): unknown key"),
        ("data.kind=1", "data.kind = 1 (--set): unknown key"),
        ("train.lr=fast", 'train.lr = "fast" (--set): must be a valid number'),
        ("train.lr=-1", "train.lr = -1 (--set): must be greater than 0"),
        ("train.lr.x=1", 'train.lr = {"x": 1} (--set): is a single value, not a table'),
        (
            "data=3",
            "data = 3 (--set): is a table: set one of its keys, data.root, data.train, data.val, data.train_images",
        ),
        ("data.short_sides=['a']", 'data.short_sides[0] = "a" (--set): must be a valid integer'),
        (
            "data.short_sides=[1]",
            "data.short_sides = [1] (--set): needs at least one length of 32 to 8192 pixels",
        ),
        ("train.amp=bf61", 'train.amp = "bf61" (--set): must be one of off, bf16, fp16; did you mean bf16?'),
        (
            "data.sampler.kind=unifrom",
            'data.sampler.kind = "unifrom" (--set): must be one of uniform, repeat-factor, class-balanced; '
            "did you mean uniform?",
        ),
        (
            "train.accumulate=3",
            "train: accumulate (3) must divide batch (16) (--set, preset baseline-r50-1x)",
        ),
    ],
)
def test_one_line_for_a_problem(setting: str, message: str) -> None:
    assert complaint(setting) == message


def test_a_key_of_another_kind() -> None:
    line = complaint("data.sampler.kind=uniform", "data.sampler.threshold=0.1")
    assert line.startswith("data.sampler.threshold = 0.1 (--set): data.sampler of kind 'uniform' has no threshold")
    assert line.endswith("of kind 'repeat-factor' it has")


def test_a_flag_that_the_method_does_not_have_names_the_method() -> None:
    line = complaint(gamma=("method.gamma", 0.1))
    assert (
        line == "method.gamma = 0.1 (--gamma): method of kind 'supervised' has no gamma; "
        "did you mean detector.class_loss.gamma or train.schedule.gamma?"
    )


def test_alpha_without_a_preset_of_clis_names_one() -> None:
    layers = run_layers(None, None, command_layer([], {"--alpha": ("method.alpha", 0.1)}))
    with pytest.raises(ConfigError) as caught:
        resolve(layers)
    assert caught.value.hint == "--preset clis-r50-1x, or clis-small for a try; all presets: clis presets"


def test_every_problem_has_its_line() -> None:
    lines = complaint("seed=-1", "train.lrr=1", lr=("train.lr", 0)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["seed", "train.lr", "train.lrr"]
    assert "(--lr)" in lines[1]


def test_the_source_is_the_file_that_set_it(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text("[train]\nlr = -1\nkeep = 0\n")
    with pytest.raises(ConfigError) as caught:
        resolve([read_layer(file), command_layer(["train.keep=-3"])])
    assert caught.value.message.splitlines() == [
        f"train.lr = -1 ({file}): must be greater than 0",
        "train.keep = -3 (--set): must be greater than or equal to 1",
    ]


def test_long_values_are_cut() -> None:
    assert len(complaint(f"seed={'x' * 500}")) < 120
