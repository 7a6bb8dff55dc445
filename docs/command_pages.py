"""The commands of clis go in; pages of Markdown come out: every command with its help, arguments and options."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import typer.main

from clis_cli.app import app
from docs.settings_pages import NOTE

_SOURCE = "the commands in clis_cli"
_TYPES = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}
_OF_ALL = """
| option of all commands | |
|---|---|
| `--help`, `-h` | Show the help of the command and exit. |
| `--debug` | Show the traceback of an error; fits anywhere. |
| `--version` | Print the version; before any command. |
| `--install-completion`, `--show-completion` | See [shell](../shell.md); before any command. |
"""


class Parameter(NamedTuple):
    """An argument or an option.

    Attributes:
        words: of an option, such as ("--out", "-o"); of an argument, none.
        takes: what stands for its value in a usage line; "" for a switch.
        required: whether it cannot be left out.
        default: the value without it, None for none.
        bounds: the least and the largest value, None for any.
        help: its line in --help.
    """

    words: tuple[str, ...]
    takes: str
    required: bool
    default: Any
    bounds: tuple[float | None, float | None]
    help: str


def pages() -> dict[str, str]:
    """The text of each page by its name below docs/."""
    group: Any = typer.main.get_command(app)
    commands = all_commands(group)
    made = {f"commands/{_file(name)}.md": _page(name, command) for name, command in commands.items()}
    made["commands/index.md"] = _index(commands)
    return made


def all_commands(group: Any, above: str = "") -> dict[str, Any]:
    """Each command by its words, such as "shards info"."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= all_commands(command, f"{above}{name} ")
        elif not command.hidden:
            found[f"{above}{name}"] = command
    return dict(sorted(found.items()))


def _file(name: str) -> str:
    return name.replace(" ", "-")


def _index(commands: dict[str, Any]) -> str:
    first = {name: _doc(command).partition("\n\n")[0] for name, command in commands.items()}
    rows = [f"| [`clis {name}`]({_file(name)}.md) | {' '.join(text.split())} |" for name, text in first.items()]
    return "\n".join(
        [
            NOTE.format(_SOURCE),
            "# Commands\n",
            "| command | |\n|---|---|",
            *rows,
            _OF_ALL,
            "Exit codes are told in [troubleshooting](../troubleshooting.md).\n",
            "```{toctree}\n:hidden:\n",
            *map(_file, commands),
            "```\n",
        ]
    )


def _page(name: str, command: Any) -> str:
    parameters = list(_parameters(command))
    arguments = [p for p in parameters if not p.words]
    options = [p for p in parameters if p.words]
    usage = " ".join(["clis", name, "[OPTIONS]", *(p.takes if p.required else f"[{p.takes}]" for p in arguments)])
    lines = [NOTE.format(_SOURCE), f"# clis {name}\n", f"```text\n{usage}\n```\n", _help(command)]
    if arguments:
        lines += ["\n| argument | |\n|---|---|"]
        lines += [_row(f"`{p.takes}`", p.help) for p in arguments]
    if options:
        lines += ["\n| option | takes | default | |\n|---|---|---|---|"]
        for p in options:
            lines.append(_row(", ".join(f"`{word}`" for word in p.words), _takes(p), _default(p), p.help))
    return "\n".join(lines) + "\n"


def _parameters(command: Any) -> Iterator[Parameter]:
    function = inspect.unwrap(command.callback)
    hints = typing.get_type_hints(function, include_extras=True)
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    for given in command.params:
        if given.name not in hints or given.hidden:  # --help is of all commands
            continue
        kind, known = get_args(hints[given.name])[:2]
        switch = kind is bool
        argument = given.param_type_name == "argument"
        yield Parameter(
            words=() if argument else (*given.opts, *given.secondary_opts),
            takes="" if switch else _takes_of(kind, given.metavar, given.name, many=argument),
            required=given.required,
            default=defaults[given.name],
            bounds=(known.min, known.max),
            help=" ".join((given.help or "").split()),
        )


def _takes_of(kind: Any, metavar: str | None, name: str, *, many: bool) -> str:
    """What stands for a value of this type in a usage line."""
    dots = ""
    while get_origin(kind) is not Literal and (inside := [k for k in get_args(kind) if k is not type(None)]):
        dots = "..." if many and get_origin(kind) is list else dots  # X | None, list[X]
        kind = inside[0]
    word = (metavar or "").removeprefix("[").removesuffix("]").removesuffix("...")
    if not word:
        word = "|".join(get_args(kind)) if get_origin(kind) is Literal else _TYPES.get(kind, name.upper())
    return word + dots


def _takes(parameter: Parameter) -> str:
    least, most = parameter.bounds
    words = f"`{parameter.takes}`" if parameter.takes else ""
    if least is not None:
        words += f", {least} to {most}" if most is not None else f", {least} or more"
    return words


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return "required"
    if parameter.default is True:  # of --files/--no-files
        return f"`{parameter.words[0]}`"
    return "" if parameter.default in (None, False) else f"`{parameter.default}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _doc(command: Any) -> str:
    return inspect.cleandoc(command.help or "")


def _help(command: Any) -> str:
    """The help; what is indented in it becomes blocks of shell."""
    text = re.sub(r"\n\n(?=    )", "\n", _doc(command))  # examples stand apart in a terminal alone
    parts = []
    for indented, block in groupby(text.splitlines(), lambda line: line.startswith("    ")):
        inside = "\n".join(line.removeprefix("    ") for line in block)
        parts.append(f"\n```sh\n{inside}\n```" if indented else inside)
    return "\n".join(parts)
