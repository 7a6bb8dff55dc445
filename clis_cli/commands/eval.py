"""`clis eval`: a run, or a file of detections, in; detection metrics out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clis_cli import console, options
from clis_core.categories import GROUP_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clis_core.config.load import Layer
    from clis_core.config.workspace import Workspace
    from clis_core.evaluation.metrics import Metrics

EXPORTED = (".onnx", ".pt2", ".safetensors")
Engine = Literal["hotcoco", "lvis", "pycocotools", "voc"]
WRITTEN = "metrics, class table, mistakes, calibration"
SHOWN = ("per_class", "mistakes")
FIXED = ("AP_fixed", "APr_fixed", "APc_fixed", "APf_fixed", "AP_pool", "APr_pool", "APc_pool", "APf_pool")
_GROUPS = [*GROUP_NAMES, None]
LINES = 20
"""Classes in the list of those that are missed."""


def evaluate(
    *,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN|FILE", help="Run, or file of clis export; the newest run if left out."),
    ] = None,
    split: Annotated[Literal["val", "train"], typer.Option("--split", help="The images to judge on.")] = "val",
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="last|best|FILE", help="The run's weights to judge.")
    ] = "last",
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Print the class table: rare first, lowest AP first.")
    ] = False,
    mistakes: Annotated[
        bool, typer.Option("--mistakes", help="Print which mistakes cost most, and what is taken for what.")
    ] = False,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="AP_fixed and AP_pool as well: 10,000 detections a class, no cap an image.")
    ] = False,
    score_cut: Annotated[
        float | None,
        typer.Option("--score-cut", metavar="X", min=0, max=1, help="Least score of a mistake; 0.05 if left out."),
    ] = None,
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
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help=f"Write {WRITTEN} of a FILE there.")
    ] = None,
    engine: Annotated[
        Engine | None,
        typer.Option("--engine", help="hotcoco for LVIS and pycocotools for COCO files, if left out."),
    ] = None,
    save_json: Annotated[
        bool, typer.Option("--save-json", help="Also keep the detections as json in the run folder.")
    ] = False,
    device: options.Device = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Measure a run on the validation images, or judge a file of detections.

    The newest run of the workspace, a run by its name, a run folder:

        clis eval

        clis eval baseline-small --checkpoint best --per-class --mistakes

        clis eval runs/first --split train --set detector.postprocess.detections=100

    What clis export wrote, on the images of the run or the workspace that it lies in:

        clis eval runs/first/model.onnx

    A file of detections of any detector:

        clis eval --detections results.json --gt lvis_v1_val.json --fixed -o judged

    On many GPUs:

        torchrun --nproc_per_node 8 -m clis_cli eval runs/first
    """
    if detections is None and (gt or train_gt or out):
        raise typer.BadParameter("--gt, --train-gt and --out go with --detections FILE")
    shown = [name for name, asked in zip(SHOWN, (per_class, mistakes), strict=True) if asked]
    more: dict[str, Any] = {"fixed": fixed} | ({} if score_cut is None else {"score_cut": score_cut})
    if detections is not None:
        if gt is None:
            raise typer.BadParameter("--detections FILE needs its ground truth: --gt JSON")
        if run is not None or settings or save_json or device or checkpoint != "last":
            raise typer.BadParameter("--detections judges a file; RUN and its options do not go with it")
        more |= {"train_gt": train_gt, "engine": engine, "out": out}
        _judge_file(detections, gt, more, shown, as_json=as_json, dry_run=dry_run)
        return
    from clis_core.config.load import command_layer, dump_toml
    from clis_core.config.resume import eval_config
    from clis_core.config.workspace import checkpoints_of, find_workspace, resolve_run

    command = command_layer(settings or [], {"--device": ("device", device), "--engine": ("eval.engine", engine)})
    workspace = find_workspace(Path.cwd())
    if run is not None and Path(run).suffix in EXPORTED:
        if checkpoint != "last":
            raise typer.BadParameter("--checkpoint goes with a run, not with a file")
        more |= {"split": split, "save_json": save_json}
        _evaluate_model(Path(run), workspace, command, more, shown, as_json=as_json, dry_run=dry_run)
        return
    folder = resolve_run(run, workspace)
    config = eval_config(folder, command)
    if dry_run:
        last = (checkpoints_of(folder) or [folder / "checkpoints"])[-1]
        weights = {"last": last, "best": folder / "best.pt"}.get(checkpoint, checkpoint)
        named = config.data.val if split == "val" else config.data.train
        for path in (weights, named or config.data.root):
            console.note(f"would read   {path}")
        console.note(f"would write  {folder / f'eval-{split}'}: {WRITTEN}, detections")
        typer.echo(dump_toml(config), nl=False)
        return
    from clis_core.jobs.evaluate import evaluate_run

    with console.reporter() as report:
        metrics = evaluate_run(
            folder, config, split=split, checkpoint=checkpoint, save_json=save_json, **more, reporter=report
        )
    if metrics is not None:  # else the first process of torchrun has it
        _print(f"{folder.name}, {split}", metrics, shown, as_json)


def _evaluate_model(
    path: Path,
    workspace: Workspace | None,
    command: Layer,
    more: dict[str, Any],
    shown: list[str],
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    from clis_core.config.load import dump_toml
    from clis_core.config.model_file import evaluation_config, output_folder

    config, split = evaluation_config(path, workspace, command), more["split"]
    if dry_run:
        for read in (path, (config.data.val if split == "val" else config.data.train) or config.data.root):
            console.note(f"would read   {read}")
        console.note(f"would write  {output_folder(path, split)}: {WRITTEN}, detections")
        typer.echo(dump_toml(config), nl=False)
        return
    from clis_core.jobs.evaluate_model import evaluate_model

    with console.reporter() as report:
        metrics = evaluate_model(path, config, **more, reporter=report)
    if metrics is not None:
        _print(f"{path.name}, {split}", metrics, shown, as_json)


def _judge_file(
    detections: Path, gt: Path, more: dict[str, Any], shown: list[str], *, as_json: bool, dry_run: bool
) -> None:
    if dry_run:
        console.would_read(detections, gt, more["train_gt"])
        console.note(f"would write  {more['out']}: {WRITTEN}" if more["out"] else "would write  nothing")
        return
    from clis_core.jobs.evaluate_file import evaluate_file

    with console.reporter() as report:
        metrics = evaluate_file(detections, gt, **more, reporter=report)
    _print(detections.name, metrics, shown, as_json)


def _print(title: str, metrics: Metrics, shown: list[str], as_json: bool) -> None:
    if as_json:
        console.print_json({**metrics.values, **{name: metrics.records[name] for name in shown}})
        return
    console.print_metrics(title, metrics.values)
    names = [name for name in FIXED if name in metrics.values]
    if names:
        console.print_table("10,000 detections a class", names, [[_number(metrics.values[name]) for name in names]])
    for name in shown:
        {"per_class": _print_classes, "mistakes": _print_mistakes}[name](metrics.records[name])


def _print_classes(record: Mapping[str, Any]) -> None:
    head = ["class", "group", "train images", "objects", "detections", "AP", "AP50"]
    head += ["best F1", "from score", "precision", "recall"]
    rows = []
    for c in sorted(record["classes"], key=_rare_and_low_first):
        best = c["best_f1"] or {}
        cells = [c["name"], c["group"], c["train_images"], c["objects"], c["detections"], c["AP"], c["AP50"]]
        shares = [None if (x := best.get(name)) is None else 100 * x for name in ("f1", "precision", "recall")]
        score = best.get("score")
        cells += [shares[0], None if score is None else f"{score:.3f}", *shares[1:]]
        rows.append([_number(cell) for cell in cells])
    console.print_table("Classes; F1 in percent, at an IoU of 0.5", head, rows)


def _rare_and_low_first(record: Mapping[str, Any]) -> tuple[int, float, int]:
    ap = record["AP"]
    return _GROUPS.index(record["group"]), 101.0 if ap is None else ap, record["id"]


def _print_mistakes(record: Mapping[str, Any]) -> None:
    groups = {GROUP_NAMES.get(name, name): group for name, group in record["groups"].items()}
    kinds = list(record["groups"]["all"]["dAP50"])
    rows = [
        [name, *(_number(value) for value in (group["AP50"], *group["dAP50"].values()))]
        for name, group in groups.items()
        if group["objects"]["all"]
    ]
    console.print_table(
        f"AP50 of detections from a score of {record['score_cut']:g}, and its gain without each kind of mistake",
        ["", "AP50", *kinds],
        rows,
    )
    head = ["class", "group", "objects", "found", "wrong class", "badly placed", "missed", "taken for"]
    lost = [c for c in record["classes"] if c["objects"]["found"] < c["objects"]["all"]]
    lost.sort(key=lambda c: (_GROUPS.index(c["group"]), c["objects"]["found"] - c["objects"]["all"], c["id"]))
    rows = [
        [
            *(c["name"], c["group"] or "-"),
            *(str(c["objects"][name]) for name in ("all", "found", "Cls", "Loc", "Miss")),
            ", ".join(f"{x['name']} ({x['objects']})" for x in c["taken_for"][:3]),
        ]
        for c in lost[:LINES]
    ]
    if rows:
        console.print_table(f"Objects that were not found, rare classes first ({len(lost)} classes)", head, rows)


def _number(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}"
        case _:
            return str(value)
