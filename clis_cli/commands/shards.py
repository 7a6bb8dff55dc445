"""`clis shards`: a folder of shards or its address in; what is in it, whether it is whole, or a copy of it out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clis_cli import console, options
from clis_core.categories import GROUP_NAMES

app = typer.Typer(no_args_is_help=True, help="Look into folders of shards.")

SHOWN = 20
"""Problems on the screen; --json has all."""

Folder = Annotated[Path | None, typer.Argument(metavar="DIR", help="Folder of shards; the workspace's if left out.")]


def _folder(given: Path | None) -> Path:
    from clis_core.config.workspace import find_workspace
    from clis_core.errors import ConfigError

    workspace = find_workspace(Path.cwd())
    folder = given or (workspace.shards if workspace else None)
    if folder is None:
        raise ConfigError(
            "Nothing says where the shards are: no folder, and no shards in a clis.toml here or above.",
            hint="Name the folder: clis shards info shards",
        )
    return folder


def verify(
    folder: Folder = None,
    decode: Annotated[bool, typer.Option("--decode/--no-decode", help="Decode every picture as well.")] = True,
    as_json: options.Json = False,
) -> None:
    """Check a folder of shards: hashes, counts, and every picture.

    clis shards verify shards

    clis shards verify shards --no-decode --json
    """
    from clis_core.errors import DataError
    from clis_core.jobs.shards import verify_shards

    path = _folder(folder)
    with console.reporter() as report:
        found = verify_shards(path, decode=decode, reporter=report)
    if as_json:
        console.print_json(found.to_record())
    for problem in found.problems[:SHOWN] if not as_json else ():
        console.note(f"  {problem}")
    if found.problems:
        raise DataError(
            f"{path}: {len(found.problems)} problems in {found.samples} samples.",
            hint="Shards never change by themselves: build them anew, or fetch the damaged files again.",
        )
    if not as_json:
        console.note(f"{path}: {found.samples} samples, all as the manifest says.")


def info(
    folder: Folder = None,
    counts: Annotated[bool, typer.Option("--counts", help="Tell the pictures of each category as well.")] = False,
    as_json: options.Json = False,
) -> None:
    """Tell what a folder of shards holds, against rare, common and frequent categories.

    clis shards info shards

    clis shards info shards --counts
    """
    from clis_core.jobs.shards import shards_info

    path = _folder(folder)
    found = shards_info(path)
    if as_json:
        console.print_json(found.to_record())
        return
    files = "1 shard" if found.shards == 1 else f"{found.shards} shards"
    console.print_table(
        f"{path}: {found.samples} pictures in {files}, {found.size / 1e6:.0f} MB",
        ("group", "categories", "with pictures", "pictures"),
        [
            (GROUP_NAMES[group], str(of.categories), str(of.with_pictures), str(of.pictures))
            for group, of in found.groups.items()
        ]
        + [("all", str(len(found.counts)), str(sum(n > 0 for _, n in found.counts)), str(found.samples))],
    )
    if counts:
        console.print_table(
            "",
            ("category", "group", "pictures"),
            [
                (category.name, GROUP_NAMES[category.group] if category.group else "", str(count))
                for category, count in found.counts
            ],
        )
    if found.without:
        console.note(f"{len(found.without)} categories have no picture:")
        for category, why in found.without:
            console.note(f"  {category.name}: {why}")
    if found.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.refused.items())
        console.note(f"Refused: {reasons}.")


def fetch(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Of the folder on a web server.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to make.")],
    leave_tars: Annotated[
        bool,
        typer.Option("--leave-tars", help="Leave the pictures on the server; each is asked for when it is used."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Copy a folder of shards from a web server, each file checked by its hash.

    What was stopped goes on with the same command. With --leave-tars a folder of some megabytes comes, which commands
    take as any other; the server must answer requests for parts of a file. Without it the same command adds the tars.

        clis shards fetch https://host/shards -o shards

        clis shards fetch https://host/shards -o shards --leave-tars
    """
    from clis_core.jobs.fetch_shards import fetch_shards

    with console.reporter() as report:
        manifest = fetch_shards(address, out.expanduser(), leave_tars=leave_tars, reporter=report)
    size = sum(shard.size for shard in manifest.shards)
    if as_json:
        console.print_json(
            {"out": str(out), "shards": len(manifest.shards), "samples": manifest.samples, "bytes": size}
            | {"tars": not leave_tars}
        )
        return
    where = "left on the server" if leave_tars else "here, with the hashes of the manifest"
    console.note(f"{out}: {manifest.samples} pictures, {size / 1e6:.0f} MB, {where}.")


app.command("verify")(verify)
app.command("info")(info)
app.command("fetch")(fetch)
