"""`clis compare`: presets on one data set, with equal budgets, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.jobs.compare_plan import ComparePlan


def compare(
    presets: Annotated[
        list[str],
        typer.Argument(
            metavar="PRESET...",
            help="Presets, in the order of the table; PRESET+pretrained learns to classify the pictures first.",
            autocompletion=options.preset_names,
        ),
    ],
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DIR", help="Data set; the workspace's if left out.")
    ] = None,
    images: options.Images = None,
    regions: Annotated[
        str | None,
        typer.Option("--regions", metavar="DIR|full-image|centre", help="Their regions; made first if left out."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="X", help="Minutes of each training, on this machine.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option("--iterations", "-n", metavar="N", min=1, help="Steps of each training.")
    ] = None,
    seeds: options.Seeds = "0,1",
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of all that is made.")] = Path(
        "compare"
    ),
    settings: options.Settings = None,
    device: options.Device = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Train presets on one data set with equal budgets and several seeds, and print them in one table.

    The same minutes of training for each, on this machine:

        clis compare specialised-small detic-small clis-small --data data/mine --images shards --minutes 5 -o compare

    The same number of steps; or, without a budget, each preset's own schedule:

        clis compare baseline-small crt-small --data data/mine --iterations 1000 --seeds 0,1,2

        clis compare specialised-small specialised-small+pretrained --data data/mine --images shards

    What a preset needs is made first, once for all that share it: regions, mosaics, first stages, pre-training.
    A comparison that was stopped goes on when it is called again; presets and seeds may be added to it.
    """
    from clis_core.config.load import command_layer
    from clis_core.config.workspace import find_workspace
    from clis_core.jobs.compare_check import check
    from clis_core.jobs.compare_plan import ComparePlan

    if minutes is not None and iterations is not None:
        raise typer.BadParameter("one budget: --minutes X or --iterations N")
    if minutes is not None and not 0 < minutes < float("inf"):
        raise typer.BadParameter("--minutes: a number above 0")
    if len(set(presets)) < len(presets):
        raise typer.BadParameter("name each preset once; several runs of one are --seeds 0,1,2")
    workspace = find_workspace(Path.cwd())
    flags = {
        "--data": ("data.root", data),
        "--device": ("device", device),
        "--images": ("pictures.shards", images),
        "--regions": ("pictures.regions", regions),
    }
    command = command_layer(settings or [], flags)
    pictures = command.values.get("pictures", {})  # for the rows that learn from them
    shards, found = pictures.pop("shards", None), pictures.pop("regions", None)
    if shards is None and workspace is not None:
        shards = workspace.shards
        found = found or workspace.layer.values.get("pictures", {}).get("regions")
    plan = ComparePlan(
        rows=tuple(presets),
        seeds=options.seeds_of(seeds),
        minutes=minutes,
        iterations=iterations,
        settings=options.over_workspace_data(command, data, workspace),
        shards=Path(shards) if shards else None,
        regions=found,
        out=out.absolute(),
    )
    if dry_run:
        check(plan)
        _tell_plan(plan)
        return
    from clis_core.jobs.compare import compare as job

    with console.reporter() as report:
        record = job(plan, reporter=report)
    if as_json:
        console.print_json(record)
    else:
        _print(record, out)
    if any(row["failed"] for row in record["rows"]):
        raise typer.Exit(1)


def _tell_plan(plan: ComparePlan) -> None:
    from clis_core.jobs.compare_plan import all_steps, trainings

    compared = trainings(plan)
    for step in all_steps(plan):
        console.note(f"would run    {step.about}{'' if step in compared else '  (needed first)'}")
    console.note(f"would write  {plan.out}")


def _print(record: Mapping[str, Any], out: Path) -> None:
    from clis_core.jobs.compare_table import (
        HEAD,
        PAPER_HEAD,
        PAPER_TITLE,
        TABLE,
        cells,
        failures_of,
        notes_of,
        paper_cells,
        title,
    )

    console.print_table(title(record), HEAD, cells(record))
    for mark, lines in (("Failed", failures_of(record)), ("Note", notes_of(record))):
        for line in lines:
            console.note(f"{mark}: {line}")
    if record["paper"]:
        console.print_table(PAPER_TITLE, PAPER_HEAD, paper_cells(record))
    for path in (*record["reports"], out / TABLE):
        typer.echo(f"{path}")
