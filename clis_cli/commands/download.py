"""`clis download`: the name of an official data set in, its folder out."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.jobs.download_plan import Plan

NAMES = ("lvis-v1", "lvis-v0.5", "coco-2017")


def _names(incomplete: str) -> Iterable[str]:
    return [name for name in NAMES if name.startswith(incomplete)]


def download(
    *,
    name: Annotated[
        str, typer.Argument(metavar="lvis-v1|lvis-v0.5|coco-2017", help="Which data set.", autocompletion=_names)
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder of the data set; data/NAME if left out.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="PARTS", help="Of annotations,val,train; all if left out.")
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option("--base-url", metavar="URL", help="A mirror: a folder on the web with the same archives."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the archives in DIR/.download when unpacked.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: options.Json = False,
    dry_run: options.DryRun = False,
) -> None:
    """Download LVIS or COCO, checked, into the layout that training expects.

    Sizes and free space are shown first. A download that was stopped goes on with the same command; what is there is
    left as it is.

        clis download lvis-v1

        clis download coco-2017 -o data/coco --yes

    A first look, without the 19 GB of training images:

        clis download coco-2017 --only annotations,val

        clis download lvis-v1 --dry-run

    From a mirror that holds the archives by their names:

        clis download lvis-v1 --base-url https://mirror.example.org/coco
    """
    from clis_core.jobs.download import download as job
    from clis_core.jobs.download_plan import plan_download

    parts = [part.strip() for part in (only or "").split(",") if part.strip()]
    folder = out or Path("data") / name
    plan = plan_download(name, folder.expanduser(), only=parts, base_url=base_url, keep=keep)
    _tell(plan)
    plan.check_space()
    if dry_run:
        if as_json:
            console.print_json(plan.to_record())
        return
    if plan.todo and not yes and not _agreed(plan):
        console.note("Nothing was downloaded.")
        return
    with console.reporter() as report:
        result = job(plan, reporter=report)
    if as_json:
        console.print_json({**plan.to_record(), "unpacked": result.to_record()})
    console.note(f"Next: clis init --data {folder}")


def _tell(plan: Plan) -> None:
    for item in plan.items:
        size = "of unknown size" if item.size is None else _bytes(item.size)
        have = f", {_bytes(item.have)} of it here" if item.state == "fetch" and item.have else ""
        console.note(f"{item.archive.name:<28} {size:>15}  {item.says}{have}")
    for item in plan.todo:
        if item.archive.sha256 is None:
            console.note(f"No checksum of {item.archive.name} is known; the CRCs within it are checked.")
    for text in plan.notes:
        console.note(text)
    if plan.todo:
        console.note(
            f"{_bytes(plan.to_fetch)} to fetch; about {_bytes(plan.needed)} of disk needed, {_bytes(plan.free)} free "
            f"in {plan.folder}"
        )


def _agreed(plan: Plan) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked", param_hint="--yes")
    return typer.confirm("Download?", default=True, err=True)


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
