"""`clis build-imagenet-subset` and `clis build-images`: labelled pictures in, a folder of shards out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clis_core.config.workspace import Workspace
    from clis_core.data.shards.manifest import Manifest
    from clis_core.jobs.build_imagenet_subset import SubsetPlan
    from clis_core.jobs.build_images import ImagesPlan
    from clis_core.jobs.build_pictures import BuildOptions

SHOWN = 20
"""Rows of a list of reasons; the rest is in the manifest."""

Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[SOURCE]...", help="Tars, folders, lists or shards; the workspace's pictures if left out."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the shards; the workspace's if left out.")
]
MaxPerClass = Annotated[
    int | None, typer.Option("--max-per-class", metavar="N", min=1, help="The first N usable pictures of a category.")
]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Threads that check pictures.")]
MaxBad = Annotated[
    float,
    typer.Option("--max-bad-fraction", metavar="X", min=0.0, max=1.0, help="Stop when more files are no pictures."),
]
MinSide = Annotated[int, typer.Option("--min-side", metavar="PX", min=1, help="Refuse pictures with a shorter side.")]
MaxSide = Annotated[
    int | None,
    typer.Option("--max-side", metavar="PX", min=32, help="Make pictures smaller whose long side is longer."),
]
Shards = Annotated[
    int | None, typer.Option("--shards", metavar="N", min=1, help="Number of shards; of about 1 GB if left out.")
]
LabelFrom = Annotated[
    str | None,
    typer.Option(
        "--label-from",
        metavar="WHERE",
        help="Where WebDataset shards have their labels: json:FIELD, key-prefix, filename or cls.",
    ),
]
ClassList = Annotated[
    Path | None, typer.Option("--class-list", metavar="FILE", help="The classes behind the numbers of cls, one a line.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the order of the samples.")]


def build_imagenet_subset(
    source: Sources = None,
    out: Out = None,
    lvis: Annotated[
        str | None,
        typer.Option(
            "--lvis",
            metavar="v1|v0.5|FILE",
            help="The categories; the workspace's training json if left out, else v1.",
        ),
    ] = None,
    split_file: Annotated[
        Path | None,
        typer.Option("--split-file", metavar="FILE", help="Only the classes, or only the files, that it lists."),
    ] = None,
    max_per_class: MaxPerClass = None,
    max_bad_fraction: MaxBad = 0.1,
    min_side: MinSide = 16,
    max_side: MaxSide = None,
    shards: Shards = None,
    workers: Workers = 2,
    label_from: LabelFrom = None,
    class_list: ClassList = None,
    seed: Seed = 0,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Collect the ImageNet classes that are LVIS categories, by WordNet id, into shards.

    From class tars, as ImageNet-22k is handed out; only those that match are read:

        clis build-imagenet-subset fall11/ -o shards

    From one archive, from class folders, from the folders of ImageNet-21K-P, from WebDataset shards:

        clis build-imagenet-subset winter21_whole.tar.gz -o shards --lvis v1

        clis build-imagenet-subset imagenet21k_resized -o shards --max-per-class 500

        clis build-imagenet-subset "imagenet-{0000..0127}.tar" --label-from json:class_name -o shards

    Only tell what would match:

        clis build-imagenet-subset fall11/ -o shards --dry-run
    """
    from clis_core.jobs.build_imagenet_subset import build_imagenet_subset, plan_subset
    from clis_core.jobs.build_pictures import BuildOptions

    workspace = _workspace()
    sources, folder = _places(source, out, workspace, "build-imagenet-subset")
    vocabulary = _vocabulary(lvis, workspace)
    plan = plan_subset(sources, vocabulary, split_file=split_file, label_from=label_from, class_list=class_list)
    _tell_match(plan)
    how = BuildOptions(max_per_class, workers, max_bad_fraction, min_side, max_side, shards, seed)
    if dry_run:
        _tell_dry(plan, sources, folder, how)
        return
    with console.reporter() as report:
        manifest = build_imagenet_subset(plan, folder, how, reporter=report)
    _tell_result(folder, manifest, as_json)


def build_images(
    source: Sources = None,
    out: Out = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", metavar="JSON|DIR", help="Training json; the workspace's if left out."),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option("--map", metavar="FILE", help="CSV of label,category (name or id; - leaves a label out)."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", metavar="DIR", help="Where relative paths of a list start from.")
    ] = None,
    max_per_class: MaxPerClass = None,
    max_bad_fraction: MaxBad = 0.1,
    min_side: MinSide = 16,
    max_side: MaxSide = None,
    shards: Shards = None,
    workers: Workers = 2,
    label_from: LabelFrom = None,
    class_list: ClassList = None,
    seed: Seed = 0,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Collect own labelled pictures into shards, matched with the categories of a data set by name.

    A folder for each class:

        clis build-images pictures/ -o shards --data coco/annotations/instances_train2017.json

    A list of path and label, and what the labels mean:

        clis build-images list.csv -o shards --data data/mine --map labels.csv
    """
    from clis_core.jobs.build_images import build_images, plan_images
    from clis_core.jobs.build_pictures import BuildOptions

    workspace = _workspace()
    sources, folder = _places(source, out, workspace, "build-images")
    json = data or _training_json(workspace)
    if json is None:
        raise typer.BadParameter("name the data set whose categories the labels are: --data TRAIN_JSON")
    plan = plan_images(sources, json, map_file=map_file, label_from=label_from, class_list=class_list, root=root)
    _tell_names(plan)
    how = BuildOptions(max_per_class, workers, max_bad_fraction, min_side, max_side, shards, seed)
    if dry_run:
        _tell_dry(plan, sources, folder, how)
        return
    with console.reporter() as report:
        manifest = build_images(plan, folder, how, reporter=report)
    _tell_result(folder, manifest, as_json)


def _workspace() -> Workspace | None:
    from clis_core.config.workspace import find_workspace

    return find_workspace(Path.cwd())


def _places(
    source: list[Path] | None, out: Path | None, workspace: Workspace | None, command: str
) -> tuple[list[Path], Path]:
    """The sources and the folder that a command means."""
    sources = list(source or (workspace.pictures if workspace else ()))
    folder = out or (workspace.shards if workspace else None)
    if not sources:
        raise typer.BadParameter(f"name the pictures: clis {command} SOURCE; or pictures in clis.toml's [workspace]")
    if folder is None:
        raise typer.BadParameter("name the folder of the shards: -o DIR; or shards in clis.toml's [workspace]")
    return sources, folder


def _vocabulary(lvis: str | None, workspace: Workspace | None) -> str | Path:
    if lvis in ("v1", "v0.5"):
        return lvis
    if lvis is not None:
        return Path(lvis)
    return _training_json(workspace) or "v1"


def _training_json(workspace: Workspace | None) -> Path | None:
    if workspace is None:
        return None
    from clis_core.config.load import resolve
    from clis_core.data.layout import find_json

    data = resolve([workspace.layer]).data
    if data.train is not None:
        return data.train
    return find_json(data.root, "train") if data.root is not None else None


def _tell_match(plan: SubsetPlan) -> None:
    """What matched, on stderr."""
    covered = plan.coverage()
    groups = ", ".join(
        f"{have} of {of} {word}"
        for (have, of), word in zip(covered.values(), ("rare", "common", "frequent"), strict=True)
        if of
    )
    console.note(
        f"{len(plan.match.by_wnid)} of {len(plan.vocabulary)} categories match a class of the {plan.source.kind}"
        + (f" ({groups})." if groups else ".")
    )
    if plan.others:
        console.note(f"{len(plan.others)} classes of the source are no category and are not read.")
    names = {concept.category.id: concept.category.name for concept in plan.vocabulary}
    _tell_reasons({names[id_]: reason for id_, reason in plan.selection.unmatched.items()})


def _tell_names(plan: ImagesPlan) -> None:
    """Which label is which category, on stderr."""
    console.note(
        f"{len(plan.selection.category_of)} of {len(plan.rows)} labels of the {plan.source.kind} are categories:"
    )
    for label, category, how in plan.rows:
        console.note(f"  {label}: {category} by {how}" if category else f"  {label}: left out, {how}")


def _tell_reasons(reasons: Mapping[str, str]) -> None:
    for name, reason in list(reasons.items())[:SHOWN]:
        console.note(f"  {name}: {reason}")
    if len(reasons) > SHOWN:
        console.note(f"  ... and {len(reasons) - SHOWN} more without a class; all are in the manifest.")


def _tell_dry(plan: SubsetPlan | ImagesPlan, sources: Sequence[Path], folder: Path, how: BuildOptions) -> None:
    size = plan.source.size(lambda label: label in plan.selection.category_of)
    for path in sources:
        console.note(f"would read   {path}")
    console.note(f"would write  {folder}: shards of about {size / 1e6:.0f} MB in all")


def _tell_result(folder: Path, manifest: Manifest, as_json: bool) -> None:
    filled = sum(count > 0 for count in manifest.counts.values())
    result: dict[str, Any] = {
        "folder": str(folder),
        "samples": manifest.samples,
        "shards": len(manifest.shards),
        "bytes": sum(shard.size for shard in manifest.shards),
        "categories": filled,
        "refused": dict(manifest.refused),
    }
    if as_json:
        console.print_json(result)
        return
    console.note(
        f"{folder}: {manifest.samples} pictures of {filled} categories in {len(manifest.shards)} shards, "
        f"{result['bytes'] / 1e6:.0f} MB."
    )
    if manifest.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.refused.items())
        console.note(f"Refused: {reasons}. Each one is in {folder / 'refused.jsonl'}.")
