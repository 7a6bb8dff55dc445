"""`clis presets`: the named starting points, and what they set."""

from __future__ import annotations

from typing import Annotated

import typer

from clis_cli import console, options


def presets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print this one as TOML.")] = None,
    as_json: options.Json = False,
) -> None:
    """List the presets, or print one with all its settings.

        clis presets

        clis presets baseline-small > my.toml

    The file is a start for settings of your own:

        clis train --config my.toml -o runs/mine
    """
    from clis_core.config.presets import PRESETS, summary

    if name is None and as_json:
        console.print_json({known: summary(known) for known in PRESETS})
    elif name is None:
        width = max(map(len, PRESETS))
        for known in PRESETS:
            typer.echo(f"{known:<{width}}  {summary(known)}")
    else:
        from clis_core.config.load import dump_toml, preset_layer, resolve

        config = resolve([preset_layer(name)])
        if as_json:
            console.print_json(config.model_dump(mode="json"))
        else:
            typer.echo(dump_toml(config), nl=False)
