"""Two processes with unequal parts of the regions learn what one learns from all: values, gradients, statistics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.losses.two_ranks import learn
from tests.processes import TORCHRUN, run_module


@pytest.mark.slow
def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    said = run_module(*TORCHRUN, "tests.losses.two_ranks", str(tmp_path), check=False).stderr
    # By what was written: gloo may abort at the interpreter's exit, when everything is done.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.pt", "1.pt"], said
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for name, alone in learn(slice(None), 1).items():
        for key, wanted in alone.items():
            a, b = first[name][key], second[name][key]
            if key.startswith("state."):
                assert torch.equal(a, b), (name, key)
                found = a
            else:
                found = a + b  # each is divided by the number of processes, as DDP averages
            torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, msg=lambda m, w=(name, key): f"{w}: {m}")
