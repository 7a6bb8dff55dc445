"""`clis config schema`: what a file of settings may hold, for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from clis_cli import console

app = typer.Typer(no_args_is_help=True, help="About files of settings.")


def schema(
    workspace: Annotated[
        bool, typer.Option("--workspace", help="Of clis.toml, which has a table [workspace] as well.")
    ] = False,
) -> None:
    """Print the JSON schema of a file of settings, by which an editor completes and checks it.

        clis config schema > clis-config.schema.json

        clis config schema --workspace > clis-workspace.schema.json

    A TOML file names it in its first line, for editors that know Taplo's directives: `#:schema clis-config.schema.json`
    """
    from clis_core.config.schema import config_schema, workspace_schema

    console.print_json(workspace_schema() if workspace else config_schema())


@app.callback()
def _group() -> None:
    """About files of settings."""  # with a callback, a group of one command keeps its word


app.command("schema")(schema)
