"""`clis train` by several processes: one run folder, stopped, killed and resumed exactly, by as many or by others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from clis_core.config.workspace import checkpoints_of
from clis_core.detectors.checkpoint import fingerprint
from clis_core.jobs.build_images import build_images, plan_images
from clis_core.jobs.build_options import BuildOptions
from clis_core.report import SilentReporter
from tests.draw import draw_lvis, draw_pictures
from tests.processes import ENVIRONMENT, ROOT, wait_until

pytestmark = pytest.mark.slow
STEPS = 24
EVERY = 4


def torchrun(processes: int, *words: str, restarts: int = 0) -> list[str]:
    launcher = ["--standalone", "--nproc_per_node", str(processes), "--max_restarts", str(restarts)]
    return [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", "clis_cli", *words]


@contextlib.contextmanager
def started(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A running command; nothing of it outlives the block."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(*command: str) -> str:
    """What a command says, to its end."""
    with started(*command) as process:
        _, said = process.communicate(timeout=3000)
    return said


def rank_of(process: subprocess.Popen[str], rank: int) -> int:
    """The process id of a rank that torchrun has started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.environ().get("RANK") == str(rank) and "train" in child.cmdline():
                return child.pid
    raise AssertionError("no such process")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    draw_lvis(folder / "world", train=24, val=8)
    plan = plan_images([draw_pictures(folder / "pictures", each=8)], folder / "world" / "lvis_v1_train.json")
    build_images(plan, folder / "shards", BuildOptions(workers=1), reporter=SilentReporter())
    return folder


def train(world: Path, run: Path, *more: str) -> tuple[str, ...]:
    """A training with a queue that goes round, and losses that count over all processes."""
    sets = {
        "train.checkpoint_every": EVERY,
        "train.keep": 100,
        "train.log_every": 1,
        "train.eval_every": 12,
        "method.queue_size": 32,
        "detector.class_loss.kind": "seesaw",
        "pictures.regions": "centre",
        "data.workers": 1,
    }
    words = ["--preset", "clis-tiny", "--data", str(world / "world"), "--images", str(world / "shards")]
    words += ["--iterations", str(STEPS), "-o", str(run), *more]
    return ("train", *words, *(word for key, value in sets.items() for word in ("--set", f"{key}={value}")))


def last(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(checkpoints_of(run)[-1], weights_only=True)
    return content


def state_of(run: Path) -> tuple[int, str, str]:
    """Steps, and what tells weights and all that the method keeps."""
    content = last(run)
    return content["step"], fingerprint(content["detector"]), fingerprint(content["method"])


def lines(run: Path, kind: str) -> list[dict[str, Any]]:
    return [x for x in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if x["kind"] == kind]


def losses(run: Path) -> list[list[float]]:
    return [[x[k] for k in ("step", "loss", "class", "image_class", "contrast", "lr")] for x in lines(run, "train")]


@pytest.fixture(scope="module")
def whole(world: Path) -> Path:
    """A run of two processes that nothing has disturbed."""
    run = world / "whole"
    said = ended(*torchrun(2, *train(world, run)))
    assert state_of(run)[0] == STEPS, said
    assert said.count("Run folder:") == 1  # the first process alone speaks
    assert said.count("Learn from") == 1
    return run


def test_two_processes_write_one_run(world: Path, whole: Path) -> None:
    assert [x[0] for x in losses(whole)] == list(range(1, STEPS + 1))
    metrics = [x["AP"] for x in lines(whole, "eval")]
    assert len(metrics) == 2
    # Evaluated in the training by two, and afterwards by one: the same figures.
    again = subprocess.run(
        [sys.executable, "-m", "clis_cli", "eval", str(whole), "--json"],
        cwd=ROOT,
        env=ENVIRONMENT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(again.stdout)["AP"] == metrics[-1]
    one = world / "one"
    ended(sys.executable, "-m", "clis_cli", *train(world, one))
    # Later steps amplify rounding; the first one has none.
    assert losses(one)[0] == pytest.approx(losses(whole)[0], rel=1e-5)
    assert [x[0] for x in losses(one)] == [x[0] for x in losses(whole)]


def test_a_killed_process_is_named_and_torchrun_starts_all_again(world: Path, whole: Path) -> None:
    run = world / "restarted"
    command = torchrun(2, *train(world, run, "--resume-or-start"), restarts=1)
    with started(*command) as process:
        wait_until(lambda: run.is_dir() and len(checkpoints_of(run)) >= 2, process, 3000)
        pid = rank_of(process, 1)
        os.kill(pid, signal.SIGKILL)
        _, said = process.communicate(timeout=3000)
    assert f"process {pid}) of 2 has ended" in said
    assert "Resumed from" in said
    assert state_of(run) == state_of(whole)
    assert losses(run) == losses(whole)
    assert [x["AP"] for x in lines(run, "eval")] == [x["AP"] for x in lines(whole, "eval")]


@pytest.mark.parametrize("whom", ["the first", "the second", "torchrun", "all, as Ctrl-C does"])
def test_a_signal_ends_all_after_the_same_step(world: Path, whole: Path, whom: str) -> None:
    run = world / f"stopped-{whom.rsplit(maxsplit=1)[-1]}"
    with started(*torchrun(2, *train(world, run))) as process:
        wait_until(lambda: run.is_dir() and checkpoints_of(run), process, 3000)
        match whom:
            case "torchrun":
                process.terminate()
            case "all, as Ctrl-C does":
                os.killpg(process.pid, signal.SIGINT)
            case _:
                os.kill(rank_of(process, int(whom == "the second")), signal.SIGTERM)
        _, said = process.communicate(timeout=3000)
    name = "SIGINT" if "Ctrl-C" in whom else "SIGTERM"
    assert said.count(f"Stopped by {name} after step") == 1, said  # all stop, and one tells it
    assert process.returncode != 0
    step = last(run)["step"]
    assert EVERY <= step < STEPS
    assert f"after step {step}; saved" in said
    ended(*torchrun(2, "train", "--resume", "-o", str(run)))
    assert state_of(run) == state_of(whole)
    assert losses(run) == losses(whole)


@pytest.mark.parametrize("processes", [1, 4])
def test_a_run_of_two_goes_on_with_others(world: Path, whole: Path, processes: int) -> None:
    run = world / f"by-{processes}"
    shutil.copytree(whole, run)
    for file in checkpoints_of(run)[3:]:  # as if killed after step 12
        file.unlink()
    ended(*torchrun(processes, "train", "--resume", "-o", str(run)))
    assert state_of(run)[0] == STEPS
    # The next step has the same images and the same state.
    assert losses(run)[12] == pytest.approx(losses(whole)[12], rel=1e-5)
    assert [x[0] for x in losses(run)] == list(range(1, STEPS + 1))


def test_an_unreadable_image_of_one_process_ends_all_with_a_checkpoint(world: Path) -> None:
    broken = world / "broken"
    shutil.copytree(world / "world", broken)
    for file in sorted((broken / "train2017").iterdir())[::3]:
        file.write_bytes(file.read_bytes()[:200])
    run = world / "broken-run"
    command = train(world, run, "--set", "train.eval_at_end=false", "--set", "train.checkpoint_every=1000")
    command = tuple(word.replace(str(world / "world"), str(broken)) for word in command)
    said = ended(*torchrun(2, *command))
    assert len(re.findall("^Error: ", said, re.M)) == 1, said  # both end, and one says why
    assert ".jpg" in said
    assert len(checkpoints_of(run)) <= 1


def test_a_batch_that_cannot_be_shared_out(world: Path) -> None:
    said = ended(*torchrun(2, *train(world, world / "odd", "--batch", "3")))
    assert "A batch of 3 images cannot be shared out equally among 2 processes." in said
    assert "--batch 4" in said
    assert not (world / "odd").exists()
