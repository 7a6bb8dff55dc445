"""`clis train` with other uses of pictures: resumed bit for bit; settings that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.config.run import RunConfig
from clis_core.config.workspace import checkpoints_of
from clis_core.errors import ConfigError
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.draw import draw_pictures

QUICK = {"iterations": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "warmup": 1, "eval_at_end": False}
METHODS: dict[str, dict[str, Any]] = {
    "detic": {"rule": "wsddn", "proposals": 8},
    "self-training": {},
    "dlwl": {},
    "unbiased-teacher": {"burn_in": 2, "momentum": 0.5, "threshold": 0.001},
}
STATE = {
    "detic": {"detection_stream.weight", "detection_stream.bias"},
    "self-training": {"means", "steps"},
    "dlwl": set(),
    "unbiased-teacher": {"steps", "teacher.network.head.fc_cls.weight"},
}


def config_of(root: Path, folder: Path, kind: str, **pictures: Any) -> RunConfig:
    drawn = {"shards": folder, "s": 4, "t": 0, "mosaic": 96, **pictures}
    if kind == "self-training":
        drawn["regions"] = "centre"
    # Another kind begins with its own defaults: the small sizes of baseline-tiny have to be said again.
    sizes = {"rpn": {"samples": 64, "before_nms": 100, "proposals": 40}, "roi": {"samples": 32}}
    layer = {"data": {"root": root}, "train": QUICK, "pictures": drawn}
    return resolve(
        [preset_layer("baseline-tiny"), Layer("test", {**layer, "method": {"kind": kind, **sizes, **METHODS[kind]}})]
    )


@pytest.fixture(scope="module")
def drawn_shards(tmp_path_factory: pytest.TempPathFactory, drawn_lvis: Path) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    plan = plan_images([draw_pictures(folder / "pictures", each=4)], drawn_lvis / "lvis_v1_train.json")
    build_images(plan, folder / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    return folder / "shards"


def last(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoints_of(run)[-1], weights_only=True)
    return content


@pytest.mark.slow
@pytest.mark.parametrize("kind", METHODS)
def test_trains_and_resumes_bit_for_bit(drawn_lvis: Path, drawn_shards: Path, tmp_path: Path, kind: str) -> None:
    config = config_of(drawn_lvis, drawn_shards, kind)
    train(config, tmp_path / "whole", reporter=SilentReporter())
    train(config, tmp_path / "half", reporter=SilentReporter())
    for file in checkpoints_of(tmp_path / "half")[1:]:
        file.unlink()  # as if killed after step 2
    train(config, tmp_path / "half", resume=True, reporter=SilentReporter())
    whole, half = last(tmp_path / "whole"), last(tmp_path / "half")
    assert STATE[kind] <= whole["method"].keys()
    for part in ("detector", "method"):
        assert whole[part].keys() == half[part].keys()
        for name, value in whole[part].items():
            assert torch.equal(value, half[part][name]), name
    if kind == "unbiased-teacher":  # it lags behind
        name = "head.fc_cls.weight"
        assert not torch.equal(whole["method"][f"teacher.network.{name}"], whole["detector"][name])


@pytest.mark.parametrize(
    ("kind", "pictures", "words"),
    [
        ("detic", {"t": 1}, "pastes nothing"),
        ("dlwl", {"regions": "centre"}, "looks for the class itself"),
        ("self-training", {"min_score": 0.5}, "have no score"),
        ("unbiased-teacher", {"shards": None}, "no shards of them are named"),
    ],
)
def test_settings_that_do_not_fit(
    drawn_lvis: Path, drawn_shards: Path, tmp_path: Path, kind: str, pictures: dict[str, Any], words: str
) -> None:
    config = config_of(drawn_lvis, drawn_shards, kind, **pictures)
    with pytest.raises(ConfigError, match=words) as caught:
        train(config, tmp_path / "run", reporter=SilentReporter())
    assert caught.value.hint
    assert not (tmp_path / "run").exists()
