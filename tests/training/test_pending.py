"""An evaluation that a kill cut short: done once more, noted once, and then no longer pending."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from clis_core.config.workspace import checkpoints_of
from clis_core.report import JsonLinesReporter, SilentReporter
from clis_core.training.checkpoint import restore
from tests.training.test_loop import CLASSES, CONFIG, make_state, run_loop


class Killed(Exception):
    pass


def test_the_last_checkpoint_is_that_of_a_training_that_was_not_killed(tmp_path: Path) -> None:
    def kill(*_: object) -> None:
        raise Killed

    def measure(*_: object) -> dict[str, float]:
        return {"AP": 1.0}

    config = CONFIG.model_copy(update={"ema": 0.0})
    run_loop(tmp_path / "whole", make_state(config), config, measure)
    with pytest.raises(Killed):
        run_loop(tmp_path / "killed", make_state(config), config, kill)
    state = make_state(config)
    assert restore(tmp_path / "killed", state, CLASSES, SilentReporter())
    assert state.pending
    run_loop(tmp_path / "killed", state, config, measure)
    sums = [torch.load(checkpoints_of(tmp_path / run)[-1])["sha256"] for run in ("whole", "killed")]
    assert sums[0] == sums[1]
    assert not torch.load(checkpoints_of(tmp_path / "killed")[-1])["pending"]


def test_what_will_be_measured_again_is_taken_out_of_the_log(tmp_path: Path) -> None:
    lines = [{"kind": kind, "step": step} for step in (1, 2, 3) for kind in ("train", "eval")]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tr'
    for evaluated, kept in ((True, 4), (False, 3)):
        (tmp_path / "log.jsonl").write_text(text)
        JsonLinesReporter(tmp_path / "log.jsonl", SilentReporter()).drop_after(2, evaluated=evaluated)
        found = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert found == lines[:kept]
