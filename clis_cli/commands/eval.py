"""`clis eval`: a run, or a file of detections, in; detection metrics out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from collections.abc import Mapping

Engine = Literal["hotcoco", "lvis", "pycocotools"]
SAVED = "the detections as json"


def evaluate(
    *,
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="Run folder or its name; the newest run if left out."),
    ] = None,
    split: Annotated[Literal["val", "train"], typer.Option("--split", help="The images to judge on.")] = "val",
    detections: Annotated[
        Path | None,
        typer.Option("--detections", metavar="FILE", help="Judge COCO results json instead of a run."),
    ] = None,
    gt: Annotated[
        Path | None, typer.Option("--gt", metavar="JSON", help="Its ground truth: an LVIS or COCO json.")
    ] = None,
    train_gt: Annotated[
        Path | None,
        typer.Option("--train-gt", metavar="JSON", help="Training json; its counts give rare, common, frequent."),
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option("--engine", help="hotcoco for LVIS and pycocotools for COCO files, if left out."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="last|best|FILE", help="The run's weights to judge.")
    ] = "last",
    save_json: Annotated[bool, typer.Option("--save-json", help=f"Also keep {SAVED} in the run folder.")] = False,
    device: options.Device = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Measure a run on the validation images, or judge a file of detections.

    The newest run of the workspace, a run by its name, a run folder:

        clis eval

        clis eval baseline-small --checkpoint best --json

        clis eval runs/first --split train --set detector.postprocess.detections=100

    A file of detections of any detector:

        clis eval --detections results.json --gt lvis_v1_val.json --engine lvis
    """
    if detections is None and (gt or train_gt):
        raise typer.BadParameter("--gt and --train-gt go with --detections FILE")
    if detections is not None:
        if gt is None:
            raise typer.BadParameter("--detections FILE needs its ground truth: --gt JSON")
        if run is not None or settings or save_json or device or checkpoint != "last":
            raise typer.BadParameter("--detections judges a file; RUN and its options do not go with it")
        _judge_file(detections, gt, train_gt, engine, as_json=as_json, dry_run=dry_run)
        return
    from clis_core.config.load import command_layer, dump_toml
    from clis_core.config.resume import eval_config
    from clis_core.config.workspace import checkpoints_of, find_workspace, resolve_run

    folder = resolve_run(run, find_workspace(Path.cwd()))
    flags = {"--device": ("device", device), "--engine": ("eval.engine", engine)}
    config = eval_config(folder, command_layer(settings or [], flags))
    if dry_run:
        last = (checkpoints_of(folder) or [folder / "checkpoints"])[-1]
        weights = {"last": last, "best": folder / "best.pt"}.get(checkpoint, checkpoint)
        named = config.data.val if split == "val" else config.data.train
        for path in (weights, named or config.data.root):
            console.note(f"would read   {path}")
        console.note(f"would write  {folder / f'eval-{split}'}: metrics{' and ' + SAVED if save_json else ''}")
        typer.echo(dump_toml(config), nl=False)
        return
    from clis_core.jobs.evaluate import evaluate_run

    with console.reporter() as report:
        metrics = evaluate_run(folder, config, split=split, checkpoint=checkpoint, save_json=save_json, reporter=report)
    _print(f"{folder.name}, {split}", metrics.values, as_json)


def _judge_file(
    detections: Path, gt: Path, train_gt: Path | None, engine: Engine | None, *, as_json: bool, dry_run: bool
) -> None:
    if dry_run:
        for path in (detections, gt, train_gt):
            if path is not None:
                console.note(f"would read   {path}{'' if path.exists() else '  (missing)'}")
        console.note("would write  nothing")
        return
    from clis_core.jobs.evaluate_file import evaluate_file

    with console.reporter() as report:
        metrics = evaluate_file(detections, gt, train_gt=train_gt, engine=engine, reporter=report)
    _print(detections.name, metrics.values, as_json)


def _print(title: str, values: Mapping[str, float | None], as_json: bool) -> None:
    if as_json:
        console.print_json(dict(values))
    else:
        console.print_metrics(title, values)
