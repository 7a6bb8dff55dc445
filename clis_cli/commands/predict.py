"""`clis predict`: a detector and pictures in; what is in them out."""

from __future__ import annotations

import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.jobs.predict import Predictions


class Format(StrEnum):
    """What can be written; Typer takes a list of these, but not of a Literal."""

    PICTURES = "pictures"
    JSON = "json"
    CSV = "csv"
    COCO = "coco"


MODELS = (".pt", ".onnx", ".pt2", ".safetensors")
DEFAULT_OUT = Path("predictions")
SHOWN = 5
"""Classes that are counted in the table."""


def predict(
    *,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|FILE", help="Run folder or its name, a checkpoint, or a file of clis export."),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGES...", help="Files, folders, patterns, http(s) addresses; - for a list on stdin."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help=f"For the results; {DEFAULT_OUT} if left out.")
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", "-t", metavar="X", min=0, max=1, help="Least score of what is kept.")
    ] = 0.3,
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", "-f", help="What to write; may be repeated. pictures and json if left out."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="last|best|FILE", help="The run's weights to use.")
    ] = "last",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Pictures at a time.")] = 1,
    short_side: Annotated[
        int | None,
        typer.Option("--short-side", metavar="PX", min=32, max=8192, help="Resize to this; else as in training."),
    ] = None,
    max_labels: Annotated[
        int, typer.Option("--max-labels", metavar="N", min=0, help="Labels on a drawn picture at most, best first.")
    ] = 50,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are in the folder.")] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Find things in pictures, and draw what was found.

        clis predict runs/first photo.jpg photos/ -o found

        clis predict runs/first https://example.org/birds.jpg --threshold 0.5

    Results for other programs; a list of files from another program; an exported file; JSON alone, nothing written:

        clis predict runs/first "photos/**/*.jpg" --format coco --format csv --threshold 0

        clis predict runs/first - < list.txt

        clis predict model.onnx photos/ --max-labels 20

        clis predict runs/first photo.jpg --json

    A picture that cannot be read is named and the others go on; the exit code is then 4.
    """
    from clis_core.config.workspace import find_workspace, resolve_run
    from clis_core.data.named_pictures import find_pictures, split_list

    path = Path(run) if Path(run).suffix in MODELS else resolve_run(run, find_workspace(Path.cwd()))
    if path.suffix in MODELS and checkpoint != "last":
        raise typer.BadParameter("--checkpoint goes with a run, not with a file")
    if not as_json or formats:
        out = out or DEFAULT_OUT
    words = [word for given in images for word in (split_list(sys.stdin.read()) if given == "-" else [given])]
    pictures, failures = find_pictures(words, out)
    chosen: Any = tuple(dict.fromkeys(f.value for f in formats or (Format.PICTURES, Format.JSON)))
    if dry_run:
        console.note(f"would read   {path}")
        for failure in failures:
            console.note(f"would miss   {failure.name}: {failure.reason}")
        console.note(f"would read   {len(pictures)} pictures{f', from {pictures[0].name} on' if pictures else ''}")
        console.note(f"would write  {f'{out}: ' + ', '.join(chosen) if out else 'nothing'}")
        return
    from clis_core.errors import DataError
    from clis_core.jobs import predict as job
    from clis_core.jobs.inference import load_detector

    wanted = job.PredictOptions(threshold, chosen, batch, max_labels, overwrite)
    with console.reporter() as report:
        detector = load_detector(path, device or "", checkpoint=checkpoint, short_side=short_side)
        result = job.predict(detector, pictures, failures, out, wanted, reporter=report)
    if as_json:
        console.print_json(result.record)
    else:
        _print(result, out)
    if result.failures:
        bad, count = result.failures[0], len(result.failures)
        raise DataError(
            f"{count} of {count + len(result.done)} pictures could not be read; the first: {bad.name}: {bad.reason}",
            hint="The results hold the others.",
        )


def _print(result: Predictions, out: Path | None) -> None:
    names = Counter(name for one in result.done for name in one.found.names)
    rows = [
        ("pictures", str(len(result.done))),
        ("detections", str(names.total())),
        ("without any", str(sum(not len(one.found) for one in result.done))),
        ("most often", ", ".join(f"{name} {count}" for name, count in names.most_common(SHOWN)) or "-"),
        ("written to", str(out)),
    ]
    console.print_table("predictions", (), rows)
