"""Every command has help, with examples that its own parser takes."""

import shlex
from typing import Any

import pytest
import typer.main

from clis_cli.app import app

GROUP: Any = typer.main.get_command(app)


def leaves(commands: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Every command by its words, those of groups such as `shards verify` included."""
    found: dict[str, Any] = {}
    for name, command in commands.items():
        below = getattr(command, "commands", None)
        found |= leaves(below, f"{above}{name} ") if below else {f"{above}{name}": command}
    return found


COMMANDS = leaves(GROUP.commands)
EXAMPLES = [
    (name, line.strip())
    for name, command in [("", GROUP), *COMMANDS.items()]
    for line in (command.help or "").splitlines()
    if line.strip().startswith("clis ")
]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example_of_its_own(name: str, clis: Any) -> None:
    shown = clis(*name.split(), "--help")
    assert shown.code == 0
    own = [line for owner, line in EXAMPLES if owner == name and f"{line} ".startswith(f"clis {name} ")]
    assert own
    assert all(line in shown.out for line in own)


@pytest.mark.parametrize("line", [line for _, line in EXAMPLES])
def test_examples_parse(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    count = 1 if words[0] in COMMANDS else 2
    command = COMMANDS[" ".join(words[:count])]
    context = command.make_context(words[0], words[count:], resilient_parsing=False)
    assert set(context.params) >= {p.name for p in command.params if p.required}


def test_every_option_says_what_it_does() -> None:
    for name, command in COMMANDS.items():
        assert all(p.help for p in command.params), name
