"""`clis ablate`: a table of the paper in, our numbers beside its out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clis_core.config.ablations import Table
    from clis_core.jobs.ablate import RowResult


def ablate(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="II to VI, VIII, XI, regions, contrast or mtl.")],
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DIR", help="Data set; the workspace's if left out.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="SHARDS", help="Pictures; the workspace's if left out.")
    ] = None,
    google: Annotated[
        Path | None, typer.Option("--google", metavar="SHARDS", help="Pictures of clis crawl-google, for table XI.")
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option("--detector", metavar="FILE", help="Checkpoint for the regions; trained first if left out."),
    ] = None,
    budget: Annotated[
        Literal["small", "tiny", "full"], typer.Option("--budget", help="Which presets: minutes, seconds, days a run.")
    ] = "small",
    seeds: options.Seeds = "0,1",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of all runs; ablation-TABLE if left out.")
    ] = None,
    settings: options.Settings = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Run the rows of a table of the paper, and print ours beside it.

    It can be stopped and run again; what has been run is read.

        clis ablate II --data data/tinylvis --images shards --seeds 0,1,2

        clis ablate regions --data data/tinylvis --images shards --set train.iterations=1000
    """
    from clis_core.config.ablations import table as find_table
    from clis_core.config.load import command_layer
    from clis_core.config.workspace import find_workspace

    workspace = find_workspace(Path.cwd())
    found = find_table(table)
    command = command_layer(settings or [], {"--data": ("data.root", data)})
    layer = options.over_workspace_data(command, data, workspace)
    folder = out or Path(f"ablation-{table.lower()}")
    if dry_run:
        for row in found.rows:
            console.note(f"would run    {row.name}, seeds {seeds}")
        console.note(f"would write  {folder}")
        return
    from clis_core.jobs.ablate import AblationPlan, to_record
    from clis_core.jobs.ablate import ablate as job

    plan = AblationPlan(
        found,
        budget,
        options.seeds_of(seeds),
        layer,
        (images or (workspace.shards if workspace else None)),
        google,
        detector,
        folder.absolute(),
    )
    with console.reporter() as report:
        results = job(plan, reporter=report)
    if as_json:
        console.print_json(to_record(plan, results))
    else:
        _print(found, results)


def _print(table: Table, results: Sequence[RowResult]) -> None:
    """Means over the seeds, and differences to the first row with the paper's in brackets."""
    names = ("AP", "APr", "APc", "APf")
    rows = []
    first = results[0]
    for result in results:
        cells = [result.row.name]
        for n, name in enumerate(names):
            mean, spread = result.mean(name), result.spread(name)
            cells.append("-" if mean is None or spread is None else f"{mean:.1f} ± {spread:.1f}")
            base = first.mean(name)
            ours = "" if mean is None or base is None or result is first else f"{mean - base:+.1f}"
            paper = ""
            if result.row.paper and first.row.paper and result is not first and n < len(result.row.paper):
                paper = f" ({result.row.paper[n] - first.row.paper[n]:+.1f})"
            cells.append(ours + paper)
        cells.append(f"{sum(o.minutes for o in result.outcomes) / len(result.outcomes):.1f}")
        rows.append(cells)
    head = ["", *(part for name in names for part in (name, "diff (paper)")), "min"]
    console.print_table(table.title, head, rows)
