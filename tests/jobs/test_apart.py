"""Jobs in processes of their own: what they return, say and raise comes back; what kills them does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from clis_core.errors import ClisError, DataError, Interrupted
from clis_core.jobs.apart import apart
from clis_core.report import Reporter, SilentReporter
from tests.processes import ENVIRONMENT, ROOT, wait_until

MINE = os.getpid()


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def info(self, text: str) -> None:
        self.said.append(text)


def answer(number: int, *, plus: int, reporter: Reporter) -> tuple[int, int]:
    reporter.info(f"{number} and {plus}")
    return number + plus, os.getpid()


def refuse(*, reporter: Reporter) -> None:
    raise DataError("Nothing there.", hint="Look elsewhere")


def stumble(*, reporter: Reporter) -> None:
    raise FileNotFoundError(2, "No such file", "there.txt")


def vanish(number: int, *, reporter: Reporter) -> None:
    os.kill(os.getpid(), number)


def end_early(*, reporter: Reporter) -> None:
    raise EOFError("a file of the job's")


def vanish_while_talking(*, reporter: Reporter) -> None:
    os.write(reporter._pipe.fileno(), (1000).to_bytes(4, "big") + b"half")  # type: ignore[attr-defined]
    os.kill(os.getpid(), signal.SIGKILL)


def wait(file: Path, *, reporter: Reporter) -> None:
    file.write_text(str(os.getpid()))
    time.sleep(600)


def test_what_is_returned_and_said_comes_back() -> None:
    heard, ticks = Heard(), []
    found, process = apart(answer, 40, plus=2, reporter=heard, tick=lambda: ticks.append(1))
    assert found == 42
    assert process != os.getpid()
    assert heard.said == ["40 and 2"]
    assert ticks


def test_errors_come_back_as_they_are() -> None:
    with pytest.raises(DataError, match="Nothing there") as caught:
        apart(refuse, reporter=SilentReporter())
    assert caught.value.hint == "Look elsewhere"
    with pytest.raises(FileNotFoundError) as other:
        apart(stumble, reporter=SilentReporter())
    assert other.value.filename == "there.txt"
    assert "in stumble" in other.value.__notes__[0]  # where it was


def test_a_process_that_is_killed_is_an_error_with_a_hint() -> None:
    with pytest.raises(ClisError, match="memory is full") as caught:
        apart(vanish, int(signal.SIGKILL), reporter=SilentReporter())
    assert caught.value.hint
    with pytest.raises(ClisError, match="memory is full"):
        apart(vanish_while_talking, reporter=SilentReporter())
    with pytest.raises(EOFError, match="of the job's"):
        apart(end_early, reporter=SilentReporter())


def test_a_signal_is_passed_on(tmp_path: Path) -> None:
    file = tmp_path / "process"

    def stop() -> None:
        while not file.is_file():
            time.sleep(0.01)
        os.kill(MINE, signal.SIGTERM)

    threading.Thread(target=stop).start()
    with pytest.raises(Interrupted, match="Stopped by SIGTERM") as caught:
        apart(wait, file, reporter=SilentReporter())
    assert "same command again" in (caught.value.hint or "")
    assert not psutil.pid_exists(int(file.read_text()))


def test_it_does_not_outlive_the_one_who_asked(tmp_path: Path) -> None:
    file = tmp_path / "process"
    code = (
        "from pathlib import Path; from clis_core.jobs.apart import apart; from clis_core.report import SilentReporter;"
        f"from tests.jobs.test_apart import wait; apart(wait, Path({str(file)!r}), reporter=SilentReporter())"
    )
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    asking = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    wait_until(lambda: file.is_file() and file.read_text(), asking)
    asking.kill()
    asking.wait()
    for _ in range(500):
        if not psutil.pid_exists(int(file.read_text())):
            return
        time.sleep(0.02)
    raise AssertionError("it still runs")
