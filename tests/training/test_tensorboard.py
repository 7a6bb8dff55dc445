"""What TensorBoard reads back is what was recorded."""

import json
import sys

import pytest

from clis_core.errors import ConfigError
from clis_core.report import JsonLinesReporter, SilentReporter
from clis_core.training.tensorboard import TensorBoardReporter


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_round_trip(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = tmp_path / "log.jsonl"
    reporter = TensorBoardReporter(tmp_path / "board", JsonLinesReporter(log, SilentReporter()))
    reporter.info("hello")
    reporter.record("train", {"step": 3, "loss": 1.5, "class": 0.5, "name": "x"})
    reporter.record("eval", {"step": 3, "AP": 12.25, "APr": None})
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/class", "eval/AP"}
    assert [(e.step, e.value) for e in events.Scalars("eval/AP")] == [(3, 12.25)]
    assert [json.loads(line)["kind"] for line in log.read_text().splitlines()] == ["info", "train", "eval"]


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ConfigError, match="needs tensorboard") as caught:
        TensorBoardReporter(tmp_path, SilentReporter())
    assert "pip install" in caught.value.hint
