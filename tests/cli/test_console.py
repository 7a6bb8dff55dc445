"""Progress as lines and as bars."""

import io
import sys

import pytest

from clis_cli.console import (
    PlainReporter,
    progress_line,
    reporter,
    show_figures,
    show_rate,
    show_seconds,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_ten_seconds_and_at_the_end() -> None:
    lines: list[str] = []
    clock = Clock()
    report = PlainReporter(lines.append, clock)
    for step in range(1, 31):
        clock.now += 1
        report.progress("train", step, 30, {"loss": 2.0})
    assert [line.split(",")[0] for line in lines] == [
        "train 11/30 (36 %)",
        "train 21/30 (70 %)",
        "train 30/30 (100 %)",
    ]
    assert lines[0] == "train 11/30 (36 %), 1.0/s, 0:19 left, loss 2"
    assert lines[-1] == "train 30/30 (100 %), 1.0/s, took 0:29, loss 2"


def test_a_resumed_task_counts_its_own_steps_and_a_task_can_start_again() -> None:
    lines: list[str] = []
    clock = Clock()
    report = PlainReporter(lines.append, clock)
    for _ in range(2):
        report.progress("train", 900, 1000)
        clock.now += 50
        report.progress("train", 1000, 1000)
    assert lines == ["train 1000/1000 (100 %), 2.0/s, took 0:50"] * 2


def test_unknown_totals_infos_and_evaluations() -> None:
    lines: list[str] = []
    clock = Clock()
    report = PlainReporter(lines.append, clock)
    report.progress("crawl", 1, None)
    clock.now += 20
    report.progress("crawl", 5, None)
    report.info("hello")
    report.warn("careful")
    report.record("train", {"step": 3, "loss": 1.0})
    report.record("eval", {"step": 3, "AP": 12.34, "APr": None, "AR@300": 3.0})
    assert lines == ["crawl 5, 5.0 s each", "hello", "Warning: careful", "evaluation after step 3: AP 12.3"]


def test_numbers() -> None:
    assert show_seconds(65.4) == "1:05"
    assert show_seconds(7265) == "2:01:05"
    assert (show_rate(0), show_rate(12.34), show_rate(0.25)) == ("", "12.3/s", "4.0 s each")
    assert show_figures({"loss": 1.23456, "lr": 5e-4, "MB": 1840.3}) == "loss 1.23  lr 0.0005  MB 1840"
    assert progress_line("t", 0, 10, new=0, seconds=0, figures={}) == "t 0/10 (0 %)"


def test_lines_go_to_stderr_where_it_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter() as report:
        report.info("hello")
        report.progress("train", 2, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hello\ntrain 2/2 (100 %)")


def test_bars_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with reporter() as report:
        report.progress("train", 1, 4, {"loss": 2.5, "MB": 100.0})
        report.info("[bold] is no markup")
        report.warn("careful")
        report.progress("eval", 1, 2)
        report.progress("eval", 2, 2)
        report.progress("train", 4, 4, {"loss": 1.5})
    shown = screen.getvalue()
    for text in (
        "[bold] is no markup\n",
        "Warning: careful",
        "train 4/4 (100 %)",
        "eval 2/2 (100 %)",
        "loss 1.5",
    ):
        assert text in shown
