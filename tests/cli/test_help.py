"""Every command has help, with examples that its own parser takes."""

import shlex
from typing import Any

import pytest
import typer.main

from clis_cli.app import app

GROUP: Any = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands
EXAMPLES = [
    (name, line.strip())
    for name, command in [("", GROUP), *COMMANDS.items()]
    for line in (command.help or "").splitlines()
    if line.strip().startswith("clis ")
]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_help_with_an_example_of_its_own(name: str, clis: Any) -> None:
    shown = clis(name, "--help")
    assert shown.code == 0
    own = [line for owner, line in EXAMPLES if owner == name and line.split()[1] == name]
    assert own
    assert all(line in shown.out for line in own)


@pytest.mark.parametrize("line", [line for _, line in EXAMPLES])
def test_examples_parse(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    command = COMMANDS[words[0]]
    context = command.make_context(words[0], words[1:], resilient_parsing=False)
    assert set(context.params) >= {p.name for p in command.params if p.required}


def test_every_option_says_what_it_does() -> None:
    for name, command in COMMANDS.items():
        assert all(p.help for p in command.params), name
