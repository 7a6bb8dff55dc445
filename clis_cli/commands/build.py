"""`clis build-imagenet-subset` and `clis build-images`: labelled pictures in, a folder of shards out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clis_cli import console, options
from clis_cli.commands import build_shared as shared


def build_imagenet_subset(
    source: shared.Sources = None,
    out: shared.Out = None,
    lvis: Annotated[
        str | None,
        typer.Option(
            "--lvis",
            metavar="v1|v0.5|JSON",
            help="The categories; the workspace's training json if left out, else v1.",
        ),
    ] = None,
    split_file: Annotated[
        Path | None,
        typer.Option("--split-file", metavar="FILE", help="Only the classes, or only the files, that it lists."),
    ] = None,
    max_per_class: shared.MaxPerClass = None,
    max_bad_fraction: shared.MaxBad = 0.1,
    min_side: shared.MinSide = 16,
    max_side: shared.MaxSide = None,
    shards: shared.Shards = None,
    workers: shared.Workers = 2,
    label_from: shared.LabelFrom = None,
    class_list: shared.ClassList = None,
    seed: shared.Seed = 0,
    dry_run: shared.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Collect the ImageNet classes that are LVIS categories, by WordNet id, into shards.

    From class tars, as ImageNet-22k is handed out; only those that match are read:

        clis build-imagenet-subset fall11/ -o shards

    From one archive, from class folders, from the folders of ImageNet-21K-P, from WebDataset shards:

        clis build-imagenet-subset winter21_whole.tar.gz -o shards --lvis v1

        clis build-imagenet-subset imagenet21k_resized -o shards --max-per-class 500

        clis build-imagenet-subset "imagenet-{0000..0127}.tar" --label-from json:class_name -o shards

    Only tell what would match; without a source, what all of ImageNet would:

        clis build-imagenet-subset fall11/ --dry-run

        clis build-imagenet-subset --lvis v1 --dry-run

    A build that was stopped goes on when the same command is run again.
    """
    from clis_core.jobs.build_imagenet_subset import build_imagenet_subset, imagenet_vocabulary, plan_subset
    from clis_core.jobs.build_options import BuildOptions

    workspace = shared.here()
    sources, which = shared.pick_sources(source, workspace), shared.pick_vocabulary(lvis, workspace)
    if dry_run and not sources and split_file is None:
        shared.tell_coverage(imagenet_vocabulary(which), as_json)
        return
    command = "build-imagenet-subset"
    folder = shared.pick_out(out, workspace, sources, command, needed=not dry_run)
    plan = plan_subset(sources, which, split_file=split_file, label_from=label_from, class_list=class_list)
    if dry_run and as_json:
        console.print_json(
            {
                **shared.coverage_record(plan.vocabulary),
                **shared.dry_record(plan.source, plan.selection.category_of, folder),
                "classes_known": plan.others is not None,
            }
        )
        return
    shared.tell_match(
        plan.vocabulary,
        shared.IMAGENET if plan.others is None else f"a class of the {plan.source.kind}",
        None if dry_run else shared.SHOWN,
    )
    if plan.others is None:
        console.note(f"Which of them the {plan.source.kind} has is known when all of it has been read.")
    elif plan.others:
        console.note(f"{len(plan.others)} classes of the source are not taken.")
    for note in plan.notes:
        console.note(note)
    if dry_run:
        shared.tell_dry(sources, plan.source, plan.selection.category_of, folder)
        return
    assert folder is not None  # or shared.pick_out would have said so
    how = BuildOptions(max_per_class, workers, max_bad_fraction, min_side, max_side, shards, seed)
    with console.reporter() as report:
        manifest = build_imagenet_subset(plan, folder, how, reporter=report)
    shared.tell_result(folder, manifest, as_json)


def build_images(
    source: shared.Sources = None,
    out: shared.Out = None,
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
    max_per_class: shared.MaxPerClass = None,
    max_bad_fraction: shared.MaxBad = 0.1,
    min_side: shared.MinSide = 16,
    max_side: shared.MaxSide = None,
    shards: shared.Shards = None,
    workers: shared.Workers = 2,
    label_from: shared.LabelFrom = None,
    class_list: shared.ClassList = None,
    seed: shared.Seed = 0,
    dry_run: shared.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Collect own labelled pictures into shards, matched with the categories of a data set by name.

    A folder for each class:

        clis build-images pictures/ -o shards --data coco/annotations/instances_train2017.json

    A list of path and label, and what the labels mean:

        clis build-images list.csv -o shards --data data/mine --map labels.csv

    Which label would be which category:

        clis build-images pictures/ --data data/mine --dry-run

    A build that was stopped goes on when the same command is run again.
    """
    from clis_core.errors import ConfigError
    from clis_core.jobs.build_images import build_images, plan_images
    from clis_core.jobs.build_options import BuildOptions

    workspace = shared.here()
    sources = shared.pick_sources(source, workspace)
    folder = shared.pick_out(out, workspace, sources, "build-images", needed=not dry_run)
    json = data or shared.find_training_json(workspace)
    if json is None:
        raise ConfigError(
            "Nothing says which data set's categories the labels are: no --data, and no clis.toml here or above.",
            hint=f"clis build-images {sources[0]} -o {folder or 'shards'} --data TRAIN_JSON",
        )
    with console.reporter() as report:
        plan = plan_images(
            sources, json, map_file=map_file, label_from=label_from, class_list=class_list, root=root, reporter=report
        )
    if dry_run and as_json:
        labels = [{"label": label, "category": category or None, "how": how} for label, category, how in plan.rows]
        console.print_json({"labels": labels, **shared.dry_record(plan.source, plan.selection.category_of, folder)})
        return
    shared.tell_names(plan, None if dry_run else shared.SHOWN)
    if dry_run:
        shared.tell_dry(sources, plan.source, plan.selection.category_of, folder)
        return
    assert folder is not None  # or shared.pick_out would have said so
    how = BuildOptions(max_per_class, workers, max_bad_fraction, min_side, max_side, shards, seed)
    with console.reporter() as report:
        manifest = build_images(plan, folder, how, reporter=report)
    shared.tell_result(folder, manifest, as_json)
