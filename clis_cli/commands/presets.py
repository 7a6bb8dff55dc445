"""`clis presets`: the named starting points, what they set, and in what two of them differ."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from clis_cli import console, options

DIFF = "diff"


def presets(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME | diff NAME NAME",
            help="Print this one as TOML, or the settings in which two differ.",
            autocompletion=options.preset_names,
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the presets, print one with all its settings, or tell in what two differ.

        clis presets

        clis presets baseline-small > my.toml

    The file is a start for settings of your own:

        clis train --config my.toml -o runs/mine

    What stands between a baseline and CLIS:

        clis presets diff baseline-small clis-small
    """
    match words or []:
        case []:
            _list(as_json)
        case [word, old, new] if word == DIFF:
            _diff(old, new, as_json)
        case [name] if name != DIFF:
            _print(name, as_json)
        case _:
            raise typer.BadParameter("needs the name of one preset, or: diff NAME NAME", param_hint="presets")


def _list(as_json: bool) -> None:
    from clis_core.config.presets import PRESETS, summary

    if as_json:
        console.print_json({known: summary(known) for known in PRESETS})
        return
    width = max(map(len, PRESETS))
    for known in PRESETS:
        typer.echo(f"{known:<{width}}  {summary(known)}")


def _print(name: str, as_json: bool) -> None:
    from clis_core.config.load import dump_toml, preset_layer, resolve

    config = resolve([preset_layer(name)])
    if as_json:
        console.print_json(config.model_dump(mode="json"))
    else:
        typer.echo(dump_toml(config), nl=False)


def _diff(old: str, new: str, as_json: bool) -> None:
    from clis_core.config.load import difference, preset_layer, resolve

    found = difference(*(resolve([preset_layer(name)]) for name in (old, new)))
    rows = [(key, before, after) for key, before, after in found if key != "preset"]
    if as_json:
        console.print_json({key: {old: before, new: after} for key, before, after in rows})
    elif not rows:
        console.note(f"{old} and {new} have the same settings.")
    else:
        console.print_table("", ("setting", old, new), [(key, _shown(a), _shown(b)) for key, a, b in rows])


def _shown(value: Any) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
