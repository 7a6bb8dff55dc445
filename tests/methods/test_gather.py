"""Keys of several processes: every one of them enqueues the same, however many keys each brings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clis_core.losses.ranks import gathered
from clis_core.methods.momentum import KeyQueue
from tests.methods.enqueue import COUNTS, FEATURES, SIZE, keys_of
from tests.processes import TORCHRUN, run_module


def test_alone_there_is_nothing_to_gather() -> None:
    rows = torch.arange(6.0).view(3, 2)
    assert gathered(rows).rows is rows


@pytest.mark.slow
def test_two_processes_with_different_numbers_of_keys_enqueue_alike(tmp_path: Path) -> None:
    said = run_module(*TORCHRUN, "tests.methods.enqueue", str(tmp_path), check=False).stderr
    # By what was written: gloo may abort at the interpreter's exit, when everything is done.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.pt", "1.pt"], said
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = KeyQueue(SIZE, FEATURES)
    for push in range(len(COUNTS)):
        keys, labels = (torch.cat(parts) for parts in zip(*(keys_of(push, rank) for rank in range(2)), strict=True))
        alone.push(keys, labels)
        for found in (first[push], second[push]):
            assert torch.equal(found.pop("gathered"), keys)
            assert found.keys() == alone.state_dict().keys()
            for name, value in alone.state_dict().items():
                assert torch.equal(found[name], value), (push, name)
    assert int(alone.count) == SIZE  # it went round
