"""Commands that are disturbed end as undisturbed ones do: one round of kills, and full disks, as a check of CI.

Many more, and all kinds of faults: python -m tests.faults --rounds 20
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def trials(tmp_path: Path, *words: str) -> list[dict[str, Any]]:
    out = tmp_path / "trials.json"
    command = [sys.executable, "-m", "tests.faults", "--folder", str(tmp_path), "-o", str(out), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=1800)
    assert out.exists(), done.stderr
    found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and looks into /proc")
@pytest.mark.parametrize("command", ["build-images", "download", "report", "eval"])
def test_what_is_disturbed_ends_as_if_it_had_not_been(tmp_path: Path, command: str) -> None:
    kinds = ("kill -9", "SIG", "file size", "from a change", "read-only folder")
    found = trials(tmp_path, "--command", command, *(word for kind in kinds for word in ("--kind", kind)))
    assert len(found) >= 6
    for trial in found:
        assert trial["wrong"] == [], trial
        assert trial["equal"], trial
    assert any(trial["ended"] != "finished" for trial in found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it forks, and looks into /proc")
def test_a_training_with_a_damaged_checkpoint_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    found = trials(tmp_path, "--command", "train (CLIS)", "--kind", "checkpoint damaged", "--kind", "before a change")
    assert len(found) == 2
    assert all(trial["equal"] and trial["wrong"] == [] for trial in found), found
