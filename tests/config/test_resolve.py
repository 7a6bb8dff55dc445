"""The order of the layers, the switch of a kind, relative paths and --set."""

from pathlib import Path

import pytest

from clis_core.config.load import (
    Layer,
    command_layer,
    difference,
    load_config,
    read_layer,
    resolve,
    run_layers,
)
from clis_core.config.run import RunConfig
from clis_core.config.train import AdamW, Cosine, MultiStep, Sgd
from clis_core.errors import ConfigError


def layer(**values: object) -> Layer:
    return Layer("test", dict(values))


def from_set(*settings: str) -> RunConfig:
    return resolve([command_layer(settings)])


def test_no_layers_are_the_defaults() -> None:
    assert resolve([]) == RunConfig()


def test_each_layer_wins_over_the_one_before(tmp_path: Path) -> None:
    # A key for each layer; every later layer sets all keys of the earlier ones as well.
    file = tmp_path / "my.toml"
    file.write_text('[train]\nwarmup = 3\nlog_every = 3\nkeep = 3\nlr = 3.0\n[detector.backbone]\nname = "resnet34"')
    workspace = layer(preset="baseline-small", train={"iterations": 2, "warmup": 2, "log_every": 2, "keep": 2})
    command = command_layer(["train.log_every=4", "train.keep=4"], {"--keep": ("train.keep", 5)})
    config = resolve(run_layers(workspace, file, command))
    assert config.preset == "baseline-small"
    assert config.train.batch == 4  # preset over defaults
    assert config.train.iterations == 2  # workspace over preset
    assert config.train.warmup == 3  # file over workspace
    assert config.train.log_every == 4  # --set over file
    assert config.train.keep == 5  # flag over --set
    assert config.detector.backbone.name == "resnet34"
    assert config.eval == RunConfig().eval


def test_a_new_kind_drops_the_other_keys_of_its_table() -> None:
    low = layer(train={"optimiser": {"kind": "adamw", "weight_decay": 0.3}})
    assert resolve([low]).train.optimiser == AdamW(weight_decay=0.3)
    assert resolve([low, layer(train={"optimiser": {"kind": "sgd"}})]).train.optimiser == Sgd()
    same = layer(train={"optimiser": {"kind": "adamw", "betas": [0.5, 0.5]}})
    assert resolve([low, same]).train.optimiser == AdamW(weight_decay=0.3, betas=(0.5, 0.5))
    assert resolve([low, layer(train={"optimiser": {"weight_decay": 0.1}})]).train.optimiser == AdamW(weight_decay=0.1)


def test_the_order_of_settings_does_not_matter() -> None:
    kind, final = "train.schedule.kind=cosine", "train.schedule.final=0.1"
    assert from_set(kind, final).train.schedule == from_set(final, kind).train.schedule == Cosine(final=0.1)


def test_a_new_data_root_drops_files_of_the_old_one(tmp_path: Path) -> None:
    old = layer(data={"root": "/old", "train": "/old/t.json", "val": "/old/v.json", "workers": 0})
    data = resolve([old, layer(data={"root": "/new", "val": "/mine.json"})]).data
    assert (data.root, data.train, data.val, data.workers) == (Path("/new"), None, Path("/mine.json"), 0)
    assert resolve([old, layer(data={"val": "/v2.json"})]).data.train == Path("/old/t.json")
    both = command_layer(["data.val=/mine.json"], {"--data": ("data.root", Path("/new"))})
    assert resolve([old, both]).data.val == Path("/mine.json")


@pytest.mark.parametrize(
    ("setting", "key", "value"),
    [
        ("data.train=/x/y.json", ("data", "train"), Path("/x/y.json")),
        ("train.lr=1e-3", ("train", "lr"), 1e-3),
        ("train.lr=.5", ("train", "lr"), 0.5),
        ("data.short_sides=[224,256]", ("data", "short_sides"), (224, 256)),
        ("detector.head.specialised=true", ("detector", "head", "specialised"), True),
        ("detector.backbone.init=none", ("detector", "backbone", "init"), "none"),
        ("device= cuda", ("device",), "cuda"),
        ('device="cu da"', ("device",), "cu da"),
        ("device=a=b", ("device",), "a=b"),
        ("train.amp=off", ("train", "amp"), "off"),
        ("data.val=/2024-05-01", ("data", "val"), Path("/2024-05-01")),
        ("data.val=", ("data", "val"), None),
        (
            "train.schedule={kind = 'multistep', milestones = [0.5]}",
            ("train", "schedule"),
            MultiStep(milestones=(0.5,)),
        ),
    ],
)
def test_values_of_set(setting: str, key: tuple[str, ...], value: object) -> None:
    found: object = from_set(setting)
    for step in key:
        found = getattr(found, step)
    assert found == value


def test_a_date_is_a_name() -> None:
    assert from_set("data.val=2024-05-01").data.val == Path.cwd() / "2024-05-01"


@pytest.mark.parametrize("setting", ["train.lr", "=3", "train..lr=1", ""])
def test_a_setting_needs_key_and_value(setting: str) -> None:
    with pytest.raises(ConfigError, match="needs KEY=VALUE"):
        command_layer([setting])


def test_paths_in_a_file_start_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    file = tmp_path / "configs" / "my.toml"
    file.write_text(
        '[data]\ntrain = "t.json"\nval = "../v.json"\nroot = "/abs"\n[detector.backbone]\ninit = "w/first.pth"'
    )
    monkeypatch.chdir(tmp_path)
    for config in (load_config(file), load_config(Path("configs/my.toml"))):
        assert config.data.train == tmp_path / "configs" / "t.json"
        assert config.data.val == tmp_path / "v.json"
        assert config.data.root == Path("/abs")
        assert config.detector.backbone.init == str(tmp_path / "configs" / "w" / "first.pth")


def test_paths_of_the_command_line_start_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    config = resolve(
        [command_layer(["data.train=a/t.json", "data.val=~/v.json"], {"--init": ("detector.backbone.init", "w.pth")})]
    )
    assert config.data.train == tmp_path / "a" / "t.json"
    assert config.data.val == Path("/home/someone/v.json")
    assert config.detector.backbone.init == str(tmp_path / "w.pth")
    for word in ("torchvision", "timm", "none"):
        assert from_set(f"detector.backbone.init={word}").detector.backbone.init == word


def test_the_preset_of_the_highest_layer_counts(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('preset = "specialised-small"')
    workspace = layer(preset="baseline-tiny")
    nothing = command_layer([])
    assert resolve(run_layers(None, None, nothing)).preset == "baseline-r50-1x"
    assert resolve(run_layers(workspace, None, nothing)).detector.backbone.name == "resnet18"
    assert resolve(run_layers(workspace, file, nothing)).detector.head.specialised
    named = command_layer([], {"--preset": ("preset", "baseline-r101-1x")})
    assert resolve(run_layers(workspace, None, named)).detector.backbone.name == "resnet101"
    with pytest.raises(ConfigError, match=r"my\.toml builds on preset 'specialised-small'.*'baseline-r101-1x'"):
        run_layers(workspace, file, named)


def test_an_unknown_preset_names_its_source() -> None:
    command = command_layer([], {"--preset": ("preset", "baseline-smal")})
    with pytest.raises(ConfigError, match=r"no preset 'baseline-smal'.*--preset") as caught:
        run_layers(None, None, command)
    assert caught.value.hint
    assert "Did you mean baseline-small?" in caught.value.hint


def test_an_empty_preset_is_the_defaults() -> None:
    assert resolve(run_layers(None, None, command_layer(["preset="]))) == RunConfig()


def test_difference_tells_keys_of_either_side() -> None:
    new = from_set("train.schedule.kind=cosine", "seed=3")
    assert difference(RunConfig(), new) == [
        ("seed", 0, 3),
        ("train.schedule.kind", "multistep", "cosine"),
        ("train.schedule.milestones", [2 / 3, 8 / 9], None),
        ("train.schedule.gamma", 0.1, None),
        ("train.schedule.final", None, 0.0),
    ]
    assert difference(new, new) == []


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "no.toml", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            read_layer(path)


def test_bad_toml_names_file_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[train]\nlr = fast\n")
    with pytest.raises(ConfigError, match=r"bad\.toml, line 2, column 6: Invalid value"):
        read_layer(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_layer(file)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes("﻿seed = 3\r\n".encode())
    assert load_config(file).seed == 3
