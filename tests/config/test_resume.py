"""What a resumed run may change, and what it may not."""

from pathlib import Path

import pytest

from clis_core.config.load import command_layer, load_config, preset_layer, resolve, save_config
from clis_core.config.resume import check_new_run, eval_config, resume_config
from clis_core.errors import CheckpointError, ConfigError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = resolve([preset_layer("baseline-tiny"), command_layer(["train.iterations=50", "data.root=/data"])])
    (tmp_path / "run").mkdir()
    save_config(config, tmp_path / "run" / "config.toml")
    return tmp_path / "run"


def test_a_run_goes_on_with_its_own_config(run: Path) -> None:
    assert resume_config(run, None, command_layer([])) == load_config(run / "config.toml")


@pytest.mark.parametrize(
    "setting",
    [
        "device=cpu",
        "data.workers=7",
        "data.root=/moved",
        "data.val=/v.json",
        "eval.engine=lvis",
        "train.log_every=1",
        "train.checkpoint_every=1",
        "train.keep=9",
        "train.eval_every=5",
        "train.iterations=50",
    ],
)
def test_free_keys_and_equal_values(run: Path, setting: str) -> None:
    resume_config(run, None, command_layer([setting]))


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("train.lr=0.5", "train.lr: 0.0005 in the run, 0.5 now"),
        ("seed=3", "seed: 0 in the run, 3 now"),
        ("preset=baseline-small", "preset: 'baseline-tiny' in the run, 'baseline-small' now"),
        ("data.flip=0", "data.flip: 0.5 in the run, 0.0 now"),
        ("train.schedule.kind=multistep", "train.schedule.kind: 'cosine' in the run, 'multistep' now"),
    ],
)
def test_a_changed_key_is_named_with_both_values(run: Path, setting: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resume_config(run, None, command_layer([setting]))
    assert line in caught.value.message.splitlines()


def test_a_config_file_counts_as_well(run: Path, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[train]\nlr = 0.0005\nkeep = 3")
    assert resume_config(run, tmp_path / "my.toml", command_layer([])).train.keep == 3
    (tmp_path / "my.toml").write_text("[train]\nlr = 1")
    with pytest.raises(ConfigError, match=r"train\.lr"):
        resume_config(run, tmp_path / "my.toml", command_layer([]))


def test_an_evaluation_takes_what_changes_its_result_and_refuses_the_rest(run: Path) -> None:
    settings = ["eval.batch=3", "detector.postprocess.detections=7", "detector.short_side=64", "data.root=/moved"]
    config = eval_config(run, command_layer(settings))
    assert (config.eval.batch, config.detector.postprocess.detections, config.detector.short_side) == (3, 7, 64)
    for setting, line in [
        ("train.lr=0.5", "train.lr: 0.0005 in the run, 0.5 now"),
        ("detector.backbone.name=resnet50", "detector.backbone.name: 'resnet18' in the run, 'resnet50' now"),
        ("data.flip=0", "data.flip: 0.5 in the run, 0.0 now"),
    ]:
        with pytest.raises(ConfigError) as caught:
            eval_config(run, command_layer([setting]))
        assert line in caught.value.message.splitlines()


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run folder"):
        resume_config(tmp_path, None, command_layer([]))


def test_a_folder_with_a_checkpoint_is_not_written_over(run: Path) -> None:
    check_new_run(run)  # stopped before its first checkpoint: it may start again
    check_new_run(run / "missing")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-00000010.pt").touch()
    with pytest.raises(CheckpointError, match="holds a run") as caught:
        check_new_run(run)
    assert caught.value.hint
    assert "--resume" in caught.value.hint
    assert "-o NAME" in caught.value.hint
