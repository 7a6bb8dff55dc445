"""`clis bench`: measure one part of clis on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.jobs.bench_compare import Change
    from clis_core.jobs.bench_suite import Suite

Name = Literal[
    "postprocess",
    "lvis-eval",
    "annotations",
    "train-step",
    "loading",
    "build",
    "shard-reads",
    "big-data",
    "near-duplicates",
    "gen-regions",
    "clis-step",
    "queue",
    "report",
    "inference",
    "inference-dense",
    "mtl-labels",
]


def bench(
    *,
    name: Annotated[Name | None, typer.Argument(help="What to measure.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Measure all, one after the other, each in a process of its own.")
    ] = False,
    scale: Annotated[
        float, typer.Option("--scale", metavar="X", min=0.0, help="Size of the work; 1 is the size of LVIS.")
    ] = 1.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the figures and the machine's to a json.")
    ] = None,
    old: Annotated[
        Path | None, typer.Option("--compare", metavar="OLD", help="Tell ratios that are worse than in this file.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="X", min=0.0, max=1.0, help="Part of a ratio that may be lost.")
    ] = 0.2,
    as_json: options.Json = False,
) -> None:
    """Measure one part of clis on this machine, or all, beside its peer where there is one.

    clis bench postprocess

    clis bench lvis-eval --scale 0.01 --json

    All, kept in a file, and later against it; worse ratios end with exit code 1:

        clis bench --all -o before.json

        clis bench --all --compare before.json
    """
    if (name is not None) == everything:
        raise typer.BadParameter("name one benchmark, or --all")
    if name and out is None and old is None:
        from clis_core.jobs.bench_suite import measure

        _tell(measure(name, scale), name, as_json)
        return
    from clis_core.errors import ClisError
    from clis_core.jobs.bench_compare import check_comparable, compare
    from clis_core.jobs.bench_suite import read_suite, run_suite

    names: tuple[str, ...] = get_args(Name) if name is None else (name,)
    before = read_suite(old) if old else None
    if before:
        check_comparable(before, names, scale)
    with console.reporter() as report:
        suite = run_suite(names, scale=scale, out=out, reporter=report)
    changes = compare(before, suite, tolerance) if before else []
    if as_json:
        console.print_json({**suite.to_record(), **({"changes": [vars(c) for c in changes]} if before else {})})
    elif suite.results:
        console.print_table("", _HEAD, [_row(*item) for item in suite.results.items()])
    if before:
        _tell_changes(before, suite, changes, as_json)
    wrong = [f"{name}: {why}" for name, why in suite.failed.items()]
    wrong += [f"{c.name} {c.key}: {_shown(c.after)}, was {_shown(c.before)}" for c in changes if c.worse and c.key]
    if wrong:
        raise ClisError("; ".join(wrong), hint="Measure once more with nothing else running; clis bench NAME for one.")


_HEAD = ("benchmark", "clis", "peer", "ratio", "equal")


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    figures = (result.get(key) for key in ("ours", "peer", "ratio"))
    equal = {True: "yes", False: "no"}.get(bool(result["equal"]), "") if result.get("equal") is not None else ""
    return (name, *("" if figure is None else _shown(figure) for figure in figures), equal)


def _tell_changes(before: Suite, after: Suite, changes: Sequence[Change], as_json: bool) -> None:
    """What is another machine, and every ratio beside the old one."""
    for text in _other_machine(before, after):
        console.note(text)
    rows = [(f"{c.name} {c.key}", _shown(c.before), _shown(c.after), f"{c.better:.2f}") for c in changes if c.better]
    if rows and not as_json:
        console.print_table("", ("ratio", "before", "now", "better by"), rows)


def _other_machine(before: Suite, after: Suite) -> list[str]:
    keys = ("processor", "cores", "threads", "gpus", "torch")
    return [
        f"{key}: {after.environment[key]}, was {before.environment.get(key)}"
        for key in keys
        if after.environment[key] != before.environment.get(key)
    ]


def _tell(result: Mapping[str, Any], name: str, as_json: bool) -> None:
    if as_json:
        console.print_json(dict(result))
    else:
        console.print_table(name, (), [(key, _shown(value)) for key, value in _flat(result)])


def _flat(result: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in result.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
