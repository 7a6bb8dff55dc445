"""`clis demo`: from an empty folder to a detector that knows rare classes, by the commands as one types them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.jobs.demo import Demo, Step
    from clis_core.training.interrupt import StopRequest

DEFAULT = Path("clis-demo")
THREADS = 4
"""More do not make networks this small faster."""
HEAD = ("", "iterations", "minutes", "AP", "APr", "APc", "APf")
AFTERWARDS = ("clis eval clis --per-class --mistakes", "clis inspect", "clis train --alpha 0.5 -o mine")
LOOK = 0.1
"""Seconds between two looks at whether someone wants to stop."""
PASS_ON = 5
"""Looks after which a signal is passed on to the command, if that still runs."""


def demo(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="An empty folder, a new one, or that of a demo to go on with.")
    ] = DEFAULT,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute: shows that everything runs; its numbers mean nothing.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the drawing and the trainings.")] = 0,
    as_json: options.Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands; do nothing.")] = False,
) -> None:
    """Show on drawn data, in minutes and without a download, what labelled pictures do for rare classes.

    Draws scenes with boxes and pictures with a class label, then runs the commands from the shards to the predictions
    and prints each as you could type it:

        clis demo

        clis demo elsewhere --seed 1

    What they wrote stays, for commands of your own. A demo that was stopped goes on when it is called again.

    Only whether everything runs; only what would be run:

        clis demo --quick

        clis demo --dry-run
    """
    from clis_core.jobs.demo import Asked, Demo, steps, typed

    show = Demo(folder, Asked(seed=seed, quick=quick))
    todo = steps(show.asked)
    if dry_run:
        console.note(f"would draw   {folder / 'data'}")
        for step in todo:
            console.note(f"would run    {typed(step.words)}")
        console.note(f"would write  {folder}")
        return
    with show.open():
        _run_all(show, todo, as_json)
    _tell(show, as_json)


def _run_all(show: Demo, todo: Sequence[Step], as_json: bool) -> None:
    from clis_core.jobs.demo import CLASSES, typed

    size = show.asked.size
    fresh = [step for step in todo if step.name not in show.done]
    if not fresh:
        return
    environment = _environment()
    if not show.drawn:
        scenes, pictures = size.scenes + size.val, size.pictures * CLASSES
        console.note(f"Drawing {scenes} scenes and {pictures} labelled pictures into {show.folder / 'data'} ...")
        show.draw()
    console.note("")
    _prompt(f"cd {shlex.quote(str(show.folder))}")
    for name, value in environment.items():
        _prompt(f"export {name}={value}")
    for step in fresh:
        words = show.words(step)
        console.note(f"\n[{todo.index(step) + 1}/{len(todo)}] {step.about}")
        _prompt(typed(words))
        _run(step, words, show, environment, as_json)


def _prompt(command: str) -> None:
    """A line that a person could have typed; bold on a terminal, to be found among what it printed."""
    typer.secho(f"$ {command}", err=True, bold=None if os.environ.get("NO_COLOR") else True)


def _environment() -> dict[str, str]:
    """What the commands need to be told on a machine with many cores."""
    many = (os.cpu_count() or 1) > THREADS
    return {"OMP_NUM_THREADS": str(THREADS)} if many and "OMP_NUM_THREADS" not in os.environ else {}


def _run(step: Step, words: Sequence[str], show: Demo, environment: dict[str, str], as_json: bool) -> None:
    """Run one command of clis in the demo's folder; what it says goes where this process's goes."""
    from clis_core.errors import ClisError, Interrupted
    from clis_core.training.interrupt import StopRequest

    again = f"Go on with: {show.command}"
    with StopRequest() as stop:
        child = subprocess.Popen(
            [sys.executable, "-m", "clis_cli", *words],
            cwd=show.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if as_json else None,
        )
        try:
            code = _wait(child, stop)
        except KeyboardInterrupt:  # the second Ctrl-C: no more waiting, here and in the command
            child.wait()
            raise Interrupted("Stopped.", hint=again) from None
    if code == 0:
        show.end(step)
    if stop.name:
        raise Interrupted(f"Stopped by {stop.name}.", hint=again)
    if code:
        how = f"ended with exit code {code}; why stands above" if code > 0 else f"was killed (signal {-code})"
        failed = ClisError(f"clis {words[0]} {how}.", hint=again)
        failed.exit_code = code if code > 0 else 1
        raise failed


def _wait(child: subprocess.Popen[bytes], stop: StopRequest) -> int:
    """The exit code of a command; a signal is passed on to it."""
    since = 0
    while True:
        try:
            return child.wait(LOOK)
        except subprocess.TimeoutExpired:
            # A terminal sends its Ctrl-C to the command as well, to which a second one may be an impatient person.
            since += 1 if stop.name else 0
            if stop.name and since == PASS_ON:
                child.send_signal(signal.Signals[stop.name])


def _tell(show: Demo, as_json: bool) -> None:
    if as_json:
        console.print_json(show.record())
        return
    rows = [
        [run["run"], str(run["iterations"]), f"{run['minutes']:.1f}", *(_point(run[name]) for name in HEAD[3:])]
        for run in show.results()
    ]
    console.print_table("AP on val; r, c, f: rare, common, frequent classes", HEAD, rows)
    typer.echo(f"Report: {show.record()['report']}")
    if show.asked.quick:
        console.note("So few steps teach nothing: these numbers mean nothing. The whole demo: clis demo")
        return
    console.note(f"More, in {show.folder}:")
    for command in AFTERWARDS:
        console.note(f"  {command}")


def _point(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}"
