"""From scenes and labelled pictures to a CLIS detector, command by command; killed on the way and resumed exactly."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import detector_from_checkpoint, fingerprint
from tests.draw import draw_lvis, draw_pictures
from tests.processes import ENVIRONMENT, ROOT, kill_when

STEPS = 18


def clis(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clis_cli", *words],
        cwd=folder,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(folder: Path, *words: str) -> str:
    process = clis(folder, *words)
    out, said = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return out


def kill_after(folder: Path, checkpoints: int, run: Path, *words: str) -> None:
    """kill -9 once the run has some checkpoints more."""
    wanted = len(steps_of(run)) + checkpoints
    kill_when(lambda: len(steps_of(run)) >= wanted, clis(folder, *words))


def steps_of(run: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [path.name for path in checkpoints_of(run)]
    return []


def last(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoints_of(run)[-1], weights_only=True)
    return content


@pytest.mark.slow
def test_from_pictures_to_a_detector_killed_and_resumed(tmp_path: Path) -> None:
    draw_lvis(tmp_path / "world", train=24, val=8)
    draw_pictures(tmp_path / "pictures", each=8)
    done(tmp_path, "build-images", "pictures", "--data", "world/lvis_v1_train.json", "-o", "shards")
    short = ("--iterations", "6", "--set", "train.eval_at_end=false")
    done(tmp_path, "train", "--preset", "baseline-tiny", "--data", "world", "-o", "base", *short)
    made = json.loads(done(tmp_path, "gen-regions", "--detector", "base", "shards", "--json"))
    assert made["pictures"] == 48

    def train(out: str) -> tuple[str, ...]:
        options = {"checkpoint_every": 3, "keep": 100, "log_every": 1, "batch": 2}
        sets = [word for key, value in options.items() for word in ("--set", f"train.{key}={value}")]
        # A queue that goes round more than once, a copy that moves, and two workers.
        sets += ["--set", "method.queue_size=16", "--set", "method.momentum=0.9", "--set", "data.workers=2"]
        words = ("--preset", "clis-tiny", "--data", "world", "--images", "shards", "--iterations", str(STEPS))
        return ("train", *words, *sets, "-o", out)

    done(tmp_path, *train("whole"))
    kill_after(tmp_path, 2, tmp_path / "killed", *train("killed"))
    resume = ("train", "-o", "killed", "--resume", "--set", "data.workers=0")
    kill_after(tmp_path, 3, tmp_path / "killed", *resume)
    assert len(steps_of(tmp_path / "killed")) < STEPS // 3
    done(tmp_path, *resume)

    whole, killed = last(tmp_path / "whole"), last(tmp_path / "killed")
    assert whole["step"] == killed["step"] == STEPS
    prints = [
        fingerprint(detector_from_checkpoint(checkpoints_of(tmp_path / run)[-1]).detector.state_dict())
        for run in ("whole", "killed")
    ]
    assert prints[0] == prints[1]
    own = whole["method"]
    assert {"queue.keys", "queue.labels", "queue.pointer", "queue.count", "steps"} <= own.keys()
    assert any(name.startswith("slow.") for name in own)
    assert int(own["queue.count"]) == 16
    assert int(own["steps"]) == STEPS
    assert own.keys() == killed["method"].keys()
    for name, value in own.items():
        assert torch.equal(value, killed["method"][name]), name
    copied = next(name for name in own if name.startswith("slow.") and name.endswith("fc6.weight"))
    assert not torch.equal(own[copied], whole["detector"]["head.cls_2fc.fc6.weight"])  # it lags behind

    logs = []
    for run in ("whole", "killed"):
        lines = map(json.loads, (tmp_path / run / "log.jsonl").read_text().splitlines())
        logs.append(
            [{k: line[k] for k in ("step", "image_class", "contrast", "class")} for line in lines if "contrast" in line]
        )
    assert logs[0] == logs[1]
    assert [line["step"] for line in logs[0]] == list(range(1, STEPS + 1))
    assert logs[0][-1]["contrast"] > 0
    assert json.loads(done(tmp_path, "eval", "killed", "--json"))
