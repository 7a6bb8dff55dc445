"""A data set in the layout of VOC through the jobs: trained on, evaluated, and looked at."""

import pytest

from clis_core.config.data import DataConfig
from clis_core.config.load import Layer, preset_layer, resolve
from clis_core.errors import ConfigError, DataError
from clis_core.jobs.check_data import CheckOptions, check_data
from clis_core.jobs.evaluate import evaluate_run
from clis_core.jobs.train import train
from clis_core.report import SilentReporter
from tests.voc import draw_voc


@pytest.mark.slow
def test_training_and_evaluation(tmp_path):
    draw_voc(tmp_path / "devkit", "VOC2007", val="test")
    draw_voc(tmp_path / "devkit", "VOC2012", seed=1)
    values = {"data": {"root": tmp_path / "devkit"}, "train": {"iterations": 2, "batch": 2, "log_every": 1}}
    config = resolve([preset_layer("mtl-ssl-tiny"), Layer("test", values)])
    result = train(config, tmp_path / "run", reporter=SilentReporter())
    assert result.metrics.keys() >= {"AP", "AP50", "AP50_11"}
    again = evaluate_run(tmp_path / "run", config, reporter=SilentReporter())
    assert again.protocol == "voc"
    assert again.values["AP50"] == result.metrics["AP50"]
    assert (tmp_path / "run" / "log.jsonl").read_text().count("window") == 2


def test_the_check_of_jsons_says_that_it_is_one(tmp_path):
    year = draw_voc(tmp_path)
    with pytest.raises(ConfigError, match="is of PASCAL VOC"):
        check_data(DataConfig(root=year), None, CheckOptions(), reporter=SilentReporter())


def test_boxes_alone_do_not_teach_a_mask_head(tmp_path):
    values = {"data": {"root": draw_voc(tmp_path), "workers": 0}, "train": {"iterations": 2, "batch": 2}}
    config = resolve([preset_layer("mask-baseline-tiny"), Layer("test", values)])
    with pytest.raises(DataError, match="not a single box has a segmentation"):
        train(config, tmp_path / "run", reporter=SilentReporter())
