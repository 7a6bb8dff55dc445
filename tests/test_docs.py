"""The README and the docs name only commands, options, settings and presets that there are."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from clis_cli.app import app
from clis_core.config.load import command_layer, preset_layer, resolve
from tests.cli.test_help import leaves

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(app)
COMMANDS = leaves(GROUP.commands)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDERS = {"PRESET": "baseline-small", "SEED": "0"}


def commands(page: Path) -> list[str]:
    """Each command of clis in the page's shell blocks, and in its running text where it has arguments."""
    text = page.read_text(encoding="utf-8")
    lines = [
        part.strip().removeprefix(".venv/bin/")
        for block in re.findall(r"```sh\n(.*?)```", text, re.S)
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.partition(" #")[0].partition(" > ")[0].split("&&")
    ]
    inline = re.findall(r"`(clis [a-z-]+ [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    return [line for line in [*lines, *inline] if line.startswith("clis ") and "[" not in line.replace("=[", "")]


LINES = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page)]


@pytest.mark.parametrize("line", LINES)
def test_a_written_command_parses_and_its_settings_exist(line: str) -> None:
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]]
    if words[0].startswith("-"):
        assert all(any(word in option.opts for option in GROUP.params) for word in words)
        return
    count = 1 if words[0] in COMMANDS else 2
    command = COMMANDS[" ".join(words[:count])]
    given = command.make_context(words[0], words[count:], resilient_parsing=False).params
    layers = [preset_layer(given["preset"])] if given.get("preset") else []
    resolve([*layers, command_layer(given.get("settings") or [])])


def test_there_are_such_lines() -> None:
    assert {line.values[0].split()[1] for line in LINES} >= {"train", "eval", "presets"}  # type: ignore[union-attr]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target
