"""What a person sees: progress and notes on stderr, tables and JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 10.0
MASK = "_mask"
"""After the names of the metrics of masks."""
METRICS = ("AP", "AP50", "AP50_11", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")


def speaks() -> bool:
    """Whether this process tells results: of torchrun's the first one does, for all have the same."""
    return os.environ.get("RANK", "0") == "0"


class PlainReporter:
    """Writes lines to stderr: a task's progress every ten seconds and at its end.

    Args:
        write: takes a line.
        clock: seconds that only grow.
    """

    def __init__(self, write: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write or note
        self._clock = clock
        self._started: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}

    def info(self, text: str) -> None:
        """Say it."""
        self._write(text)

    def warn(self, text: str) -> None:
        """Say it with a mark."""
        self._write(f"Warning: {text}")

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Say how an evaluation went; other records are for files."""
        if kind == "eval" and "step" in values:
            figures = {k: v for k, v in values.items() if k in METRICS and v is not None}
            self._write(f"evaluation after step {values['step']}: {show_figures(figures)}")

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Say it if the last line is ten seconds old or the task ends."""
        now = self._clock()
        start, first = self._started.setdefault(task, (now, done))
        ends = done == total
        if ends or now - self._said.setdefault(task, start) >= SECONDS_BETWEEN_LINES:
            self._said[task] = now
            self._write(progress_line(task, done, total, new=done - first, seconds=now - start, figures=figures or {}))
        if ends:
            del self._started[task], self._said[task]


class LiveReporter(PlainReporter):
    """Draws a bar for each task on a terminal, and leaves a line where a task has ended.

    Args:
        bars: rich's display, started.
    """

    def __init__(self, bars: Progress) -> None:
        super().__init__(write=lambda text: bars.console.print(text, markup=False, highlight=False, soft_wrap=True))
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def progress(self, task: str, done: int, total: int | None, figures: Mapping[str, float] | None = None) -> None:
        """Move the bar."""
        beside = show_figures(figures or {})
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(task, completed=done, total=total, figures=beside)
        self._bars.update(self._tasks[task], completed=done, total=total, figures=beside)
        start, first = self._started.setdefault(task, (self._clock(), done))
        if done == total:
            self._bars.remove_task(self._tasks.pop(task))
            del self._started[task]
            seconds = self._clock() - start
            self._write(progress_line(task, done, total, new=done - first, seconds=seconds, figures=figures or {}))


@contextmanager
def reporter() -> Iterator[PlainReporter]:
    """A reporter on stderr: bars on a terminal, else a plain line now and then."""
    if not sys.stderr.isatty():
        yield PlainReporter()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Figures(ProgressColumn):
        """Steps done, rate, time left and the task's own figures, cut at the terminal's edge."""

        def render(self, task: Any) -> Text:
            total = f"/{task.total:.0f}" if task.total else ""
            left = f"{show_seconds(task.time_remaining)} left" if task.time_remaining else ""
            parts = (
                f"{task.completed:.0f}{total}",
                show_rate(task.speed or 0.0),
                left,
                task.fields["figures"],
            )
            return Text("  ".join(filter(None, parts)), no_wrap=True, overflow="ellipsis")

    name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    columns = (name, BarColumn(bar_width=12), Figures(table_column=Column(ratio=1, no_wrap=True)))
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as bars:
        yield LiveReporter(bars)


def progress_line(
    task: str, done: int, total: int | None, *, new: int, seconds: float, figures: Mapping[str, float]
) -> str:
    """One line about a task that did ``new`` of its steps in ``seconds``."""
    share = f"/{total} ({100 * done // total} %)" if total else ""
    parts = [f"{task} {done}{share}"]
    rate = new / seconds if seconds > 0 else 0.0
    if rate > 0:
        parts.append(show_rate(rate))
    if total is not None and done == total:
        parts.append(f"took {show_seconds(seconds)}")
    elif total is not None and rate > 0:
        parts.append(f"{show_seconds((total - done) / rate)} left")
    if figures:
        parts.append(show_figures(figures))
    return ", ".join(parts)


def show_figures(figures: Mapping[str, float]) -> str:
    """`loss 1.23  MB 1840`."""
    return "  ".join(f"{name} {value:{'.0f' if abs(value) >= 1000 else '.3g'}}" for name, value in figures.items())


def show_rate(rate: float) -> str:
    """Steps a second, or seconds a step where that is the larger number."""
    if rate <= 0:
        return ""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def show_seconds(seconds: float) -> str:
    """`1:05` or `2:01:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def would_read(*paths: Path | None) -> None:
    """What a dry run says of its inputs; None is none."""
    for path in paths:
        if path is not None:
            note(f"would read   {path}{'' if path.exists() else '  (missing)'}")


def print_json(value: Any) -> None:
    """One JSON object on stdout, paths as texts."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; every column but the first is set right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_header=bool(head))
    for n in range(len(head) or len(rows[0])):
        name = head[n] if head else ""
        table.add_column(name, justify="left" if n == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    console.width = max(console.width, Console(width=10_000).measure(table).maximum)
    console.print(table)


def print_metrics(title: str, values: Mapping[str, float | None]) -> None:
    """The main metrics in percent points on stdout; of the recalls, the one with most detections."""
    recalls = [name for name in values if name.startswith("AR@") and not name.endswith(MASK)]
    names = [name for name in METRICS if name in values] + recalls[-1:]
    cells = {
        what: ["-" if (value := values[name + suffix]) is None else f"{value:.1f}" for name in names]
        for what, suffix in (("box", ""), ("mask", MASK))
        if f"AP{suffix}" in values
    }
    if "mask" in cells:
        print_table(title, ["", *names], [[what, *row] for what, row in cells.items()])
    else:
        print_table(title, names, [cells["box"]])
