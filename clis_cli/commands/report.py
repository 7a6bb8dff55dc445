"""`clis report`: one self-contained page about one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from clis_cli import console, options


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help="Evaluated runs, the first to compare with; the newest run if left out."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The page.")] = Path("report.html"),
    split: Annotated[Literal["val", "train"], typer.Option("--split", help="Which evaluation to show.")] = "val",
    pictures: Annotated[
        int, typer.Option("--pictures", metavar="N", min=0, max=500, help="Pictures with boxes; 0 for none.")
    ] = 24,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", metavar="DIR", help="The data set, if it is not where it was.")
    ] = None,
    as_json: options.Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be read and written.")] = False,
) -> None:
    """Compare evaluated runs on one HTML page that needs no network.

    Metrics, winners and losers, AP by training images, precision and recall, mistakes, confusions, pictures, every
    class, losses and settings. RUN is what clis eval has judged: a run, a file of clis export, a folder of its -o.

        clis report

        clis report baseline-small clis-small -o report.html

        clis report runs/first runs/first/model.onnx judged --pictures 60
    """
    from clis_core.config.workspace import find_workspace

    workspace = find_workspace(Path.cwd())
    named: list[str | None] = list(runs or []) or [None]
    if dry_run:
        from clis_core.jobs.report_runs import find_evaluation

        for name in named:
            console.note(f"would read   {find_evaluation(name, workspace, split)[1]}")
        console.note(f"would write  {out}")
        return
    from clis_core.jobs.report import report as job

    with console.reporter() as reporter:
        written = job(named, out, split=split, pictures=pictures, data=data, workspace=workspace, reporter=reporter)
    if as_json:
        console.print_json(
            {"path": written.path, "bytes": written.size, "pictures": written.pictures, "runs": written.runs}
        )
    else:
        typer.echo(
            f"{written.path}: {written.size / 1e6:.1f} MB, {written.pictures} pictures, {', '.join(written.runs)}"
        )
