"""`clis export`: a run in; a file out that other programs run, checked against the run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.config.run import RunConfig
    from clis_core.jobs.export import ExportResult

Format = Literal["onnx", "pt2", "safetensors", "coco-results"]
SUFFIXES: dict[str, str] = {"onnx": ".onnx", "pt2": ".pt2", "safetensors": ".safetensors", "coco-results": ".json"}
GRAPHS = ("onnx", "pt2")
WITH_GRAPHS = "--size, --batch, --no-nms, --candidates, --images and --check go with onnx and pt2"


def export(
    *,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Run folder or its name; the newest run if left out."),
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="What to write; by the suffix of -o if left out, else onnx.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file; RUN/model.onnx if left out.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="last|best|FILE", help="The run's weights to export.")
    ] = "last",
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="HxW", help="Fix the frame (pixels, multiples of 32); else any of these."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option("--batch", metavar="N", min=1, help="Fix the images at a time; else any (onnx) or 1 (pt2)."),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Layers in float16.")] = False,
    no_nms: Annotated[
        bool, typer.Option("--no-nms", help="Leave the last NMS out: the graph gives its candidates.")
    ] = False,
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", metavar="K", min=1, help="Pairs that the graph looks at; else by the pictures."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", exists=True, help="Pictures of the check; else the val images."),
    ] = None,
    check: Annotated[
        int | None,
        typer.Option("--check", metavar="N", min=0, help="How many pictures to check it on; 50 if left out."),
    ] = None,
    settings: options.Settings = None,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Write a run's detector as one file, and check that the file finds what the run finds.

    The newest run as ONNX, for images of any size and any number of them:

        clis export

        clis export runs/first -o model.onnx --checkpoint best

    For runtimes that want fixed shapes; in half precision; as a program of torch's:

        clis export runs/first -o model.onnx --size 800x1344 --batch 1

        clis export runs/first -o model.onnx --half

        clis export runs/first -o model.pt2

    Weights alone with a model card; detections on the validation images as COCO results:

        clis export runs/first -o model.safetensors

        clis export runs/first --format coco-results -o results.json
    """
    form, graph = _format(form, out), (size, batch, candidates, images, check)
    if form not in GRAPHS and (no_nms or any(value is not None for value in graph)):
        raise typer.BadParameter(WITH_GRAPHS)
    if form == "coco-results" and half:
        raise typer.BadParameter("--half goes with files of a model")
    frame = _frame(size)
    from clis_core.config.load import command_layer, dump_toml
    from clis_core.config.resume import eval_config
    from clis_core.config.workspace import find_workspace, resolve_run

    folder = resolve_run(run, find_workspace(Path.cwd()))
    config = eval_config(folder, command_layer(settings or [], {}))
    out = out or folder / f"model{SUFFIXES[form]}"
    if dry_run:
        console.note(f"would read   {folder} ({checkpoint})")
        if form in GRAPHS and check != 0:
            console.note(f"would read   {images or config.data.val or config.data.root}")
        console.note(f"would write  {out}{'; ' + str(out.with_suffix('.md')) if form == 'safetensors' else ''}")
        typer.echo(dump_toml(config), nl=False)
        return
    if form == "coco-results":
        _results(folder, config, out, checkpoint, as_json=as_json)
        return
    from clis_core.jobs import export as job

    wanted = job.ExportOptions(
        form,
        checkpoint=checkpoint,
        frame=frame,
        batch=batch,
        precision="fp16" if half else "fp32",
        nms=not no_nms,
        candidates=candidates,
        images=images,
        check=50 if check is None else check,
    )
    with console.reporter() as report:
        result = job.export(folder, config, out, wanted, reporter=report)
    _print(result, as_json)


def _format(form: Format | None, out: Path | None) -> Any:
    if out is None:
        return form or "onnx"
    fitting = [name for name, suffix in SUFFIXES.items() if out.suffix == suffix and form in (None, name)]
    if not fitting:
        wanted = SUFFIXES[form] if form else ", ".join(SUFFIXES.values())
        raise typer.BadParameter(f"-o {out}: the name of the file ends in {wanted}")
    return fitting[0]


def _frame(size: str | None) -> tuple[int, int] | None:
    if size is None:
        return None
    found = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", size)
    if found is None:
        raise typer.BadParameter(f"--size {size}: height x width such as 800x1344, or one number for both")
    return int(found[1]), int(found[2] or found[1])


def _results(folder: Path, config: RunConfig, out: Path, checkpoint: str, *, as_json: bool) -> None:
    from clis_core.jobs.export_results import export_results

    with console.reporter() as report:
        count = export_results(folder, config, out, checkpoint=checkpoint, reporter=report)
    if as_json:
        console.print_json({"file": out, "detections": count})
    else:
        console.print_table("written", (), [("file", str(out)), ("detections", str(count))])


def _print(result: ExportResult, as_json: bool) -> None:
    about, parity = result.about, result.parity
    if as_json:
        console.print_json(
            {
                "file": result.path,
                "bytes": result.size,
                "card": result.card,
                "frame": about.frame,
                "batch": about.batch,
                "precision": about.precision,
                "nms": about.nms,
                "candidates": about.candidates,
                "weights_sha256": about.weights,
                "parity": vars(parity) if parity else None,
            }
        )
        return
    rows = [("file", str(result.path)), ("size", f"{result.size / 1e6:.1f} MB")]
    if result.card:
        rows.append(("model card", str(result.card)))
    if parity:
        seconds = parity.seconds
        masks = f", mask {parity.mask_gap:.2g}" if parity.mask_gap else ""
        rows += [
            ("checked on", f"{parity.images} pictures, {parity.detections} detections"),
            ("the same", f"{100 * parity.same:.2f} %, by score {100 * parity.weighted:.2f} %"),
            ("largest gaps", f"box {parity.box_gap:.2g} px, score {parity.score_gap:.2g}{masks}"),
            ("candidates", f"{about.candidates}; too few in {parity.uncertain} pictures"),
            ("seconds an image", f"{seconds['exported']:.3f}, the run itself {seconds['detector']:.3f}"),
        ]
    console.print_table("written", (), rows)
