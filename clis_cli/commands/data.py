"""`clis data check`: a data set in, what is wrong with it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.config.run import RunConfig
    from clis_core.jobs.check_data import CheckReport

app = typer.Typer(no_args_is_help=True, help="Look into data sets.")

NAMES_SHOWN = 10
"""Categories of shards without a class on the screen; --json has all."""


def check(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="Folder of a data set, or an annotation json; else the workspace's."),
    ] = None,
    shards: Annotated[
        Path | None,
        typer.Option(
            "--shards", metavar="DIR", help="Shards for these data; the workspace's if DATA is left out as well."
        ),
    ] = None,
    settings: options.Settings = None,
    files: Annotated[
        bool, typer.Option("--files/--no-files", help="Look at image files and pictures, or at annotations alone.")
    ] = True,
    sample: Annotated[
        int | None, typer.Option("--sample", metavar="N", min=1, help="Look at N files of each split, not at all.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Threads that look at files.")] = 2,
    ignore: Annotated[
        str | None, typer.Option("--ignore", metavar="CODES", help="Codes that are not told, as in D207,D506.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Leave with exit code 4 for warnings as well.")] = False,
    as_json: options.Json = False,
) -> None:
    """Find what would spoil training or evaluation: in annotations, image files, and shards of labelled pictures.

    Of a folder, or of the workspace that this folder lies in:

        clis data check data/lvis

    With the shards: which category is which class, and whether val's images are among the pictures:

        clis data check data/lvis --shards shards

    Files anywhere, fast; every fault as json:

        clis data check boxes.json --no-files

        clis data check --set data.train=a.json --set data.train_images=photos --sample 1000 --json

    Exit code: 0 where there are no errors, 4 where there are; with --strict warnings count as well.
    """
    from clis_core.errors import DataError
    from clis_core.jobs.check_data import CheckOptions, check_data

    config = _config(source, shards, settings or [])
    codes = [code.strip().upper() for code in (ignore or "").split(",") if code.strip()]
    how = CheckOptions(files=files, sample=sample, workers=workers, ignore=codes)
    with console.reporter() as report:
        found = check_data(config.data, config.pictures.shards, how, reporter=report)
    if as_json:
        console.print_json(found.to_record())
    else:
        _tell(found)
    counts = found.counts()
    said = ", ".join(f"{n} kind{'' if n == 1 else 's'} of {severity}" for severity, n in counts.items())
    if counts["error"] or (strict and counts["warning"]):
        raise DataError(f"The data have faults: {said}.", hint="What each one means: docs/data-check.md, by its code.")
    if not as_json:
        console.note(f"No errors: {said}.")


def _config(source: Path | None, shards: Path | None, settings: list[str]) -> RunConfig:
    from clis_core.config.load import command_layer, resolve
    from clis_core.config.workspace import find_workspace

    is_file = source is not None and (source.is_file() or source.suffix.lower() == ".json")
    flags = {
        "DATA": ("data.train" if is_file else "data.root", source),
        "--shards": ("pictures.shards", shards),
    }
    # What DATA names takes the place of the workspace's data, shards included.
    workspace = find_workspace(Path.cwd()) if source is None else None
    return resolve([*([workspace.layer] if workspace else []), command_layer(settings, flags)])


def _tell(found: CheckReport) -> None:
    for where, facts in found.checked.items():
        typer.echo(f"{where}: " + ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in _figures(facts)))
    other = [mapped for mapped in found.mapping if mapped.status != "same"]
    if found.mapping:
        typer.echo(f"{len(found.mapping) - len(other)} of {len(found.mapping)} categories of the shards are classes.")
    for mapped in other[:NAMES_SHOWN]:
        meant = f"; did you mean {' or '.join(mapped.did_you_mean)}?" if mapped.did_you_mean else ""
        typer.echo(f"  {mapped.name} (id {mapped.id}, {mapped.pictures} pictures): {mapped.status}{meant}")
    if len(other) > NAMES_SHOWN:
        typer.echo(f"  and {len(other) - NAMES_SHOWN} more; --json has all")
    for finding in found.findings:
        rule = finding.rule
        typer.echo(f"\n{rule.code} {rule.severity}, {finding.where}: {rule.title} ({finding.count})")
        for example in finding.examples:
            typer.echo("  " + ": ".join(filter(None, (example.file, example.record, example.text))))
        if finding.count > len(finding.examples) > 0:
            typer.echo(f"  and {finding.count - len(finding.examples)} more")
        typer.echo(f"  Hint: {rule.hint}")


def _figures(facts: dict[str, object]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in facts.items() if isinstance(value, int) and not isinstance(value, bool)]


@app.callback()
def _group() -> None:
    """Look into data sets."""  # with a callback, a group of one command keeps its word


app.command("check")(check)
