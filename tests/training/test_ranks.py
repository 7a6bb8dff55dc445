"""A process among those of torchrun: its device, its variables, and who speaks for all."""

from __future__ import annotations

import pytest
import torch

from clis_core.errors import ClisError, ConfigError, DataError
from clis_core.training.joining import ranks
from clis_core.training.ranks import Ranks, first_words

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_each_process_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 2):
        gpus(monkeypatch, count)
        found = [Ranks(5, 8, 1).device(wanted) for wanted in ("", "cuda", "cuda:0", "cpu")]
        assert found == ["cuda:1" if count else "", f"cuda:{min(1, count)}" if count else "cuda:0", "cuda:0", "cpu"]
        assert [Ranks().device(wanted) for wanted in ("", "cuda")] == ["", "cuda"]
    assert Ranks(3, 4, 3).device("cuda") == "cuda:1"  # evaluating, processes may share a GPU


@pytest.mark.parametrize(
    "environment",
    [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "many", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "1"}, {"WORLD_SIZE": "0"}],
)
def test_variables_of_torchrun_that_are_there_in_part(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name in TORCHRUN:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="WORLD_SIZE") as caught, ranks():
        pass
    assert "torchrun" in (caught.value.hint or "")


def test_devices_that_processes_cannot_train_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    gpus(monkeypatch, 1)
    with pytest.raises(ConfigError, match=r"2 processes of this machine .* 1 GPU") as caught, ranks(""):
        pass
    assert "--nproc_per_node 1" in (caught.value.hint or "")
    gpus(monkeypatch, 2)
    with pytest.raises(ConfigError, match="'cuda:1' is one GPU"), ranks("cuda:1"):
        pass
    with pytest.raises(ConfigError, match="cannot train on mps"), ranks("mps"):
        pass


def test_the_first_process_speaks_for_all() -> None:
    done: list[str] = []

    def fails() -> None:
        raise DataError("no", hint="yes")

    assert Ranks().on_first(lambda: done.append("done") or "answer") == "answer"  # type: ignore[func-returns-value]
    assert done == ["done"]
    with pytest.raises(ClisError, match="no") as caught:
        Ranks().on_first(fails)
    assert not caught.value.of_all  # it is the only one
    assert Ranks().first_before_others(lambda: 3) == 3


def test_alone_there_is_nobody_to_agree_with() -> None:
    alone = Ranks()
    assert alone.agree(15) == 15
    assert alone.agree(0) == 0
    with pytest.raises(DataError, match="broken"):
        alone.agree(0, DataError("broken", hint="mend it"))
    assert alone.stopping(None) is None
    assert alone.stopping("SIGTERM") == "SIGTERM"
    assert alone.gathered("x") == ["x"]
    assert alone.largest([1.5, 2.0]) == [1.5, 2.0]
    alone.wait()


def test_an_error_of_torch_in_short() -> None:
    said = "[/a/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset. This is caused by.\nStack"
    assert first_words(RuntimeError(said)) == "Read error [127.0.0.1]:1: Connection reset"
    assert first_words(RuntimeError("")) == "RuntimeError"


def test_only_the_loss_of_another_process_is_named_so() -> None:
    with pytest.raises(RuntimeError, match="Connection closed by peer"), Ranks().naming_the_lost():
        raise RuntimeError("Connection closed by peer")  # there is no other process
