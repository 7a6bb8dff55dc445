"""What `clis build-imagenet-subset` and `clis build-images` share: their options, and what they tell on the screen."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clis_cli import console
from clis_core.categories import GROUP_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clis_core.categories import Categories
    from clis_core.config.workspace import Workspace
    from clis_core.data.shards.manifest import Manifest
    from clis_core.data.sources.member import Source
    from clis_core.jobs.build_imagenet_subset import Vocabulary
    from clis_core.jobs.build_images import ImagesPlan

SHOWN = 20
"""Rows of a list on the screen before a build; --dry-run shows all."""
IMAGENET = "one of ImageNet's 21,841 classes"

Sources = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SOURCE", help="Tars, folders, lists or shards; the workspace's pictures if left out."),
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
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the order of the samples.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what matches and what would be read; write nothing.")]


def here() -> Workspace | None:
    """The workspace that this folder lies in."""
    from clis_core.config.workspace import find_workspace

    return find_workspace(Path.cwd())


def pick_sources(given: list[Path] | None, workspace: Workspace | None) -> list[Path]:
    """Where the pictures are; empty where nothing says it."""
    return list(given or (workspace.pictures if workspace else ()))


def pick_out(
    given: Path | None, workspace: Workspace | None, sources: Sequence[Path], command: str, *, needed: bool
) -> Path | None:
    """The folder of the shards; None where it is neither named nor needed.

    Raises:
        ConfigError: the folder that is needed, or the source, is not named.
    """
    from clis_core.errors import ConfigError

    folder = given or (workspace.shards if workspace else None)
    if not sources:
        raise ConfigError(
            "Nothing says where the pictures are: no SOURCE, and no pictures in a clis.toml here or above.",
            hint=f"clis {command} SOURCE -o {folder or 'shards'}; or in a new workspace: "
            "clis init --data DIR --pictures SOURCE",
        )
    if folder is None and needed:
        raise ConfigError(
            "Nothing says where the shards go: no -o, and no shards in a clis.toml here or above.",
            hint=f"clis {command} {shlex.join(map(str, sources))} -o shards",
        )
    return folder


def pick_vocabulary(lvis: str | None, workspace: Workspace | None) -> str | Path:
    """What --lvis means: "v1", "v0.5" or a path."""
    if lvis in ("v1", "v0.5"):
        return lvis
    if lvis is not None:
        return Path(lvis)
    return find_training_json(workspace) or "v1"


def find_training_json(workspace: Workspace | None) -> Path | None:
    """The training json of the workspace's data set."""
    if workspace is None:
        return None
    from clis_core.config.load import resolve
    from clis_core.data.layout import find_json

    data = resolve([workspace.layer]).data
    if data.train is not None:
        return data.train
    return find_json(data.root, "train") if data.root is not None else None


def coverage_record(vocabulary: Vocabulary) -> dict[str, Any]:
    """What matches, as plain json values."""
    return {
        "categories": len(vocabulary.categories),
        "coverage": {group: {"matched": n, "of": of} for group, (n, of) in vocabulary.coverage().items()},
        "matched": {wnid: {"id": c.id, "name": c.name} for wnid, c in vocabulary.by_wnid.items()},
        "unmatched": [
            {"id": id_, "name": _name(vocabulary.categories, id_), "reason": reason}
            for id_, reason in vocabulary.unmatched.items()
        ],
    }


def tell_coverage(vocabulary: Vocabulary, as_json: bool) -> None:
    """What matches, as json on stdout or in words on stderr."""
    if as_json:
        console.print_json(coverage_record(vocabulary))
    else:
        tell_match(vocabulary, IMAGENET, None)


def tell_match(vocabulary: Vocabulary, what: str, most: int | None) -> None:
    """What matched, on stderr."""
    groups = ", ".join(f"{n} of {of} {GROUP_NAMES[group]}" for group, (n, of) in vocabulary.coverage().items())
    counts = f"{len(vocabulary.by_wnid)} of {len(vocabulary.categories)} categories match {what}"
    console.note(counts + (f" ({groups})." if groups else "."))
    rows = [f"{_name(vocabulary.categories, id_)}: {why}" for id_, why in vocabulary.unmatched.items()]
    _tell_rows(rows, most, "without a class; the manifest has them all")


def tell_names(plan: ImagesPlan, most: int | None) -> None:
    """Which label is which category, on stderr."""
    matched = [f"{label}: {category} by {how}" for label, category, how in plan.rows if category]
    others = [f"{label}: left out, {how}" for label, category, how in plan.rows if not category]
    console.note(f"{len(matched)} of {len(plan.rows)} labels of the {plan.source.kind} are categories:")
    _tell_rows(matched, None, "")
    _tell_rows(others, most, "left out; matching.json beside the shards has them all")


def _tell_rows(rows: Sequence[str], most: int | None, rest: str) -> None:
    for row in rows[:most]:
        console.note(f"  {row}")
    if most is not None and len(rows) > most:
        console.note(f"  ... and {len(rows) - most} more {rest}.")


def _name(categories: Categories, id_: int) -> str:
    name: str = categories[categories.label(id_) - 1].name
    return name


def dry_record(source: Source, wanted: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """What would be read and written, as plain json values."""
    return {"source": source.kind, "bytes": source.size(lambda label: label in wanted), "folder": folder}


def tell_dry(sources: Sequence[Path], source: Source, wanted: Mapping[str, Any], folder: Path | None) -> None:
    """What would be read and written, on stderr."""
    for path in sources:
        console.note(f"would read   {path}")
    console.note(f"             about {dry_record(source, wanted, folder)['bytes'] / 1e6:,.0f} MB in all")
    console.note(f"would write  {folder or 'the folder that -o names'}")


def tell_result(folder: Path, manifest: Manifest, as_json: bool) -> None:
    """What was built, as json on stdout or in words on stderr."""
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
    files = "1 shard" if len(manifest.shards) == 1 else f"{len(manifest.shards)} shards"
    console.note(
        f"{folder}: {manifest.samples} pictures of {filled} categories in {files}, {result['bytes'] / 1e6:.0f} MB."
    )
    if manifest.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.refused.items())
        console.note(f"Refused: {reasons}. Each one is in {folder / 'refused.jsonl'}.")
