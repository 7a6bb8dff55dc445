"""`clis crawl-google`: names of categories in, a folder of shards of web pictures out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from clis_cli import console, options

if TYPE_CHECKING:
    from clis_core.config.data import DataConfig
    from clis_core.data.shards.manifest import Manifest

Place = Literal["google", "bing", "openverse", "flickr", "urls"]


def crawl_google(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the shards.")],
    lvis: Annotated[
        str | None,
        typer.Option(
            "--lvis",
            metavar="v1|v0.5|FILE",
            help="The categories; the workspace's training json if left out, else v1.",
        ),
    ] = None,
    per_category: Annotated[
        int, typer.Option("--per-category", "-n", metavar="N", min=1, help="Hits of a category that are fetched.")
    ] = 100,
    only: Annotated[
        str | None, typer.Option("--only", metavar="r,c,f", help="Rare, common, frequent categories alone.")
    ] = None,
    backend: Annotated[Place, typer.Option("--backend", help="The place that is searched.")] = "google",
    urls: Annotated[
        Path | None,
        typer.Option("--urls", metavar="FILE", help="CSV or JSON lines of category and url, instead of a search."),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", metavar="FILE", help="Holds the key of flickr, or a token of openverse."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", "-d", metavar="DIR", help="Leave out pictures that repeat its validation images; the workspace's."
        ),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write the shards even if categories could not be searched.")
    ] = False,
    delay: Annotated[
        float, typer.Option("--delay", metavar="S", min=0.0, help="Seconds between two requests to one host.")
    ] = 0.5,
    robots: Annotated[
        bool, typer.Option("--robots/--no-robots", help="Obey the robots.txt of the pictures' hosts.")
    ] = True,
    contact: Annotated[
        str | None,
        typer.Option("--contact", metavar="TEXT", help="Mail or page for owners of hosts; some hosts ask for it."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the order of the samples.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be searched for, as CSV; contact nobody.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Collect pictures of categories from the web into shards, each with where it is from.

    Which pictures may be used is for you to know: see the page on crawling in the docs. Google mostly sends programs
    a page without pictures; Openverse states a licence for each one:

        clis crawl-google -o web --only r,c --backend openverse --key-file token.txt

    Addresses that you have collected yourself always work:

        clis crawl-google -o web --urls addresses.csv --data data/lvis

    What would be searched for:

        clis crawl-google -o web --only r --dry-run

    A crawl that was stopped goes on when the same command is run again.
    """
    groups = _groups(only)
    vocabulary, validation = _vocabulary(lvis, data)
    if urls is not None and backend not in ("google", "urls"):
        raise typer.BadParameter(f"--urls FILE replaces the search of {backend}; give one of the two")
    if dry_run:
        from clis_core.jobs.crawl_google import crawl_queries

        typer.echo(crawl_queries(vocabulary, groups), nl=False)
        return
    from clis_core.data.crawl.fetch import Limits
    from clis_core.data.crawl.shared import CrawlOptions
    from clis_core.jobs.crawl_google import crawl_google as crawl_job

    how = CrawlOptions(per_category=per_category, limits=Limits(delay=delay), robots=robots, contact=contact)
    with console.reporter() as report:
        manifest = crawl_job(
            out,
            lvis=vocabulary,
            only=groups,
            backend=backend,
            urls=urls,
            key_file=key_file,
            data=validation,
            partial=partial,
            seed=seed,
            options=how,
            reporter=report,
        )
    _tell(out, manifest, as_json)


def _groups(only: str | None) -> list[Literal["r", "c", "f"]]:
    named = [part.strip() for part in only.split(",")] if only is not None else []
    wrong = [part for part in named if part not in ("r", "c", "f")]
    if wrong or (only is not None and not named):
        raise typer.BadParameter(f"--only takes r, c and f, separated by commas, not {only!r}")
    return [group for group in ("r", "c", "f") if group in named]


def _vocabulary(lvis: str | None, data: Path | None) -> tuple[str | Path, DataConfig | None]:
    """The categories, and the data set whose validation images are left out; a workspace names both."""
    from clis_core.config.data import DataConfig
    from clis_core.config.load import resolve
    from clis_core.config.workspace import find_workspace
    from clis_core.data.layout import find_json

    workspace = find_workspace(Path.cwd())
    known = resolve([workspace.layer]).data if workspace else DataConfig()
    train, val = known.train, known.val
    if known.root is not None:
        train, val = train or find_json(known.root, "train"), val or find_json(known.root, "val")
    validation = DataConfig(root=data) if data is not None else known if val is not None else None
    if lvis in ("v1", "v0.5"):
        return lvis, validation
    return (Path(lvis) if lvis is not None else train or "v1"), validation


def _tell(out: Path, manifest: Manifest, as_json: bool) -> None:
    filled = sum(count > 0 for count in manifest.counts.values())
    if as_json:
        result = {
            "folder": str(out),
            "samples": manifest.samples,
            "shards": len(manifest.shards),
            "categories": filled,
            "refused": dict(manifest.refused),
        }
        console.print_json(result)
        return
    console.note(f"{out}: {manifest.samples} pictures of {filled} categories in {len(manifest.shards)} shards.")
    if manifest.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.refused.items())
        console.note(f"Refused: {reasons}. Each one is in {out / 'refused.jsonl'}.")
