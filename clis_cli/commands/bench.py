"""`clis bench`: measure one part of clis on this machine."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer

from clis_cli import console, options

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
]


def bench(
    name: Annotated[Name, typer.Argument(help="What to measure.")],
    scale: Annotated[
        float, typer.Option("--scale", metavar="X", min=0.0, help="Size of the work; 1 is the size of LVIS.")
    ] = 1.0,
    as_json: options.Json = False,
) -> None:
    """Measure one part of clis on this machine, beside its peer where there is one.

    clis bench postprocess

    clis bench lvis-eval --scale 0.01 --json
    """
    job = importlib.import_module(f"clis_core.jobs.bench.{name.replace('-', '_')}")
    result: dict[str, Any] = job.run(scale=scale)
    if as_json:
        console.print_json(result)
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
